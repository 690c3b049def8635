"""At most so many a second."""

from __future__ import annotations


class Pace:
    """Says when the next one may go, so that no second sees more of them than ``rate`` (plus one).

    What wasn't used isn't saved up: after a pause they don't come in a burst.

    Args:
        rate: How many a second; None for no bound.
    """

    def __init__(self, rate: float | None) -> None:
        self._gap = 1.0 / rate if rate else 0.0
        self._due = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next one may go."""
        return max(0.0, self._due - now)

    def went(self, now: float) -> None:
        """Note that one goes now."""
        self._due = max(now, self._due) + self._gap
