"""The store in memory of one process, for apps without Redis, and the model of ``RedisStore``."""

from __future__ import annotations

import os
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from sys import getsizeof
from time import monotonic
from weakref import WeakSet

from ...core.entries import glob, marks
from ...core.entries.entry import Entry, Position, peek
from ...core.entries.lease import Claim, Lease
from ...errors import StoreRefused
from ..exchanges.ledger import MemoryLedger
from ..protocol import (
    Bans,
    Batch,
    BeginRefresh,
    ClientCall,
    Command,
    Count,
    Fill,
    Found,
    Look,
    LookMany,
    Poll,
    ReadBans,
    ReadDays,
    Record,
    Release,
    Renew,
    Reply,
    Scan,
    SetMarks,
    StoreReply,
    Together,
)
from ..sweep_commands import ReadSweep, RecordSweep, RequestSweep, Sweep, Swept
from .bounded_map import BoundedMap, RecentKeys
from .memory_leases import MemoryLeases

#: Records that are kept for polls.
LOG_LENGTH = 10_000

#: With more marks and bans than this, the store starts over.
MAX_MARKS = 10_000

#: With as many refreshes, all are forgotten.
MAX_REFRESHES = 10_000


@dataclass(slots=True)
class _StoredFrame:
    frame: bytes
    deadline: float
    # Of its head, what looks and claims go by: read once, when it is stored.
    born: Position | None
    served_above_ms: int
    marks: tuple[str, ...]
    hits: int = 0

    @property
    def size(self) -> int:
        return len(self.frame) + sum(map(getsizeof, self.marks))


_stores: WeakSet[MemoryStore] = WeakSet()


def _renew_locks() -> None:
    for store in list(_stores):
        store.renew_lock()


os.register_at_fork(after_in_child=_renew_locks)


