"""The ledger: what was counted in all, and by day.

Days are UTC, by the clock of the process that hands its counts over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from math import isfinite
from time import time
from typing import Any

from .exchange import Exchange
from .key_layout import Layout
from .protocol import Counts
from .scripts import script

#: Days that are kept.
KEPT = 400

_COUNT = script("count")


def day_of(seconds: float) -> str:
    """The day of a moment (Unix seconds), as ISO 8601 has it."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def days_since(first: date, now: float) -> tuple[str, ...]:
    """The days from one until now (Unix seconds), of those that are kept."""
    last = datetime.fromtimestamp(now, UTC).date()
    first = max(first, last - timedelta(days=KEPT))
    count = (last - first).days + 1
    return tuple((first + timedelta(days=i)).isoformat() for i in range(count))


class MemoryLedger:
    """In this process. Whoever adds keeps other threads out."""

    def __init__(self) -> None:
        self._totals: dict[str, float] = {}
        self._days: dict[str, dict[str, float]] = {}

    def add(self, counts: Counts) -> None:
        """Add counts, today."""
        today = self._days.setdefault(day_of(time()), {})
        for name, amount in counts.items():
            self._totals[name] = self._totals.get(name, 0.0) + amount
            today[name] = today.get(name, 0.0) + amount

    def totals(self) -> dict[str, float]:
        """What was counted in all."""
        return dict(self._totals)

    def read(self, days: Sequence[str]) -> list[dict[str, float]]:
        """What was counted on each of these days."""
        return [dict(self._days.get(day, {})) for day in days]


class RedisLedger:
    """In Redis: what is added rides on a pipeline.

    Args:
        at: The names of the keys.
        wall: Unix seconds.
    """

    def __init__(self, at: Layout, wall: Callable[[], float] = time) -> None:
        self._at = at
        self._wall = wall

    def add(self, pipe: Any, counts: Counts) -> None:
        """Queue the addition of counts, today; nothing for none."""
        if counts:
            keys = (self._at.counts, self._at.counts_on(day_of(self._wall())))
            pairs = chain.from_iterable(counts.items())
            pipe.eval(_COUNT, 2, *keys, KEPT * 86_400, *pairs)

    def totals(self, pipe: Any) -> Exchange[dict[str, float]]:
        """Execute a pipeline, and read what was counted in all."""
        pipe.hgetall(self._at.counts)
        return _amounts((yield pipe.execute)[-1])

    def read(self, pipe: Any, days: Sequence[str]) -> Exchange[list[dict[str, float]]]:
        """What was counted on each of these days."""
        for day in days:
            pipe.hgetall(self._at.counts_on(day))
        return [_amounts(stored) for stored in (yield pipe.execute)]


def _amounts(stored: dict[bytes, bytes]) -> dict[str, float]:
    """What is there of figures: who else writes there may have left anything."""
    amounts: dict[str, float] = {}
    for name, value in stored.items():
        with suppress(ValueError):
            amount = float(value)
            if isfinite(amount):
                amounts[name.decode()] = amount
    return amounts
