"""The commands that a store executes, and its replies.

Durations are seconds as ``float``. A reply never holds a clock reading of another machine: a store
says how long something *remains*, by its own clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..core.entry import Entry, Position

#: Increments to the shared counters, by field name; they ride on other commands.
Counts = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the invalidation log: the marks that one invalidation set."""

    sequence: int
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Find a frame, with all that is needed to judge it: one round trip.

    Attributes:
        key: The call's key.
        marks: Names of the marks that can end it.
        since: Also read the log from here, when given.
        counts: Counters to add on the way.
    """

    key: str
    marks: tuple[str, ...]
    since: Position | None = None
    counts: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found.

    Attributes:
        position: The log's position, or None when the log was lost: nothing may be stored or
            served then, until a later look has opened a new incarnation.
        frame: The bytes, or None.
        remaining: Seconds until they expire.
        marks: Sequences of the marks that are set.
        records: The log since ``Look.since``; None when it wasn't asked for or has a gap.
    """

    position: Position | None
    frame: bytes | None
    remaining: float
    marks: dict[str, int]
    records: Sequence[Record] | None


@dataclass(frozen=True, slots=True)
class Poll:
    """Read the log since a position, without looking for anything."""

    since: Position
    counts: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fill:
    """Store a frame for ``lifetime`` seconds."""

    key: str
    frame: bytes
    lifetime: float
    counts: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Invalidate:
    """Take the next sequence number, set marks to it, and drop the entries of ``keys``."""

    marks: tuple[str, ...]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """Find the keys that match a glob, from a cursor on; 0 starts and ends a scan.

    A batch may be empty, and a key may come twice, as Redis' SCAN has it. Entries that an
    invalidation ended are left out.
    """

    pattern: str
    cursor: int = 0
    count: int = 500


@dataclass(frozen=True, slots=True)
class Found:
    """An entry of a scan, read without verification and without its payload.

    Attributes:
        entry: The entry.
        size: Bytes of its frame.
        remaining: Seconds until it expires.
    """

    entry: Entry
    size: int
    remaining: float


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of a scan."""

    cursor: int
    found: list[Found]


@dataclass(frozen=True, slots=True)
class Count:
    """Add to the shared counters; with an empty mapping, just read them."""

    counts: Counts = field(default_factory=dict)


Command = Look | Poll | Fill | Invalidate | Scan | Count
Reply = Looked | Position | Batch | dict[str, float] | None


class Store(Protocol):
    """Executes commands.

    ``Look`` and ``Poll`` reply ``Looked``, ``Invalidate`` replies the new ``Position``, ``Scan``
    replies a ``Batch``, ``Count`` replies the totals, ``Fill`` replies None.

    Raises:
        StoreUnavailable: The store could not do it in time.
    """

    #: What this store is, for ``stats`` and messages; holds no password.
    name: str

    def execute(self, command: Command) -> Reply:
        """Execute one command."""
        ...
