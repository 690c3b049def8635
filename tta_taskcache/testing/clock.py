"""Time that passes when a test says so."""

from __future__ import annotations


class FakeClock:
    """Monotonic seconds, moved by hand: ``clock()`` reads them, ``clock.advance(1.5)`` moves them.

    Args:
        now: Where it starts.
    """

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Read it."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ValueError: It would go back, which monotonic time never does.
        """
        if seconds < 0:
            raise ValueError(f"a monotonic clock can't go back by {-seconds} seconds")
        self.now += seconds
