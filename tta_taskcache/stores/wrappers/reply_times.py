"""How long a store takes to answer: slow is a fault like down (promise F4)."""

from __future__ import annotations

from collections import deque

from ..protocol import ClientCall, Command, Count, LookMany, ReadDays, Scan, Together
from ..sweep_commands import ReadSweep, RecordSweep, RequestSweep, Sweep

#: Replies that have to be slow, one after the other: a busy machine makes a single one slow.
IN_A_ROW = 5

#: Seconds that each command of many may add to a reply that isn't slow.
A_LOOK = 0.0002

#: Commands that say nothing of it: they do much at once, and nobody's call waits for them.
_LONG = (ClientCall, Count, ReadDays, Scan, Sweep, RequestSweep, ReadSweep, RecordSweep)


class ReplyTimes:
    """The times of the latest replies. Holds no lock."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=IN_A_ROW)

    def note(self, command: Command, seconds: float) -> None:
        """Take note of how long a command took."""
        if isinstance(command, _LONG):
            return
        match command:
            case LookMany(many) | Together(many):
                seconds -= len(many) * A_LOOK
        self._latest.append(max(0.0, seconds))

    @property
    def usual(self) -> float:
        """Seconds that a reply takes at least, just now; 0 as long as that isn't known."""
        latest = tuple(self._latest)
        return min(latest) if len(latest) == IN_A_ROW else 0.0

    @property
    def longest(self) -> float:
        """Seconds that the longest of the latest replies took; 0 when there was none."""
        return max(tuple(self._latest), default=0.0)
