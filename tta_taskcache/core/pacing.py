"""Pacing: a bound on events a second, without bursts."""

from __future__ import annotations


class Pace:
    """The pace of events: no second has more than ``rate`` of them, plus one.

    Unused capacity isn't saved up: no burst follows a pause.

    Args:
        rate: Most events a second; None for no bound.
    """

    def __init__(self, rate: float | None) -> None:
        self._gap = 1.0 / rate if rate else 0.0
        self._due = float("-inf")

    def wait(self, now: float) -> float:
        """Return the seconds until the next event may happen."""
        return max(0.0, self._due - now)

    def went(self, now: float) -> None:
        """Record an event that happens now."""
        self._due = max(now, self._due) + self._gap
