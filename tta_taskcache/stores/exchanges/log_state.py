"""The state of the log on Redis: its commands, and their replies at the end of a pipeline."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from functools import partial
from typing import Any

import redis

from ...core.entries.entry import Position
from ...core.entries.marks import Ban, soft
from ...core.record import record
from ..protocol import Record, StoreReply
from .exchange import Exchange, hold_exchange
from .scripts import script

#: Most records of one poll: more are a gap, as dropping L1 is cheaper than reading on.
MAX_RECORDS = 1_000

#: Of the log's format in Redis (see ``lua/log.lua``). Another's log isn't gone by, but begun anew.
VERSION = b"2"


@record
class State:
    """The state of the log: position, marks, records, newest ban.

    ``lost_tail``: whether the asking process had read a record that the log has lost.
    """

    position: Position
    marks: dict[str, int]
    records: list[Record] | None
    banned: int
    lost_tail: bool = False

    def looked(self) -> StoreReply:
        """Return the state as the reply to a poll."""
        return StoreReply(self.position, None, 0.0, self.marks, self.records, self.banned)


def opening(control: str, stream: str, *, broken: str = "", lifetime: int = 0) -> list[Any]:
    """The arguments of an ``EVAL`` that opens the log, or a new one in its place.

    Args:
        control: Name of the control hash.
        stream: Name of the stream.
        broken: An incarnation that must not go on.
        lifetime: Of an entry that is about to be stored (ms).
    """
    return [
        script("log", "lifetimes", "open"),
        2,
        control,
        stream,
        uuid.uuid4().hex,
        broken,
        lifetime,
    ]


def bind(connection: Any, control: str, stream: str) -> None:
    """Open the log on a new connection, before its first command (promise I6).

    A server that was restarted or promoted has another replication id, and the log's tail may be
    missing there. Nobody gets to it but by a new connection.

    Raises:
        redis.RedisError: The server can't be reached, or its log can't be gone by.
    """
    hold_exchange(binding(connection, control, stream))


def binding(connection: Any, control: str, stream: str) -> Exchange[None]:
    """What ``bind`` exchanges."""
    arguments = opening(control, stream)
    yield partial(connection.send_command, "EVAL", *arguments, check_health=False)
    try:
        yield connection.read_response
    except redis.ResponseError as error:
        if not isinstance(error, redis.exceptions.AskError | redis.exceptions.ClusterDownError):
            raise


def ask(pipe: Any, control: str, stream: str, marks: Sequence[str], since: Position | None) -> None:
    """Queue the commands that read the state."""
    fields = ("incarnation", "version", "sequence", "banned", *(f"m:{name}" for name in marks))
    pipe.hmget(control, *fields)
    if since is not None:
        # With the record at that position: only the log that gave it has it.
        pipe.xrange(stream, min=f"{since.sequence}-1", max="+", count=MAX_RECORDS + 1)


class StateReader:
    """Reads the state off the end of a pipeline's replies.

    As long as nothing changes, pipelines may return the very replies of the time before; then so
    does this.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last: tuple[Any, Any, Position | None, State | None] = (None, None, None, None)

    def read(
        self, replies: list[Any], marks: Sequence[str], since: Position | None
    ) -> State | None:
        """Return the state; None when there is no log."""
        logged = replies.pop() if since is not None else None
        fields = replies.pop()
        last_fields, last_logged, last_since, state = self._last
        if fields is last_fields and logged is last_logged and since is last_since and state:
            return state
        state = _state(fields, logged, marks, since)
        if state is not None and not state.marks:  # else it is of these marks only
            self._last = (fields, logged, since, state)
        return state


def _state(
    fields: list[Any], logged: list[Any] | None, marks: Sequence[str], since: Position | None
) -> State | None:
    incarnation, version, sequence, banned, *values = fields
    if incarnation is None or version != VERSION:
        return None
    position = Position(incarnation.decode(), int(sequence or 0))
    records = None
    if since is not None and logged is not None:
        position, records = join(since, position, logged)
    found = read_marks(marks, values)
    went_back = since is not None and is_behind(position, since)
    return State(position, found, records, int(banned or 0), went_back)


def read_marks(names: Sequence[str], values: Sequence[bytes | None]) -> dict[str, int]:
    """Read the values of marks: the sequences of those that are set, and of the soft ones there."""
    found: dict[str, int] = {}
    for name, value in zip(names, values, strict=True):
        if value is not None:
            at, _, *soft_at = value.split()
            found[name] = int(at)
            if soft_at:
                found[soft(name)] = int(soft_at[0])
    return found


#: The fields of bans, and of soft ones.
BANS = ("bans", "soft-bans")


def read_bans(stored: bytes | None, soft_ones: bytes | None = None) -> tuple[Ban, ...]:
    """Read the fields ``BANS``; newest first."""
    hard = [Ban(pattern, int(at)) for pattern, at, _ in json.loads(stored or b"[]")]
    if not soft_ones:
        return tuple(reversed(hard))
    both = [*hard, *(Ban(pattern, int(at), True) for pattern, at, _ in json.loads(soft_ones))]
    return tuple(sorted(both, key=lambda ban: ban.sequence, reverse=True))


def is_behind(position: Position, since: Position) -> bool:
    """Whether the log is shorter than a process has read it."""
    return since.incarnation == position.incarnation and position.sequence < since.sequence


def join(
    since: Position, position: Position, logged: list[Any]
) -> tuple[Position, list[Record] | None]:
    """Join the stream's records to the state that was read before; None for a gap."""
    records = [
        Record(int(item_id.split(b"-")[0]), tuple(name.decode() for name in marks))
        for item_id, marks in logged
    ]
    # Ids only rise, and only the oldest are ever trimmed: with the record at ``since``, none is
    # missing in between.
    whole = (
        since.incarnation == position.incarnation
        and bool(records)
        and records[0].sequence == since.sequence
        and records[-1].sequence >= position.sequence
    )
    if not whole:
        return position, None
    # An invalidation may have come between the two reads: then the stream knows more.
    return Position(position.incarnation, records[-1].sequence), records[1:]


def older_records(client: Any, stream: str, since: Position) -> Any:
    """The newest record before a position's own, as a client returns it: to ``has_overtaken``."""
    return client.xrevrange(stream, max=f"{since.sequence}-1", min="-", count=1)


def has_overtaken(older: list[Any], since: Position) -> bool:
    """Whether a stream without the record at a position has older ones: its tail was lost.

    When it was only trimmed, the older ones went first.

    Args:
        older: What ``older_records`` brought.
        since: The position.
    """
    return bool(older) and older[0][0] != f"{since.sequence}-1".encode()
