"""The store protocol: commands that a store executes, and its replies.

Durations are seconds as ``float``. A reply holds no clock reading of another machine: a store
returns the seconds that *remain*, by its own clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, Protocol

from ..core.entries.entry import Entry, Position
from ..core.entries.lease import Claim, Holding, Lease
from ..core.entries.marks import Ban
from ..core.record import record
from .sweep_commands import ReadSweep, RecordSweep, RequestSweep, Sweep, SweepProgress, Swept

#: Increments to the shared counters, by field name; they ride on other commands.
Counts = Mapping[str, float]


@record
class Record:
    """A record of the invalidation log: the marks that one invalidation set."""

    sequence: int
    marks: tuple[str, ...]


@record
class Look:
    """Read a frame, with all that is needed to judge it, in one round trip.

    Attributes:
        key: The call's key.
        marks: Names of the marks that can end it.
        since: Position to read the log from; None doesn't read it.
        counts: Counters to add on the way.
        claim: Claim to the lease, given when there is no valid entry and no leader.
        own_marks: Whether the marks that the stored entry names itself are read, too, where the
            store can: it asks for more than a plain read.
    """

    key: str
    marks: tuple[str, ...]
    since: Position | None = None
    counts: Counts = field(default_factory=dict)
    claim: Claim | None = None
    own_marks: bool = False


@record
class StoreReply:
    """The reply to a look.

    Attributes:
        position: The log's position; None when the log was lost: then nothing may be stored or
            served until a later look has opened a new incarnation.
        frame: The frame; None when nothing is stored.
        remaining: Seconds until it expires.
        marks: Sequences of the marks that are set.
        records: The log's records since ``Look.since``; None for a gap, or when not asked for.
        banned: Sequence of the newest pattern ban; 0 when there is none.
        lease: The reply to the claim; None when none was made.
        own_marks: Whether ``marks`` has those that the entry names itself as well.
    """

    position: Position | None
    frame: bytes | None
    remaining: float
    marks: dict[str, int]
    records: Sequence[Record] | None
    banned: int = 0
    lease: Lease | None = None
    own_marks: bool = False


@record
class LookMany:
    """Execute several looks as of one moment, in one round trip per node.

    Attributes:
        looks: The looks; their own ``since`` and ``counts`` are ignored.
        since: As of ``Look``.
        counts: As of ``Look``.
    """

    looks: tuple[Look, ...]
    since: Position | None = None
    counts: Counts = field(default_factory=dict)


@record
class Poll:
    """Read the log, without an entry.

    Attributes:
        since: Position to read it from; None reads marks only.
        counts: Counters to add on the way.
        marks: Names of marks to read.
    """

    since: Position | None = None
    counts: Counts = field(default_factory=dict)
    marks: tuple[str, ...] = ()


@record
class ReadBans:
    """Read all pattern bans."""


@record
class Bans:
    """All pattern bans, newest first, as of a position, which is None when the log was lost."""

    position: Position | None
    bans: tuple[Ban, ...]


@record
class Fill:
    """Store a frame, and end the key's lease.

    Attributes:
        key: The call's key.
        frame: The frame.
        lifetime: Seconds that it is stored.
        counts: Counters to add on the way.
        owner: Owner that the lease must have; empty for any or none.
        payload_at: Where the payload of the stored frame begins, which is kept behind this frame's
            head; 0 stores the whole frame. Needs ``instead_of``.
        instead_of: First bytes that the stored frame must have, whatever the lease; empty for any.
        incarnation: The log's, in which the entry was born; empty where that isn't known.
    """

    key: str
    frame: bytes
    lifetime: float
    counts: Counts = field(default_factory=dict)
    owner: str = ""
    instead_of: bytes = b""
    payload_at: int = 0
    incarnation: str = ""


@record
class Renew:
    """Renew leases for another ``ttl`` seconds, if they are still their owners'."""

    holdings: tuple[Holding, ...]
    ttl: float


@record
class Release:
    """End a lease, if it is the owner's.

    Attributes:
        key: The call's key.
        owner: Its owner.
        unshared: Seconds for which equal calls then run each for itself, as a result can't be
            stored; with 0 the next call leads at once.
    """

    key: str
    owner: str
    unshared: float = 0.0


@record
class BeginRefresh:
    """Claim the refresh of a key, for so many seconds or until it is filled."""

    key: str
    seconds: float


@record
class Together:
    """Execute several commands in one round trip per node.

    Attributes:
        commands: The commands, whose own ``counts`` are ignored.
        counts: Counters to add on the way.
    """

    commands: tuple[Fill | Release | BeginRefresh, ...]
    counts: Counts = field(default_factory=dict)


@record
class SetMarks:
    """Take the next sequence number, set marks to it, and drop the entries of ``keys``."""

    marks: tuple[str, ...]
    keys: tuple[str, ...] = ()


@record
class Scan:
    """Find the keys that match a glob, from a cursor on; an empty one starts and ends a scan.

    A batch may be empty, and a key may come twice, as Redis' SCAN has it. Entries that an
    invalidation ended are left out, and those whose heads the secret hasn't signed.
    """

    pattern: str
    cursor: str = ""
    count: int = 500
    secret: bytes = field(default=b"", repr=False)


@record
class Found:
    """An entry of a scan, without its payload.

    Attributes:
        entry: The entry.
        size: Bytes of its frame.
        remaining: Seconds until it expires.
    """

    entry: Entry
    size: int
    remaining: float


@record
class Batch:
    """One batch of a scan."""

    cursor: str
    found: list[Found]


@record
class Count:
    """Add to the shared counters; with an empty mapping, just read them."""

    counts: Counts = field(default_factory=dict)


@record
class ClientCall:
    """Call a function with the store's client, for data beside the cache (``warming_store``).

    Attributes:
        act: The function; its return value is the reply.
    """

    act: Callable[[Any], Any]


@record
class ReadDays:
    """Read the counters of days: UTC dates in ISO 8601."""

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
    | Together
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
    ``BeginRefresh``     bool: whether the claim was given
    ``Together``         list of bool, in the order of its commands
    ``SetMarks``         the new ``Position``
    ``Scan``             ``Batch``
    ``Sweep``            ``Swept``
    ``RequestSweep``     bool: whether none is under way, so that the caller starts one
    ``ReadSweep``        ``SweepProgress``, or None when there was no sweep of late
    ``RecordSweep``      ``SweepProgress``: as recorded, or of the next round
    ``Count``            the totals
    ``ClientCall``       the function's return value; on Redis only
    ``ReadDays``         list of counters, in the order of its days
    ==================== ==============================================================

    Raises:
        StoreUnavailable: The store has not executed a command in time.
    """

    #: Name of the store, for ``stats`` and messages, without a password.
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
