"""What every store has to do, as tests: make a subclass with a ``store``, and let pytest run it.

::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self, clock):
            return MyStore(clock=clock)
"""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from ..core import marks
from ..core.entry import Entry, Position, pack
from ..stores.protocol import (
    Batch,
    Command,
    Count,
    Fill,
    Found,
    Invalidate,
    Look,
    Looked,
    Poll,
    Record,
    Scan,
    Store,
)
from .clock import FakeClock

#: Long enough that nothing expires by itself.
LONG = 600.0

#: Short enough to wait for, where time is real.
SHORT = 0.3

Advance = Callable[[float], None]


def make_entry(key: str, born: Position, payload: bytes = b"1", **fields: Any) -> Entry:
    """An entry of task ``t``, with what doesn't matter filled in."""
    task = fields.get("task", "t")
    defaults: dict[str, Any] = {
        "task": task,
        "task_id": "id",
        "created_at": 1.0,
        "lifetime": LONG,
        "run_seconds": 0.5,
        "marks": marks.of_call(task, key),
        "serializer": "json",
        "compression": None,
    }
    return Entry(key=key, born=born, payload=payload, **{**defaults, **fields})


def look(store: Store, key: str = "k", *names: str, since: Position | None = None) -> Looked:
    """Look for a key."""
    looked = store.execute(Look(key, names, since))
    assert isinstance(looked, Looked)
    return looked


def position(store: Store) -> Position:
    """The log's position."""
    found = look(store).position
    assert found is not None
    return found


def poll(store: Store, since: Position) -> Looked:
    """Read the log."""
    looked = store.execute(Poll(since))
    assert isinstance(looked, Looked)
    return looked


def invalidate(store: Store, *names: str, keys: tuple[str, ...] = ()) -> Position:
    """Set marks."""
    new = store.execute(Invalidate(names, keys))
    assert isinstance(new, Position)
    return new


def scan(store: Store, pattern: str = "*", count: int = 500) -> list[Found]:
    """Read all batches."""
    found: list[Found] = []
    cursor = ""
    while True:
        batch = store.execute(Scan(pattern, cursor, count))
        assert isinstance(batch, Batch)
        found += batch.found
        cursor = batch.cursor
        if not cursor:
            return found


def totals(store: Store) -> dict[str, float]:
    """Read the counters."""
    counted = store.execute(Count())
    assert isinstance(counted, dict)
    return counted


def in_threads(number: int, work: Callable[[int], object]) -> None:
    """Let threads do this at once; what one raises is raised here."""
    errors: list[BaseException] = []
    start = threading.Barrier(number)

    def run(i: int) -> None:
        start.wait()
        try:
            work(i)
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


