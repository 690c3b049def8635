"""The commands that a store executes, and its replies.

Durations are seconds as ``float``. A reply never holds a clock reading of another machine: a store
says how long something *remains*, by its own clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..core.entry import Entry, Position
from ..core.lease import Claim, Holding, Lease
from ..core.marks import Ban
from .sweep_commands import ReadSweep, RecordSweep, RequestSweep, Sweep, SweepProgress, Swept

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
        claim: Take the lease, when there is no valid entry and nobody leads.
    """

    key: str
    marks: tuple[str, ...]
    since: Position | None = None
    counts: Counts = field(default_factory=dict)
    claim: Claim | None = None


@dataclass(frozen=True, slots=True)
class StoreReply:
    """What was found.

    Attributes:
        position: The log's position, or None when the log was lost: nothing may be stored or
            served then, until a later look has opened a new incarnation.
        frame: The bytes, or None.
        remaining: Seconds until they expire.
        marks: Sequences of the marks that are set.
        records: The log since ``Look.since``; None when it wasn't asked for or has a gap.
        banned: Sequence of the newest pattern ban; 0 when there is none.
        lease: What came of the claim; None when none was made.
    """

    position: Position | None
    frame: bytes | None
    remaining: float
    marks: dict[str, int]
    records: Sequence[Record] | None
    banned: int = 0
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class LookMany:
    """Do several looks, as of one moment: one round trip per node, not per look.

    Attributes:
        looks: The looks; their own ``since`` and ``counts`` don't count.
        since: As of ``Look``.
        counts: Likewise.
    """

    looks: tuple[Look, ...]
    since: Position | None = None
    counts: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Poll:
    """Read the log since a position, without looking for anything."""

    since: Position
    counts: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ReadBans:
    """Read all pattern bans."""


@dataclass(frozen=True, slots=True)
class Bans:
    """All pattern bans, newest first, as of a position; None when the log was lost."""

    position: Position | None
    bans: tuple[Ban, ...]


@dataclass(frozen=True, slots=True)
class Fill:
    """Store a frame for ``lifetime`` seconds, and end the key's lease.

    Attributes:
        key: The call's key.
        frame: The bytes.
        lifetime: Seconds.
        counts: Counters to add on the way.
        owner: Only while the lease is this owner's; empty stores whoever leads.
        instead_of: Only in place of the frame that begins with these bytes, whoever leads.
    """

    key: str
    frame: bytes
    lifetime: float
    counts: Counts = field(default_factory=dict)
    owner: str = ""
    instead_of: bytes = b""


@dataclass(frozen=True, slots=True)
class Renew:
    """Let leases last for another ``ttl`` seconds, as far as they are still their owners'."""

    holdings: tuple[Holding, ...]
    ttl: float


@dataclass(frozen=True, slots=True)
class Release:
    """End a lease, if it is the owner's.

    Attributes:
        key: The call's key.
        owner: Its owner.
        unshared: Seconds for which equal calls then run each for itself: the result exists and
            can't be stored. 0 lets the next one lead at once.
    """

    key: str
    owner: str
    unshared: float = 0.0


@dataclass(frozen=True, slots=True)
class BeginRefresh:
    """Ask to be the one who refreshes a key, for this many seconds or until it is filled."""

    key: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SetMarks:
    """Take the next sequence number, set marks to it, and drop the entries of ``keys``."""

    marks: tuple[str, ...]
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """Find the keys that match a glob, from a cursor on; an empty one starts and ends a scan.

    A batch may be empty, and a key may come twice, as Redis' SCAN has it. Entries that an
    invalidation ended are left out.
    """

    pattern: str
    cursor: str = ""
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

    cursor: str
    found: list[Found]


@dataclass(frozen=True, slots=True)
class Count:
    """Add to the shared counters; with an empty mapping, just read them."""

    counts: Counts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ClientCall:
    """Do something else on Redis, that is no part of a cache (see ``aside``).

    Attributes:
        act: Does it with the store's client; what it returns is the reply.
    """

    act: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class ReadDays:
    """Read what was counted on days: UTC dates in ISO 8601."""

    days: tuple[str, ...]


Command = (
    Look
    | LookMany
    | Poll
    | ReadBans
    | Fill
    | Renew
    | Release
    | BeginRefresh
    | SetMarks
    | Scan
    | Sweep
    | RequestSweep
    | ReadSweep
    | RecordSweep
    | Count
    | ClientCall
    | ReadDays
)
Reply = (
    StoreReply
    | list[StoreReply]
    | Bans
    | bool
    | list[bool]
    | Position
    | Batch
    | Swept
    | SweepProgress
    | dict[str, float]
    | list[dict[str, float]]
    | None
)


class Store(Protocol):
    """Executes commands.

    ==================== ==============================================================
    ``Look``, ``Poll``   ``StoreReply``
    ``LookMany``         list of ``StoreReply``, in the order of its looks
    ``ReadBans``         ``Bans``
    ``Fill``             bool: whether it was stored
    ``Renew``            list of bool: which leases are still their owners'
    ``Release``          bool: whether it was the owner's
    ``BeginRefresh``     bool: whether nobody else is
    ``SetMarks``       the new ``Position``
    ``Scan``             ``Batch``
    ``Sweep``            ``Swept``
    ``RequestSweep``      bool: whether none is under way, and the caller is to start one
    ``ReadSweep``        ``SweepProgress``, or None when there was none of late
    ``RecordSweep``        ``SweepProgress``: as noted, the next round begun if need be
    ``Count``            the totals
    ``ClientCall``           what it returns; only Redis does any
    ``ReadDays``         what was counted on each, in the order of its days
    ==================== ==============================================================

    Raises:
        StoreUnavailable: The store could not do it in time.
    """

    #: What this store is, for ``stats`` and messages; holds no password.
    name: str

    def execute(self, command: Command) -> Reply:
        """Execute one command."""
        ...


class AsyncStore(Protocol):
    """A ``Store`` of asyncio: the same commands, replies and errors."""

    #: As of ``Store``.
    name: str

    async def execute(self, command: Command) -> Reply:
        """Execute one command."""
        ...
