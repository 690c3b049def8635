"""The invalidation log: positions, marks and records."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

import pytest

from ...core.entries.entry import Position
from ...stores.protocol import Fill, Record, Store
from .base import LONG, Contract, Rewind, invalidate, look, poll, position


class Log(Contract):
    """What invalidations leave, and that no reader misses it."""

    def test_i1_position_is_the_same_for_all(self, store: Store, other: Store) -> None:
        assert position(store) == position(other) == position(store)

    def test_i1_invalidation_takes_a_higher_sequence(self, store: Store, other: Store) -> None:
        before = position(store)
        first, second = invalidate(store, "m"), invalidate(other, "n")
        assert before.sequence < first.sequence < second.sequence
        assert {first.incarnation, second.incarnation} == {before.incarnation}
        assert position(store) == position(other) == second

    def test_i1_marks_are_seen_by_the_next_look(self, store: Store, other: Store) -> None:
        first = invalidate(store, "m", "n").sequence
        second = invalidate(store, "n").sequence
        for reader in (store, other):
            assert look(reader, "k", "m", "n", "never").marks == {"m": first, "n": second}
        assert look(store, "k", "n").marks == {"n": second}

    def test_i1_marks_may_have_any_name(self, store: Store) -> None:
        names = ("*", "t:a.b", "k:t:l:0", "m:m", "incarnation", "sequence", "longest", " ", "é\n")
        sequence = invalidate(store, *names).sequence
        assert look(store, "k", *names).marks == dict.fromkeys(names, sequence)

    def test_i1_many_marks_at_once(self, store: Store) -> None:
        before = position(store)
        names = tuple(f"m{i}" for i in range(2_500))
        after = invalidate(store, *names)
        found = look(store, "k", *names, since=before)
        assert found.position == after
        assert found.marks.keys() == set(names)
        assert all(before.sequence < s <= after.sequence for s in found.marks.values())
        assert found.records is not None
        assert sorted(name for r in found.records for name in r.marks) == sorted(names)

    def test_i1_drops_the_named_entries_only(self, store: Store, other: Store) -> None:
        for key in ("a", "b", "c"):
            store.execute(Fill(key, b"1", LONG))
        invalidate(store, "m", keys=("a", "b", "absent"))
        assert [look(other, key).frame for key in ("a", "b", "c")] == [None, None, b"1"]

    def test_i1_log_is_read_from_anywhere(self, store: Store, other: Store) -> None:
        places = [position(store)]
        records = []
        for names in [("a",), ("b", "c"), ("a",)]:
            places.append(invalidate(store, *names))
            records.append(Record(places[-1].sequence, names))
        for i, place in enumerate(places):
            for looked in (poll(other, place), look(other, since=place)):
                assert looked.position == places[-1]
                assert list(looked.records or ()) == records[i:]
                assert looked.records is not None

    def test_i1_long_log_is_whole_or_a_gap(self, store: Store) -> None:
        before = position(store)
        sequences = [invalidate(store, "m").sequence for _ in range(1_200)]
        looked = poll(store, before)
        assert looked.position == position(store)
        if looked.records is not None:
            assert [record.sequence for record in looked.records] == sequences

    def test_i5_log_of_another_incarnation_is_a_gap(self, store: Store) -> None:
        here = invalidate(store, "m")
        for since in (Position("another", 0), Position("another", here.sequence)):
            assert poll(store, since).records is None
            assert look(store, since=since).records is None
            assert poll(store, since).position == here

    def test_i5_log_that_went_back_is_a_gap(self, store: Store) -> None:
        here = invalidate(store, "m")
        assert poll(store, Position(here.incarnation, here.sequence + 1)).records is None

    @pytest.mark.parametrize("overtaken", [0, 1, 3])
    def test_i6_a_lost_tail_is_noticed(
        self, store: Store, other: Store, rewind: Rewind, overtaken: int
    ) -> None:
        invalidate(store, "a")
        put_back = rewind()
        lost = [invalidate(store, "b") for _ in range(2)]
        put_back()
        positions = [invalidate(other, "c") for _ in range(overtaken)]
        assert not set(positions) & set(lost), "no position is given twice"
        for since in lost:
            assert poll(store, since).records is None
            assert look(store, since=since).records is None
        assert position(other).incarnation != lost[0].incarnation, "nothing born there is valid"
        assert position(store) == position(other)

    def test_i6_what_was_read_before_the_lost_tail_goes_on(
        self, store: Store, other: Store, rewind: Rewind
    ) -> None:
        """Only who had read the lost part can tell, where the server has one identity."""
        here = invalidate(store, "a")
        put_back = rewind()
        lost = invalidate(store, "b")
        put_back()
        after = invalidate(other, "c")
        assert after.sequence > lost.sequence, "what was born in the lost part is older"
        assert poll(store, here).records == [Record(after.sequence, ("c",))]

    def test_poll_finds_no_entry(self, store: Store) -> None:
        store.execute(Fill("k", b"1", LONG))
        assert poll(store, position(store)).frame is None
