"""Entries and logs for tests of L1."""

from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.stores.memory.l1_cache import L1Cache
from tta_taskcache.testing import make_entry

DELTA = 0.25


HERE = Position("i", 5)


def new(position: Position | None = HERE, at: float = 0.0, **bounds: int) -> L1Cache:
    l1 = L1Cache(**{"max_entries": 10, "max_bytes": 10_000, **bounds}, max_staleness=DELTA)
    if position is not None:
        l1.advance(position, None, at)
    return l1


def put(l1: L1Cache, key: str = "k", born: Position = HERE, deadline: float = 100.0) -> None:
    l1.put(make_entry(key, born), deadline, born.sequence)


# Bans


def ban(*patterns: str) -> tuple[str, ...]:
    return tuple(marks.of_pattern(pattern) for pattern in patterns)
