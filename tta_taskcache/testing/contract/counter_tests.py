"""Shared counters, and commands of several threads at once."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

from time import time

from ...stores.exchanges.ledger import day_of
from ...stores.protocol import Command, Count, Fill, Look, Poll, ReadDays, Record, Store
from .base import LONG, Contract, in_threads, invalidate, look, position, totals


class Counting(Contract):
    """Counts add up, and threads don't disturb one another."""

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

    def test_f2_counts_are_kept_by_day(self, store: Store, other: Store) -> None:
        first = day_of(time())
        store.execute(Count({"a": 1, "b": 0.5}))
        other.execute(Count({"a": 2}))
        days = tuple(sorted({first, day_of(time())}))  # it may be midnight
        counted = store.execute(ReadDays(("2001-01-01", *days)))
        assert counted[0] == {}  # type: ignore[index]  # a list
        sums: dict[str, float] = {}
        for day in counted:  # type: ignore[union-attr]  # a list
            for name, amount in day.items():  # type: ignore[union-attr]  # of dicts
                sums[name] = sums.get(name, 0.0) + amount
        assert sums == {"a": 3, "b": 0.5}

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
        assert len(set(taken)) == len(taken)
        assert min(taken) > before.sequence
