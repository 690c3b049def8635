"""The tally of hits: what counters and metrics have to know of most lookups, in one step.

A hit is counted in a list of its thread, task, site and layer, and read as named numbers only when
somebody asks. Threads add to lists of their own, without locks: no addition is lost, and neither a
fork nor an interruption leaves one behind.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from ..thread_ids import thread_ident
from .metric_families import LATENCY

#: Task, site and layer.
At = tuple[str, str, str]


#: Indices of a list: hits, seconds and cost saved, seconds that lookups took; then a number for
#: each bucket of the lookups' times.
HITS, SAVED, COST, TOOK, BUCKETS = range(5)
_EMPTY = [0.0] * (BUCKETS + len(LATENCY.buckets) + 1)


class HitTally:
    """Adds up fresh hits, for one process."""

    def __init__(self) -> None:
        self._lists: dict[tuple[int, At], list[float]] = {}

    def add(self, at: At, seconds: float, run_seconds: float, cost: float) -> None:
        """Count a hit.

        Args:
            at: Task, site and layer.
            seconds: Seconds that the lookup took.
            run_seconds: Run time of its entry.
            cost: Cost of its entry.
        """
        mine = self._lists.get((thread_ident(), at))
        if mine is None:
            mine = self._lists.setdefault((thread_ident(), at), _EMPTY.copy())
        mine[HITS] += 1.0
        if run_seconds > seconds:
            mine[SAVED] += run_seconds - seconds
        if cost:
            mine[COST] += cost
        mine[TOOK] += seconds
        mine[BUCKETS + bisect_left(LATENCY.buckets, seconds)] += 1.0

    def read(self) -> Iterator[tuple[At, list[float]]]:
        """Yield the numbers of each thread."""
        for (_, at), numbers in list(self._lists.items()):
            yield at, numbers.copy()