class StoreContract:
    """The contract of a store, as tests. It holds for every store and every wrapper of one.

    Fixtures to override:

    - ``store``: the store, empty. Always.
    - ``advance``: lets the store's time pass. The default moves ``clock``.
    - ``other``: the same data as another process sees it. The default is ``store`` itself.
    """

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        raise NotImplementedError("a subclass provides the store")

    @pytest.fixture
    def advance(self, clock: FakeClock) -> Advance:
        return clock.advance

    @pytest.fixture
    def other(self, store: Store) -> Store:
        return store

    # What is stored

    def test_has_a_name(self, store: Store) -> None:
        assert store.name

    def test_finds_nothing_at_first(self, store: Store) -> None:
        looked = look(store, "k", "m", "n")
        assert (looked.frame, looked.marks, looked.records) == (None, {}, None)
        assert looked.position is not None

    def test_finds_what_was_stored(self, store: Store, other: Store) -> None:
        assert store.execute(Fill("k", b"frame", LONG)) is True
        for reader in (store, other):
            looked = look(reader)
            assert looked.frame == b"frame"
            assert 0 < looked.remaining <= LONG

    @pytest.mark.parametrize(
        "frame", [b"\0", bytes(range(256)), b"\r\n$-1\r\n", b"x" * 300_000], ids=repr
    )
    def test_keeps_every_byte(self, store: Store, frame: bytes) -> None:
        store.execute(Fill("k", frame, LONG))
        assert look(store).frame == frame

    def test_replaces_frame_and_lifetime(self, store: Store, other: Store) -> None:
        store.execute(Fill("k", b"1", LONG))
        other.execute(Fill("k", b"2", LONG / 2))
        looked = look(store)
        assert looked.frame == b"2"
        assert looked.remaining <= LONG / 2

    def test_keeps_keys_apart(self, store: Store) -> None:
        keys = ["k", "K", "k:", ":k", "k:k", "k.k", "k%3Ak", "kk", "*", "control", "stream"]
        for key in keys:
            store.execute(Fill(key, key.encode(), LONG))
        assert {key: look(store, key).frame for key in keys} == {k: k.encode() for k in keys}

    # Limits are absolute (R5)

    def test_r5_forgets_when_the_lifetime_is_over(self, store: Store, advance: Advance) -> None:
        store.execute(Fill("short", b"1", SHORT))
        store.execute(Fill("long", b"1", LONG))
        advance(SHORT)
        assert look(store, "short").frame is None
        assert look(store, "long").frame == b"1"

    def test_r5_reading_never_extends(self, store: Store, advance: Advance) -> None:
        store.execute(Fill("k", b"1", SHORT))
        advance(SHORT / 2)
        assert look(store).remaining <= SHORT / 2
        advance(SHORT / 2)
        assert look(store).frame is None

    def test_r5_replacing_starts_a_new_lifetime(self, store: Store, advance: Advance) -> None:
        store.execute(Fill("k", b"1", SHORT))
        store.execute(Fill("k", b"2", LONG))
        advance(SHORT)
        assert look(store).frame == b"2"

    # The log (I1, I5)

    def test_i1_position_is_the_same_for_all(self, store: Store, other: Store) -> None:
        assert position(store) == position(other) == position(store)

    def test_i1_invalidation_takes_the_next_sequence(self, store: Store, other: Store) -> None:
        before = position(store)
        first, second = invalidate(store, "m"), invalidate(other, "n")
        assert [first.sequence, second.sequence] == [before.sequence + 1, before.sequence + 2]
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
        for _ in range(1_200):
            invalidate(store, "m")
        after, looked = position(store), poll(store, before)
        assert looked.position == after
        if looked.records is not None:
            found = [record.sequence for record in looked.records]
            assert found == list(range(before.sequence + 1, after.sequence + 1))

    def test_i5_log_of_another_incarnation_is_a_gap(self, store: Store) -> None:
        here = invalidate(store, "m")
        for since in (Position("another", 0), Position("another", here.sequence)):
            assert poll(store, since).records is None
            assert look(store, since=since).records is None
            assert poll(store, since).position == here

    def test_i5_log_that_went_back_is_a_gap(self, store: Store) -> None:
        here = invalidate(store, "m")
        assert poll(store, Position(here.incarnation, here.sequence + 1)).records is None

    def test_poll_finds_no_entry(self, store: Store) -> None:
        store.execute(Fill("k", b"1", LONG))
        assert poll(store, position(store)).frame is None

    # Scanning

    def fill(self, store: Store, key: str, **fields: Any) -> Entry:
        entry = make_entry(key, position(store), **fields)
        store.execute(Fill(key, pack(entry), entry.lifetime))
        return entry

    def test_scan_says_what_is_there(self, store: Store) -> None:
        entry = self.fill(store, "t:l:0", payload=b"12345", task_id="by", run_seconds=2.5)
        (found,) = scan(store)
        assert replace(found.entry, payload=entry.payload) == entry, "all but the payload"
        assert found.size == len(pack(entry))
        assert 0 < found.remaining <= LONG

    def test_scan_says_the_size_of_large_ones(self, store: Store) -> None:
        entry = self.fill(store, "k", payload=b"x" * 100_000)
        (found,) = scan(store)
        assert found.size == len(pack(entry))
        assert found.entry.task == "t"

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("*", ["a:x", "ab:x", "b:x", "b:y"]),
            ("b:*", ["b:x", "b:y"]),
            ("*x", ["a:x", "ab:x", "b:x"]),
            ("?:x", ["a:x", "b:x"]),
            ("[ab]:x", ["a:x", "b:x"]),
            ("[a-b]:x", ["a:x", "b:x"]),
            ("[^a]:x", ["b:x"]),
            ("a:x", ["a:x"]),
            ("A:x", []),
            ("a", []),
        ],
    )
    def test_scan_matches_globs(self, store: Store, pattern: str, expected: list[str]) -> None:
        for key in ("a:x", "ab:x", "b:x", "b:y"):
            self.fill(store, key)
        assert sorted({item.entry.key for item in scan(store, pattern)}) == expected

    def test_scan_finds_all_in_batches(self, store: Store) -> None:
        keys = {f"k{i}" for i in range(300)}
        for key in keys:
            self.fill(store, key)
        assert {item.entry.key for item in scan(store, count=10)} == keys

    def test_scan_leaves_out_what_is_over(self, store: Store, advance: Advance) -> None:
        self.fill(store, "expired", lifetime=SHORT)
        self.fill(store, "by-key")
        self.fill(store, "by-task", task="u")
        self.fill(store, "good")
        invalidate(store, marks.of_key("by-key"))
        invalidate(store, marks.of_task("u"))
        advance(SHORT)
        self.fill(store, "again", task="u")
        assert sorted(item.entry.key for item in scan(store)) == ["again", "good"]
        invalidate(store, marks.EVERYTHING)
        assert scan(store) == []

    def test_scan_leaves_out_another_incarnation(self, store: Store) -> None:
        entry = make_entry("k", Position("another", 0))
        store.execute(Fill("k", pack(entry), LONG))
        assert scan(store) == []

    def test_r4_scan_leaves_out_garbage(self, store: Store) -> None:
        good = pack(self.fill(store, "good"))
        garbage = {"empty": b"", "text": b"garbage", "cut": good[:30], "other": b"X" + good[1:]}
        for key, frame in garbage.items():
            store.execute(Fill(key, frame, LONG))
        assert [item.entry.key for item in scan(store)] == ["good"]

    # Counters

    def test_f2_counts_add_up(self, store: Store, other: Store) -> None:
        assert totals(store) == {}
        store.execute(Count({"a": 1, "b": 0.5}))
        assert other.execute(Count({"a": 2})) == {"a": 3, "b": 0.5}
        assert totals(store) == {"a": 3, "b": 0.5}

    def test_f2_counts_ride_along(self, store: Store) -> None:
        counts = {"a": 1.0, "é|b": 0.25}
        commands: list[Command] = [
            Look("k", (), counts=counts),
            Poll(position(store), counts),
            Fill("k", b"1", LONG, counts),
            Look("k", ("m",), position(store), counts),
        ]
        for command in commands:
            store.execute(command)
        assert totals(store) == {"a": 4.0, "é|b": 1.0}

    # What threads do at once (F3)

    def test_f3_threads_count_right(self, store: Store) -> None:
        in_threads(8, lambda _: [store.execute(Count({"a": 1})) for _ in range(200)])
        assert totals(store) == {"a": 1_600}

    def test_f3_threads_get_their_own_replies(self, store: Store) -> None:
        def work(i: int) -> None:
            for n in range(50):
                frame = f"{i}-{n}".encode()
                store.execute(Fill(f"k{i}", frame, LONG))
                assert look(store, f"k{i}").frame == frame

        in_threads(8, work)

    def test_f3_i1_threads_invalidate_one_after_another(self, store: Store) -> None:
        before = position(store)
        taken: list[int] = []

        def work(i: int) -> None:
            for _ in range(25):
                mine = invalidate(store, f"m{i}").sequence
                taken.append(mine)
                looked = look(store, "k", f"m{i}", since=before)
                assert looked.marks == {f"m{i}": mine}
                assert looked.records is not None
                assert Record(mine, (f"m{i}",)) in looked.records

        in_threads(8, work)
        assert sorted(taken) == list(range(before.sequence + 1, before.sequence + 201))
