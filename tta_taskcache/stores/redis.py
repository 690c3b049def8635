"""L2: Redis 6.2 or newer, or Valkey. One round trip a command.

Layout, for namespace ``ns``::

    ns:e:{key}          string: the frame of an entry, with the entry's lifetime as its expiry
    ns:{log}:control    hash: incarnation, sequence, longest lifetime, and the marks (``m:name``)
    ns:{log}:stream     stream: one record an invalidation; its id is ``sequence-1``
    ns:{log}:counts     hash: counters of all processes

An entry's keys share one slot and the log's another; nothing needs both at once, for Redis Cluster.
No clock but Redis' own is used: expiry is Redis', and what remains is asked for (PTTL).
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from importlib import resources
from typing import Any

import redis

from ..core.entry import PEEK_BYTES, Position, peek
from ..core.marks import is_valid
from ..errors import StoreRefused, StoreUnavailable
from .connection import renew_after_fork, unconnected
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

#: Records kept for processes that poll (Redis trims in steps, so a few more).
LOG_LENGTH = 10_000

#: More records than this in one poll are taken as a gap: forgetting L1 is cheaper than reading on.
MAX_RECORDS = 1_000

#: Computations that run for longer than this may not fill any more (ms).
GRACE_MS = 24 * 3600 * 1000

#: Marks set by one call of the script: Lua's ``unpack`` is limited.
MARKS_A_CALL = 1_000


def _script(name: str) -> str:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text()


_OPEN = _script("open")
_INVALIDATE = _script("invalidate")


#: The reply when there is no log to go by: the next command opens a new one.
LOST = Looked(None, None, 0.0, {}, None)


class RedisStore:
    """Executes commands on Redis.

    Args:
        client: A client with timeouts; safe for threads and forks, as redis-py's are.
        namespace: Put in front of all keys.
    """

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self.client = client
        renew_after_fork(self)
        where = client.connection_pool.connection_kwargs
        place = where.get("path") or f"{where.get('host')}:{where.get('port')}"
        self.name = f"redis {place}/{where.get('db', 0)}"
        self._entry_prefix = f"{namespace}:e:"
        self._control = f"{namespace}:{{log}}:control"
        self._stream = f"{namespace}:{{log}}:stream"
        self._counts = f"{namespace}:{{log}}:counts"
        #: Longest lifetime (ms) that the log is known to remember; None when that isn't known.
        self._longest: int | None = None
        #: An incarnation whose sequence went back: it must not go on (promise I5).
        self._broken = ""

    def execute(self, command: Command) -> Reply:
        """Execute one command (see ``Store``).

        Raises:
            StoreUnavailable: Redis could not be reached, or refused.
        """
        try:
            return self._execute(command)
        except redis.ResponseError as error:
            raise StoreRefused(f"{self.name}: {error}") from error
        except (redis.RedisError, OSError) as error:
            self._longest = None
            raise StoreUnavailable(f"{self.name}: {error}") from error
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            # Somebody else writes to our keys.
            raise StoreRefused(f"{self.name}: unexpected reply: {error}") from error
        except BaseException:
            # A soft time limit may have struck between request and reply, or while a connection
            # changed hands: one may hold an unread reply, another be lost to the pool. Start anew.
            self._longest = None
            self.client = unconnected(self.client)
            raise

    def _execute(self, command: Command) -> Reply:
        match command:
            case Look():
                return self._look(command)
            case Poll():
                return self._poll(command)
            case Fill():
                self._fill(command)
                return None
            case Invalidate():
                return self._invalidate(command)
            case Scan():
                return self._scan(command)
            case Count():
                return self._count(command.counts)

    def _entry(self, key: str) -> str:
        return f"{self._entry_prefix}{{{key}}}"

    def _pipeline(self, counts: Counts = {}, longest_ms: int = 0) -> Any:  # noqa: B006 - only read
        """Start a pipeline; its first reply is the opening's, when there is one."""
        pipe = self.client.pipeline(transaction=False)
        # A fill tells its lifetime each time: another process may have opened the log anew.
        if self._longest is None or longest_ms or self._broken:
            longest = max(longest_ms, self._longest or 0)
            keys = (self._control, self._stream)
            pipe.eval(_OPEN, 2, *keys, uuid.uuid4().hex, longest, self._broken)
            self._longest, self._broken = longest, ""
        for name, amount in counts.items():
            pipe.hincrbyfloat(self._counts, name, amount)
        return pipe

    def _ask_state(self, pipe: Any, marks: Sequence[str], since: Position | None) -> None:
        fields = ("incarnation", "sequence", "longest", *(f"m:{name}" for name in marks))
        pipe.hmget(self._control, *fields)
        if since is not None:
            low = f"({since.sequence}-1"
            pipe.xrange(self._stream, min=low, max="+", count=MAX_RECORDS + 1)

    def _read_state(
        self, replies: list[Any], marks: Sequence[str], since: Position | None
    ) -> Looked:
        """Read the replies to ``_ask_state``, the last ones."""
        logged = replies.pop() if since is not None else None
        incarnation, sequence, longest, *values = replies.pop()
        if incarnation is None:
            self._longest = None
            return LOST
        self._longest = int(longest or 0)
        position = Position(incarnation.decode(), int(sequence or 0))
        if since is not None and _went_back(since, position):
            self._broken = position.incarnation
            return LOST
        records = None
        if since is not None and logged is not None:
            position, records = _join(since, position, logged)
        found = {
            name: int(value.split()[0])
            for name, value in zip(marks, values, strict=True)
            if value is not None
        }
        return Looked(position, None, 0.0, found, records)

    def _look(self, look: Look) -> Looked:
        pipe = self._pipeline(look.counts)
        # What remains is asked for before the entry: a newer entry only gets less time this way.
        pipe.pttl(self._entry(look.key))
        self._ask_state(pipe, look.marks, look.since)
        pipe.get(self._entry(look.key))
        replies = pipe.execute()
        frame = replies.pop()
        state = self._read_state(replies, look.marks, look.since)
        if state is LOST:
            return state
        remaining = replies.pop() / 1000
        return Looked(state.position, frame, remaining, state.marks, state.records)

    def _poll(self, poll: Poll) -> Looked:
        pipe = self._pipeline(poll.counts)
        self._ask_state(pipe, (), poll.since)
        return self._read_state(pipe.execute(), (), poll.since)

    def _fill(self, fill: Fill) -> None:
        lifetime_ms = max(1, int(fill.lifetime * 1000))
        pipe = self._pipeline(fill.counts, lifetime_ms)
        pipe.set(self._entry(fill.key), fill.frame, px=lifetime_ms)
        pipe.execute()

    def _invalidate(self, command: Invalidate) -> Position:
        reply: Any = None
        for start in range(0, len(command.marks), MARKS_A_CALL):
            marks = command.marks[start : start + MARKS_A_CALL]
            reply = self.client.eval(
                _INVALIDATE,
                2,
                self._control,
                self._stream,
                uuid.uuid4().hex,
                str(LOG_LENGTH),
                str(GRACE_MS),
                *marks,
            )
        # The marks are what counts; this only gives the memory back.
        for key in command.keys:
            self.client.unlink(self._entry(key))
        return Position(reply[0].decode(), int(reply[1]))

    def _scan(self, scan: Scan) -> Batch:
        match = self._entry(scan.pattern)
        reply: Any = self.client.scan(scan.cursor, match=match, count=scan.count, _type="STRING")
        cursor, names = reply
        pipe = self._pipeline()
        opening = len(pipe)
        for name in names:
            pipe.getrange(name, 0, PEEK_BYTES - 1).strlen(name).pttl(name)
        replies = pipe.execute()[opening:]
        found = []
        for i, name in enumerate(names):
            start, size, remaining = replies[3 * i : 3 * i + 3]
            key = name.decode(errors="replace")[len(self._entry_prefix) + 1 : -1]
            entry = peek(key, start)
            if entry is not None and remaining > 0:
                found.append(Found(entry, size, remaining / 1000))
        return Batch(cursor, self._only_valid(found))

    def _only_valid(self, found: list[Found]) -> list[Found]:
        marks = sorted({name for item in found for name in item.entry.marks})
        pipe = self._pipeline()
        opening = len(pipe)
        self._ask_state(pipe, marks, None)
        state = self._read_state(pipe.execute()[opening:], marks, None)
        position = state.position
        if position is None:
            return []
        return [item for item in found if is_valid(item.entry, state.marks, position)]

    def _count(self, counts: Counts) -> dict[str, float]:
        pipe = self._pipeline(counts)
        pipe.hgetall(self._counts)
        return {name.decode(): float(value) for name, value in pipe.execute()[-1].items()}


def _went_back(since: Position, position: Position) -> bool:
    return since.incarnation == position.incarnation and position.sequence < since.sequence


def _join(
    since: Position, position: Position, logged: list[Any]
) -> tuple[Position, list[Record] | None]:
    """Fit what the stream gave to the state read before it; no records when there is a gap."""
    records = [
        Record(int(item_id.split(b"-")[0]), tuple(name.decode() for name in marks))
        for item_id, marks in logged
    ]
    sequences = [record.sequence for record in records]
    # An invalidation may have come between the two reads: then the stream knows more.
    last = max([position.sequence, *sequences[-1:]])
    whole = len(sequences) == last - since.sequence  # stream ids only rise
    if not whole or since.incarnation != position.incarnation:
        return position, None
    return Position(position.incarnation, last), records
