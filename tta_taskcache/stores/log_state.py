"""The state of the log on Redis: its commands, and their replies at the end of a pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.entry import Position
from ..core.marks import Ban
from .protocol import Record, StoreReply

#: Most records of one poll: more are a gap, as dropping L1 is cheaper than reading on.
MAX_RECORDS = 1_000


@dataclass(frozen=True, slots=True)
class State:
    """The state of the log: position, longest lifetime (ms), marks, records, newest ban."""

    position: Position
    longest: int
    marks: dict[str, int]
    records: list[Record] | None
    banned: int

    def looked(self) -> StoreReply:
        """Return the state as the reply to a poll."""
        return StoreReply(self.position, None, 0.0, self.marks, self.records, self.banned)


def ask(pipe: Any, control: str, stream: str, marks: Sequence[str], since: Position | None) -> None:
    """Queue the commands that read the state."""
    fields = ("incarnation", "sequence", "longest", "banned", *(f"m:{name}" for name in marks))
    pipe.hmget(control, *fields)
    if since is not None:
        pipe.xrange(stream, min=f"({since.sequence}-1", max="+", count=MAX_RECORDS + 1)


def read(replies: list[Any], marks: Sequence[str], since: Position | None) -> State | None:
    """Read the state off the end of a pipeline's replies; None when there is no log."""
    logged = replies.pop() if since is not None else None
    incarnation, sequence, longest, banned, *values = replies.pop()
    if incarnation is None:
        return None
    position = Position(incarnation.decode(), int(sequence or 0))
    records = None
    if since is not None and logged is not None:
        position, records = join(since, position, logged)
    found = {
        name: int(value.split()[0])
        for name, value in zip(marks, values, strict=True)
        if value is not None
    }
    return State(position, int(longest or 0), found, records, int(banned or 0))


def read_bans(stored: bytes | None) -> tuple[Ban, ...]:
    """Read the field ``bans``; newest first."""
    return tuple(Ban(pattern, int(at)) for pattern, at, _ in reversed(json.loads(stored or b"[]")))


def went_back(since: Position | None, position: Position) -> bool:
    """Whether a failover has lost records that this process had read (promise I5)."""
    return (
        since is not None
        and since.incarnation == position.incarnation
        and position.sequence < since.sequence
    )


def join(
    since: Position, position: Position, logged: list[Any]
) -> tuple[Position, list[Record] | None]:
    """Join the stream's records to the state that was read before; None for a gap."""
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
