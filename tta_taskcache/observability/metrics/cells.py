"""Cells: named numbers of one process, without locks, behind the metrics.

A fork or an interruption can't leave them locked, as it can prometheus_client's own values: a
thread that serves metrics holds their locks now and then, and a pool process that is forked at that
moment would wait for one for ever (promise F3).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Protocol

from ..thread_ids import thread_ident
from .hit_tally import BUCKETS, COST, HITS, SAVED, TOOK, HitTally
from .metric_families import HITS as HITS_FAMILY
from .metric_families import LATENCY, SAVED_COST, SAVED_SECONDS, Family

#: The name of a family, its labels, and for a histogram the name of one of its numbers.
Key = tuple[str, ...]

#: Prefix of the key of a gauge, which is a state of its process and ends with it.
GAUGE = "="

#: Suffix of the key of a histogram's sum. Its buckets have numbers.
SUM = "sum"
_NUMBERS = tuple(map(str, range(32)))


class Cells(Protocol):
    """Named numbers."""

    def add(self, key: Key, amount: float) -> None:
        """Add to a number."""
        ...

    def put(self, key: Key, value: float) -> None:
        """Set a number."""
        ...

    def read(self) -> dict[Key, float]:
        """Return all numbers."""
        ...


class MemoryCells:
    """Numbers in the memory of this process. Each thread adds to its own.

    Attributes:
        hits: Further hits, which are read with the other numbers.
    """

    def __init__(self) -> None:
        self.hits = HitTally()
        self._threads: dict[int, dict[Key, float]] = {}
        self._put: dict[Key, float] = {}

    def add(self, key: Key, amount: float) -> None:
        """Add to a number."""
        me = thread_ident()
        mine = self._threads.get(me)
        if mine is None:
            mine = self._threads.setdefault(me, {})
        mine[key] = mine.get(key, 0.0) + amount

    def put(self, key: Key, value: float) -> None:
        """Set a number."""
        self._put[key] = value

    def read(self) -> dict[Key, float]:
        """Return all numbers."""
        sums = Counter(self._put)
        for mine in list(self._threads.values()):
            sums.update(mine.copy())  # in one step: no other thread adds a name meanwhile
        for at, numbers in self.hits.read():
            sums.update(_cells_of_hits(at, numbers))
        return dict(sums)


def _cells_of_hits(at: Key, numbers: list[float]) -> dict[Key, float]:
    latency, task = (LATENCY.name, *at), at[:1]
    found = {
        (HITS_FAMILY.name, *at): numbers[HITS],
        (*latency, SUM): numbers[TOOK],
        (SAVED_SECONDS.name, *task): numbers[SAVED],
    }
    if numbers[COST]:
        found[SAVED_COST.name, *task] = numbers[COST]
    buckets = zip(_NUMBERS, numbers[BUCKETS:], strict=False)
    return found | {(*latency, bucket): amount for bucket, amount in buckets if amount}


class CellSink:
    """Adds measurements to cells."""

    def __init__(self, cells: Cells) -> None:
        self.cells = cells
        self._add = cells.add

    def inc(self, family: Family, labels: Key = (), amount: float = 1.0) -> None:
        """Add to a counter."""
        self._add((family.name, *labels), amount)

    def observe(self, family: Family, labels: Key, value: float) -> None:
        """Add an observation to a histogram."""
        name = (family.name, *labels)
        self._add((*name, _NUMBERS[bisect_left(family.buckets, value)]), 1.0)
        self._add((*name, SUM), value)

    def put(self, family: Family, value: float) -> None:
        """Set a gauge of this process."""
        self.cells.put((GAUGE, family.name), value)
