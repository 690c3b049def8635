"""The commands of a sweep, which gives back the memory of what invalidations have ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sweep:
    """Drop the entries of one batch that an invalidation ended, from a cursor on (see ``Scan``)."""

    cursor: str = ""
    count: int = 100


@dataclass(frozen=True, slots=True)
class Swept:
    """What a batch of a sweep did.

    Attributes:
        cursor: Where the next batch starts; empty at the end.
        visited: Keys that were looked at, of whatever kind.
        total: Keys that there are, about.
        dropped: Entries that were dropped.
        freed: Their bytes.
    """

    cursor: str
    visited: int
    total: int
    dropped: int
    freed: int


@dataclass(frozen=True, slots=True)
class SweepProgress:
    """How far a sweep through all entries has come.

    Attributes:
        request: Number of the newest request for a sweep that this round answers.
        cursor: Where the next batch starts; empty at the start, and at the end of a round.
        visited: Keys that were looked at in this round, of whatever kind.
        total: Most keys that there were in this round, about.
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


@dataclass(frozen=True, slots=True)
class RequestSweep:
    """Ask for a sweep; one that is under way goes round again for it."""


@dataclass(frozen=True, slots=True)
class ReadSweep:
    """Read how far the sweep under way has come, or how the last one ended."""


@dataclass(frozen=True, slots=True)
class RecordSweep:
    """Note how far a sweep has come. At the end of a round, learn whether it is over."""

    sweeping: SweepProgress