class MemoryStore:
    """Executes commands on memory.

    Args:
        max_entries: Bound on entries.
        max_bytes: Bound on the bytes of their frames.
        clock: Monotonic seconds.
    """

    name = "memory of this process"

    def __init__(
        self, max_entries: int, max_bytes: int, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self.entries: BoundedMap[_StoredFrame] = BoundedMap(max_entries, max_bytes)
        self._position = Position(uuid.uuid4().hex, 0)
        self._marks: dict[str, int] = {}
        self._bans: tuple[marks.Ban, ...] = ()
        self._has_soft = False
        self._leases = MemoryLeases(clock)
        self._refreshes = RecentKeys(MAX_REFRESHES)
        self._log: deque[Record] = deque(maxlen=LOG_LENGTH)
        self._ledger = MemoryLedger()
        self.renew_lock()
        _stores.add(self)

    def renew_lock(self) -> None:
        """Replace the lock, which a thread of the parent process may have held at a fork."""
        self._lock = threading.Lock()

    def execute(self, command: Command) -> Reply:  # noqa: C901, PLR0911, PLR0912 - a line each
        """Execute one command (see ``Store``)."""
        if isinstance(command, (Look, LookMany, Poll, Fill, Together, Count)) and command.counts:
            with self._lock:
                self._ledger.add(command.counts)
        match command:
            case Look():
                return self._look(command)
            case LookMany():
                return [self._look(replace(look, since=command.since)) for look in command.looks]
            case Poll():
                position = self._position
                records = self._records(command.since, position) if command.since else None
                found = self._find_marks(command.marks)
                return StoreReply(position, None, 0.0, found, records, self._banned)
            case ReadBans():
                return Bans(self._position, self._bans)
            case Fill():
                return self._fill(command)
            case Renew():
                with self._lock:
                    return [self._leases.renew(held, command.ttl) for held in command.holdings]
            case Release():
                with self._lock:
                    return self._leases.release(command)
            case BeginRefresh():
                with self._lock:
                    return self._refreshes.take(command.key, self._clock(), command.seconds)
            case Together():
                return [
                    bool(self.execute(replace(one, counts={}) if isinstance(one, Fill) else one))
                    for one in command.commands
                ]
            case SetMarks():
                return self._invalidate(command)
            case Scan():
                return self._scan(command)
            case Sweep():
                return self._sweep()
            case RequestSweep():
                return False  # ended entries, which nobody reads, are evicted first anyway
            case ReadSweep():
                return None
            case RecordSweep():
                return replace(command.sweeping, is_over=not command.sweeping.cursor)
            case Count():
                return self._ledger.totals()
            case ReadDays():
                return self._ledger.read(command.days)
            case ClientCall():
                raise StoreRefused(f"{self.name}: keeps nothing beside entries")

    @property
    def _banned(self) -> int:
        return self._bans[0].sequence if self._bans else 0

    def _look(self, look: Look) -> StoreReply:
        position = self._position
        held = self.entries.get(look.key)
        remaining = held.deadline - self._clock() if held else 0.0
        if held and remaining <= 0:
            self.entries.drop(look.key)
            held = None
        found = self._find_marks((*look.marks, *(held.marks if held else ())))
        records = self._records(look.since, position) if look.since else None
        lease = self._claim(look, look.claim) if look.claim is not None else None
        frame = held.frame if held else None
        return StoreReply(
            position, frame, remaining, found, records, self._banned, lease, own_marks=True
        )

    def _find_marks(self, names: tuple[str, ...]) -> dict[str, int]:
        """Return the marks that are set of some, soft ones included."""
        if not self._marks:
            return {}
        if self._has_soft:
            names = (*names, *map(marks.soft, names))
        return {name: self._marks[name] for name in names if name in self._marks}

    def _claim(self, look: Look, claim: Claim) -> Lease:
        """Judge a claim as ``take.lua`` does."""
        now = self._clock()
        with self._lock:
            position = self._position
            newest = self._newest(look.marks)
            stored = self.entries.get(look.key)
            own = self._newest(stored.marks) if stored else 0
            if (
                stored
                and stored.born
                and not claim.regardless
                and stored.born.incarnation == position.incarnation
                and stored.born.sequence >= max(newest, own, claim.newest_ban)
                and (stored.deadline - now) * 1000 > stored.served_above_ms
            ):
                return Lease("", None, None)
            return self._leases.take(look.key, claim, newest, position)

    def _newest(self, names: tuple[str, ...]) -> int:
        return max((self._marks.get(name, 0) for name in names), default=0)

    def _fill(self, fill: Fill) -> bool:
        with self._lock:
            if fill.instead_of:
                return self._replace(fill)
            if fill.owner and not self._leases.owns(fill.key, fill.owner):
                return False
            self._put(fill, fill.frame)
            self._leases.end(fill.key)
            self._refreshes.drop(fill.key)
            return True

    def _put(self, fill: Fill, frame: bytes) -> None:
        entry = peek(fill.key, frame)
        deadline = self._clock() + fill.lifetime
        stored = (
            _StoredFrame(frame, deadline, entry.born, entry.served_above_ms, entry.marks)
            if entry
            else _StoredFrame(frame, deadline, None, 0, ())
        )
        self.entries.put(fill.key, stored)

    def _replace(self, fill: Fill) -> bool:
        stored = self.entries.get(fill.key)
        if stored is None or not stored.frame.startswith(fill.instead_of):
            return False
        if fill.payload_at and fill.owner and not self._leases.owns(fill.key, fill.owner):
            return False
        frame = fill.frame + (stored.frame[fill.payload_at :] if fill.payload_at else b"")
        self._put(fill, frame)
        if fill.payload_at:
            self._refreshes.drop(fill.key)
        if self._leases.owns(fill.key, fill.owner) or (fill.payload_at and not fill.owner):
            self._leases.end(fill.key)
        return True

    def _records(self, since: Position, until: Position) -> list[Record] | None:
        missed = until.sequence - since.sequence
        if since.incarnation != until.incarnation or missed < 0:
            return None
        # Another thread may add to the log meanwhile.
        log = list(self._log) if missed else []
        records = [r for r in log if since.sequence < r.sequence <= until.sequence]
        return records if len(records) == missed else None

    def _invalidate(self, command: SetMarks) -> Position:
        with self._lock:
            if len(self._marks) + len(self._bans) > MAX_MARKS:
                # The new incarnation comes first: it ends every entry, so no mark is missed.
                self._position = Position(uuid.uuid4().hex, 0)
                self._log.clear()
                self._marks, self._bans = {}, ()
                self.entries.clear()
            sequence = self._position.sequence + 1
            self._bans = marks.with_bans(self._bans, command.marks, sequence)
            self._has_soft = self._has_soft or any(map(marks.is_soft, command.marks))
            plain = (name for name in command.marks if not marks.is_ban(name))
            self._marks.update(dict.fromkeys(plain, sequence))
            self._log.append(Record(sequence, command.marks))
            self._position = Position(self._position.incarnation, sequence)
        for key in command.keys:
            self.entries.drop(key)
        return self._position

    def _live(self) -> list[tuple[Entry, _StoredFrame, float]]:
        """Return the entries that haven't expired, valid or not, and the seconds that remain."""
        now = self._clock()
        peeked = [(peek(k, h.frame), h) for k, h in self.entries.items()]
        return [(e, h, h.deadline - now) for e, h in peeked if e and h.deadline > now]

    def _is_valid(self, entry: Entry) -> bool:
        return marks.is_valid(entry, self._marks, self._position, self._bans)

    def _scan(self, scan: Scan) -> Batch:
        found = [
            Found(entry, len(held.frame), remaining)
            for entry, held, remaining in self._live()
            if glob.matches(scan.pattern, entry.key)
            and self._is_valid(entry)
            and peek(entry.key, held.frame, scan.secret) is not None
        ]
        return Batch("", found)

    def _sweep(self) -> Swept:
        live = self._live()
        ended = [(entry, held) for entry, held, _ in live if not self._is_valid(entry)]
        for entry, _ in ended:
            self.entries.drop(entry.key)
        total = len(live)
        return Swept("", total, total, len(ended), sum(len(held.frame) for _, held in ended))
