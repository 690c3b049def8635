"""The ledger: the shared counters, in total and by day.

Days are UTC, by the clock of the process that hands over its counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from math import isfinite
from time import time
from typing import Any

from ..protocol import Counts
from .exchange import Exchange
from .key_layout import Layout
from .scripts import script

#: Days that are kept.
KEPT = 400


def day_of(seconds: float) -> str:
    """Return the day of a time (Unix seconds) in ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def days_since(first: date, now: float) -> tuple[str, ...]:
    """Return the kept days from a first one until now (Unix seconds)."""
    last = datetime.fromtimestamp(now, UTC).date()
    first = max(first, last - timedelta(days=KEPT))
    count = (last - first).days + 1
    return tuple((first + timedelta(days=i)).isoformat() for i in range(count))


class MemoryLedger:
    """The ledger in memory of this process. Its caller locks."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._days: dict[str, dict[str, float]] = {}

    def add(self, counts: Counts) -> None:
        """Add counts to the totals and today's."""
        today = self._days.setdefault(day_of(time()), {})
        for name, amount in counts.items():
            self._totals[name] = self._totals.get(name, 0.0) + amount
            today[name] = today.get(name, 0.0) + amount

    def totals(self) -> dict[str, float]:
        """Return the totals."""
        return dict(self._totals)

    def read(self, days: Sequence[str]) -> list[dict[str, float]]:
        """Return the counters of each of these days."""
        return [dict(self._days.get(day, {})) for day in days]


class RedisLedger:
    """The ledger in Redis: additions ride on a pipeline.

    Args:
        at: The names of the keys.
        wall: Unix seconds.
    """

    def __init__(self, at: Layout, wall: Callable[[], float] = time) -> None:
        self._at = at
        self._wall = wall

    def add(self, pipe: Any, counts: Counts) -> None:
        """Queue the addition of counts to the totals and today's; nothing for none."""
        if counts:
            keys = (self._at.counts, self._at.counts_on(day_of(self._wall())))
            pairs = chain.from_iterable(counts.items())
            pipe.eval(script("count"), 2, *keys, KEPT * 86_400, *pairs)

    def totals(self, pipe: Any) -> Exchange[dict[str, float]]:
        """Execute a pipeline, and return the totals."""
        pipe.hgetall(self._at.counts)
        return _amounts((yield pipe.execute)[-1])

    def read(self, pipe: Any, days: Sequence[str]) -> Exchange[list[dict[str, float]]]:
        """Return the counters of each of these days."""
        for day in days:
            pipe.hgetall(self._at.counts_on(day))
        return [_amounts(stored) for stored in (yield pipe.execute)]


def _amounts(stored: dict[bytes, bytes]) -> dict[str, float]:
    """Return the counters that are figures: other writers to Redis may have left anything."""
    amounts: dict[str, float] = {}
    for name, value in stored.items():
        with suppress(ValueError):
            amount = float(value)
            if isfinite(amount):
                amounts[name.decode()] = amount
    return amounts
