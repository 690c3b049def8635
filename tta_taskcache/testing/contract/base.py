"""Fixtures and commands that the parts of the contract share."""

# ruff: noqa: S101 - these are tests, and assert is how they assert

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ...core.entries import marks
from ...core.entries.entry import Entry, Position, pack
from ...stores.protocol import (
    Batch,
    Count,
    Fill,
    Found,
    Look,
    Poll,
    Scan,
    SetMarks,
    Store,
    StoreReply,
)
from ..clock import FakeClock

#: Seconds that no test lasts.
LONG = 600.0

#: Seconds that are short enough to wait for, where time is real.
SHORT = 0.3

Advance = Callable[[float], None]

#: Keeps the log as it is; what it returns puts it back, as a failover does that loses its tail.
Rewind = Callable[[], Callable[[], None]]


def make_entry(key: str, born: Position, payload: bytes = b"1", **fields: Any) -> Entry:
    """Make an entry of task ``t``, with defaults for all other fields."""
    task = fields.get("task", "t")
    defaults: dict[str, Any] = {
        "task": task,
        "task_id": "id",
        "created_at": 1.0,
        "lifetime": LONG,
        "fresh_for": fields.get("lifetime", LONG),
        "run_seconds": 0.5,
        "marks": marks.of_call(task, key),
        "serializer": "json",
        "compression": None,
    }
    return Entry(key=key, born=born, payload=payload, **{**defaults, **fields})


def look(store: Store, key: str = "k", *names: str, since: Position | None = None) -> StoreReply:
    """Look for a key."""
    looked = store.execute(Look(key, names, since))
    assert isinstance(looked, StoreReply)
    return looked


def position(store: Store) -> Position:
    """Return the log's position."""
    found = look(store).position
    assert found is not None
    return found


def poll(store: Store, since: Position) -> StoreReply:
    """Read the log."""
    looked = store.execute(Poll(since))
    assert isinstance(looked, StoreReply)
    return looked


def invalidate(store: Store, *names: str, keys: tuple[str, ...] = ()) -> Position:
    """Set marks."""
    new = store.execute(SetMarks(names, keys))
    assert isinstance(new, Position)
    return new


def scan(store: Store, pattern: str = "*", count: int = 500, secret: bytes = b"") -> list[Found]:
    """Read all batches."""
    found: list[Found] = []
    cursor = ""
    while True:
        batch = store.execute(Scan(pattern, cursor, count, secret))
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
    """Run work in threads at once; raise the first error of any."""
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


def fill(store: Store, key: str, **fields: Any) -> Entry:
    """Store an entry that is born at the log's position."""
    entry = make_entry(key, position(store), **fields)
    assert store.execute(Fill(key, pack(entry), entry.lifetime)) is True
    return entry


class Contract:
    """The fixtures of all parts."""

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
    def rewind(self) -> Rewind:
        pytest.skip("this store can't lose a part of its log")

    @pytest.fixture
    def other(self, store: Store) -> Store:
        return store
