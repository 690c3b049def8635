"""A complete store in the memory of one process: the cache of an app without Redis.

It has the same log as the Redis store, so it is also the model that tests compare Redis with.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from time import monotonic
from weakref import WeakSet

from ..core.entry import PEEK_BYTES, Position, peek
from ..core.marks import is_valid
from .bounded import BoundedMap
from .protocol import (
    Batch,
    Command,
    Count,
    Counts,
    Fill,
    Found,
    Invalidate,
    Look,
    Looked,
    Poll,
    Record,
    Reply,
    Scan,
)

#: Records kept for readers that poll.
LOG_LENGTH = 10_000

#: With more marks than this, the store starts over.
MAX_MARKS = 10_000


@dataclass(frozen=True, slots=True)
class _Held:
    frame: bytes
    deadline: float

    @property
    def size(self) -> int:
        return len(self.frame)


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
        self._entries: BoundedMap[_Held] = BoundedMap(max_entries, max_bytes)
        self._position = Position(uuid.uuid4().hex, 0)
        self._marks: dict[str, int] = {}
        self._log: deque[Record] = deque(maxlen=LOG_LENGTH)
        self._counts: dict[str, float] = {}
        self.renew_lock()
        _stores.add(self)

    def renew_lock(self) -> None:
        """Forget the lock, which a thread of the parent process may have held at a fork."""
        self._lock = threading.Lock()

    def execute(self, command: Command) -> Reply:
        """Execute one command (see ``Store``)."""
        match command:
            case Look():
                self._add(command.counts)
                return self._look(command)
            case Poll():
                self._add(command.counts)
                position = self._position
                records = self._records(command.since, position)
                return Looked(position, None, 0.0, {}, records)
            case Fill():
                self._add(command.counts)
                deadline = self._clock() + command.lifetime
                self._entries.put(command.key, _Held(command.frame, deadline))
                return None
            case Invalidate():
                return self._invalidate(command)
            case Scan():
                return self._scan(command)
            case Count():
                self._add(command.counts)
                return dict(self._counts)

    def _add(self, counts: Counts) -> None:
        if counts:
            with self._lock:
                for name, amount in counts.items():
                    self._counts[name] = self._counts.get(name, 0.0) + amount

    def _look(self, look: Look) -> Looked:
        position = self._position
        held = self._entries.get(look.key)
        remaining = held.deadline - self._clock() if held else 0.0
        if held and remaining <= 0:
            self._entries.drop(look.key)
            held = None
        marks = {name: self._marks[name] for name in look.marks if name in self._marks}
        records = self._records(look.since, position) if look.since else None
        return Looked(position, held.frame if held else None, remaining, marks, records)

    def _records(self, since: Position, until: Position) -> list[Record] | None:
        missed = until.sequence - since.sequence
        if since.incarnation != until.incarnation or missed < 0:
            return None
        # Another thread may add to the log meanwhile.
        log = list(self._log) if missed else []
        records = [r for r in log if since.sequence < r.sequence <= until.sequence]
        return records if len(records) == missed else None

    def _invalidate(self, command: Invalidate) -> Position:
        with self._lock:
            if len(self._marks) > MAX_MARKS:
                # The new incarnation comes first: it ends every entry, so no mark is missed.
                self._position = Position(uuid.uuid4().hex, 0)
                self._log.clear()
                self._marks = {}
                self._entries.clear()
            sequence = self._position.sequence + 1
            self._marks.update(dict.fromkeys(command.marks, sequence))
            self._log.append(Record(sequence, command.marks))
            self._position = Position(self._position.incarnation, sequence)
        for key in command.keys:
            self._entries.drop(key)
        return self._position

    def _scan(self, scan: Scan) -> Batch:
        now = self._clock()
        pattern = scan.pattern.replace("[^", "[!")  # as Redis spells it
        found = []
        for key, held in self._entries.items():
            entry = peek(key, held.frame[:PEEK_BYTES])
            live = held.deadline > now and fnmatchcase(key, pattern)
            if entry and live and is_valid(entry, self._marks, self._position):
                found.append(Found(entry, held.size, held.deadline - now))
        return Batch(0, found)
