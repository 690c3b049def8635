"""The most requested keys of a stream, in bounded memory.

Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in
Data Streams, ICDT 2005): a fixed number of counters; a key that has none takes over the smallest
one, with its count. Whatever was seen more often than ``seen / capacity`` times is in it.
"""

from __future__ import annotations

import heapq
from itertools import islice

from .record import record


@record
class Hot:
    """A key with its count.

    Attributes:
        key: The key.
        count: Most times that it was seen.
        error: Most by which the count is too high.
    """

    key: str
    count: int
    error: int = 0


class SpaceSaving:
    """Counts keys in a fixed number of counters.

    Args:
        capacity: Most keys that are counted at a time (1 or more).

    Raises:
        ValueError: ``capacity`` is less than 1.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise ValueError(f"capacity={capacity}: must be 1 or more")
        self.capacity = capacity
        self._counts: dict[str, int] = {}
        self._errors: dict[str, int] = {}
        #: Each key once, with an earlier count, which is a lower bound as counts only rise.
        self._smallest: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, key: str) -> str | None:
        """Count a key.

        Returns:
            The key that gave up its counter for it, if one did.
        """
        counts = self._counts
        if key in counts:
            counts[key] += 1
            return None
        loser, taken = None, 0
        if len(counts) >= self.capacity:
            loser = self._take_smallest()
            taken = counts.pop(loser)
            self._errors.pop(loser, None)
            self._errors[key] = taken
        counts[key] = taken + 1
        heapq.heappush(self._smallest, (taken + 1, key))
        return loser

    def _take_smallest(self) -> str:
        while True:
            count, key = self._smallest[0]
            now = self._counts[key]
            if now == count:
                heapq.heappop(self._smallest)
                return key
            heapq.heapreplace(self._smallest, (now, key))

    def top(self, number: int) -> list[Hot]:
        """Return the most seen keys, most seen first; among equals by key."""
        ordered = sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))
        errors = self._errors
        return [Hot(key, count, errors.get(key, 0)) for key, count in islice(ordered, number)]
