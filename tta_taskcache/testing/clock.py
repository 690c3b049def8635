"""A fake clock, moved by hand."""

from __future__ import annotations


class FakeClock:
    """Monotonic seconds, moved by hand: ``clock()`` reads them, ``clock.advance(1.5)`` moves them.

    Args:
        now: Its first reading (s).
    """

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let seconds pass.

        Raises:
            ValueError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ValueError(f"a monotonic clock can't go back by {-seconds} seconds")
        self.now += seconds
