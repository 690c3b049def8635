"""Sweeps: freeing the memory of ended entries (promise I3)."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...core.entries import marks
from ...core.entries.entry import Position, pack
from ...stores.protocol import Fill, Store
from ...stores.sweep_commands import (
    ReadSweep,
    RecordSweep,
    RequestSweep,
    Sweep,
    SweepProgress,
    Swept,
)
from .base import LONG, Contract, fill, invalidate, look, make_entry
from .lease_tests import claim


def sweep(store: Store, count: int = 500) -> list[Swept]:
    """Sweep through all batches."""
    batches: list[Swept] = []
    cursor = ""
    while True:
        batch = store.execute(Sweep(cursor, count))
        assert isinstance(batch, Swept)
        batches.append(batch)
        cursor = batch.cursor
        if not cursor:
            return batches


def note(store: Store, sweeping: SweepProgress) -> SweepProgress:
    """Record the progress of a sweep."""
    noted = store.execute(RecordSweep(sweeping))
    assert isinstance(noted, SweepProgress)
    return noted


def progress(store: Store) -> SweepProgress:
    """Read the progress of a sweep."""
    found = store.execute(ReadSweep())
    assert isinstance(found, SweepProgress)
    return found


class Sweeps(Contract):
    """Ended entries are dropped, all of them and no others; each request gets a sweep."""

    def test_i3_nothing_to_sweep(self, store: Store) -> None:
        batches = sweep(store)
        assert sum(b.dropped for b in batches) == sum(b.freed for b in batches) == 0
        fill(store, "k")
        assert sum(batch.dropped for batch in sweep(store)) == 0
        assert look(store).frame is not None

    def test_i3_drops_what_was_ended_and_nothing_else(self, store: Store, other: Store) -> None:
        ended: dict[str, dict[str, Any]] = {
            "by-key": {},
            "by-task": {"task": "u"},
            "by-tag": {"marks": marks.of_call("t", "by-tag", ["x"])},
            "banned:1": {},
            "banned:2": {},
        }
        for key, fields in ended.items():
            fill(store, key, **fields)
        lost = pack(make_entry("lost", Position("another", 0)))
        store.execute(Fill("lost", lost, LONG))
        invalidate(store, marks.of_key("by-key"), marks.of_tag("x"), marks.of_task("u"))
        invalidate(store, marks.of_pattern("banned:*"), marks.of_tag("y"))
        fresh = {"good": {}, "banned:2": {}, "tagged": {"marks": marks.of_call("t", "k", ["z"])}}
        for key, fields in fresh.items():
            fill(store, key, **fields)
        gone = {*ended, "lost"} - set(fresh)
        size = sum(len(look(store, key).frame or b"") for key in gone)
        store.execute(Fill("garbage", b"garbage", LONG))
        claim(store, "a", key="led", names=())
        batches = sweep(other)
        assert {key for key in (*ended, *fresh, "lost") if look(store, key).frame is None} == gone
        assert sum(batch.dropped for batch in batches) == len(gone)
        assert sum(batch.freed for batch in batches) == size
        assert look(store, "garbage").frame is not None, "it isn't known whose that is"
        assert claim(store, "b", key="led", names=()).is_followed

    def test_i3_everything_goes_in_batches(self, store: Store) -> None:
        many = 300
        for i in range(many):
            fill(store, f"k{i}")
        invalidate(store, marks.EVERYTHING)
        fill(store, "fresh")
        batches = sweep(store, count=10)
        assert sum(batch.dropped for batch in batches) == many
        assert sum(batch.visited for batch in batches) > many
        assert batches[0].total > many
        assert look(store, "fresh").frame is not None
        assert sum(batch.dropped for batch in sweep(store)) == 0

    def test_i3_one_sweep_at_a_time_which_answers_all_requests(
        self, store: Store, other: Store
    ) -> None:
        if not store.execute(RequestSweep()):
            assert store.execute(ReadSweep()) is None, "this store needs none"
            assert note(store, SweepProgress()).is_over
            return
        assert other.execute(RequestSweep()) is False, "it is under way"
        assert not progress(other).is_over
        first = note(store, SweepProgress())
        assert not first.is_over
        assert first.request > 0, "a round that has answered nothing is followed by one that does"
        halfway = replace(first, cursor="5", visited=3, total=9, dropped=2, freed=100)
        assert note(store, halfway) == halfway == progress(other)
        assert other.execute(RequestSweep()) is False
        again = note(store, replace(halfway, cursor="", visited=9))
        assert not again.is_over, "that came too late for this round"
        assert (again.request > first.request, again.cursor) == (True, "")
        done = note(store, replace(again, visited=9, total=9, dropped=1, freed=50))
        assert done.is_over
        assert done == progress(other)
        assert other.execute(RequestSweep()) is True, "the next one"
        assert store.execute(RequestSweep()) is False
        assert not progress(store).is_over
