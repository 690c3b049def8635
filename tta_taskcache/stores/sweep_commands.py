"""The commands of a sweep, which frees the memory of ended entries."""

from __future__ import annotations

from ..core.record import record


@record
class Sweep:
    """Drop the entries of one batch that an invalidation ended, from a cursor on (see ``Scan``)."""

    cursor: str = ""
    count: int = 100


@record
class Swept:
    """The result of one batch of a sweep.

    Attributes:
        cursor: Start of the next batch; empty at the end.
        visited: Keys that were read, of whatever kind.
        total: Approximate number of all keys.
        dropped: Entries that were dropped.
        freed: Their bytes.
    """

    cursor: str
    visited: int
    total: int
    dropped: int
    freed: int


@record
class SweepProgress:
    """The progress of a sweep.

    Attributes:
        request: Number of the newest request that this round answers.
        cursor: Start of the next batch; empty at the start and at the end of a round.
        visited: Keys that were read in this round, of whatever kind.
        total: Approximate largest number of keys in this round.
        dropped: Entries that were dropped in all rounds so far.
        freed: Their bytes.
        is_over: Whether it is done, with no later request waiting.
    """

    request: int = 0
    cursor: str = ""
    visited: int = 0
    total: int = 0
    dropped: int = 0
    freed: int = 0
    is_over: bool = False


@record
class RequestSweep:
    """Request a sweep; one that is under way goes round again for it."""


@record
class ReadSweep:
    """Read the progress of the sweep under way, or of the last one."""


@record
class RecordSweep:
    """Record the progress of a sweep; the end of a round returns whether it is over."""

    sweeping: SweepProgress
