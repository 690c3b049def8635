"""L2: the store on Redis 6.2 or newer, or Valkey: one server, behind Sentinel, or a cluster.

A command is one round trip; in a cluster a claim takes two, as the position of its lease is read
first. Expiry and remaining time are by Redis' own clock (PTTL); only the days of counters are by
this process's.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis
from redis.exceptions import RedisClusterException

from ..core.entry import Position
from ..errors import NotReplicated, StoreRefused, StoreUnavailable
from . import log_state as log
from .claim_arguments import milliseconds
from .connection import Link
from .deadline import within
from .key_layout import Layout
from .ledger import RedisLedger
from .log_state import State
from .lookup_pipeline import Looks
from .nodes import holder
from .protocol import (
    Bans,
    BeginRefresh,
    ClientCall,
    Command,
    Count,
    Counts,
    Fill,
    Look,
    LookMany,
    Poll,
    ReadBans,
    ReadDays,
    Release,
    Renew,
    Reply,
    Scan,
    SetMarks,
    StoreReply,
)
from .scanner import Scanner
from .scripts import script
from .sweep_commands import ReadSweep, RecordSweep, RequestSweep, Sweep

#: Most marks of one call of the script: Lua's ``unpack`` is limited.
MARKS_A_CALL = 1_000


_INVALIDATE = script("log", "lifetimes", "invalidate")
_FILL = script("fill")
_REPLACE = script("replace")
_RENEW = script("renew")
_RELEASE = script("release")


def _is_refusal(error: Exception) -> bool:
    """Whether the node with the log has refused the command."""
    moved = (redis.exceptions.AskError, redis.exceptions.ClusterDownError)  # MOVED is the former
    return isinstance(error, redis.ResponseError) and not isinstance(error, moved)


#: The reply without a usable log: the next command opens a new one.
LOST = StoreReply(None, None, 0.0, {}, None)


@dataclass(frozen=True, slots=True)
class LogBounds:
    """The bounds of the invalidation log.

    Attributes:
        length: Records that are kept for polls (Redis trims in steps, so a few more).
        grace_ms: Milliseconds that marks are kept for longer runs, which may not fill after them.
        bans: Most pattern bans; with more, the oldest become a mark that ends everything older.
    """

    length: int = 10_000
    grace_ms: int = 24 * 3600 * 1000
    bans: int = 256


class RedisStore:
    """Executes commands on Redis.

    Args:
        link: The link to Redis.
        namespace: Prefix of all keys.
        replicas: Replicas that have to acknowledge an invalidation, too (``WAIT``).
        patience: Seconds to wait for them.

    Attributes:
        bounds: The bounds of its log.
    """

    def __init__(
        self, link: Link, namespace: str, *, replicas: int = 0, patience: float = 1.0
    ) -> None:
        self.bounds = LogBounds()
        self.link = link
        self.name = f"redis {link.place}"
        self._timeout = link.timeout
        self._replicas = replicas
        self._patience = patience
        self._at = Layout(namespace)
        link.logs.add((self._at.control, self._at.stream))
        self._scanner = Scanner(link, self._at)
        self._ledger = RedisLedger(self._at)
        #: Whether the next command opens the log on its way.
        self._is_open = False
        #: An incarnation whose tail was lost, which must not go on (promise I6).
        self._broken = ""

    @property
    def client(self) -> Any:
        """The client in use."""
        return self.link.client

    def execute(self, command: Command) -> Reply:
        """Execute one command (see ``Store``).

        Raises:
            StoreUnavailable: Redis could not be reached, or refused.
        """
        try:
            with within(self._timeout):
                return self._execute(command)
        except NotReplicated:
            raise
        except redis.ResponseError as error:
            raise StoreRefused(f"{self.name}: {error}") from error
        # RedisClusterException, of a slot without a node, is no RedisError.
        except (redis.RedisError, OSError, RedisClusterException) as error:
            self._is_open = False
            raise StoreUnavailable(f"{self.name}: {error}") from error
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            # Another client has written to our keys.
            raise StoreRefused(f"{self.name}: unexpected reply: {error}") from error
        except BaseException:
            # A soft time limit may have struck between request and reply, or inside the pool: a
            # connection may hold an unread reply, or be lost. Start anew.
            self._is_open = False
            self.link.renew()
            raise

    def _execute(self, command: Command) -> Reply:  # noqa: C901, PLR0911, PLR0912 - a line each
        match command:
            case Look():
                return self._look((command,), command.since, command.counts)[0]
            case LookMany():
                return self._look(command.looks, command.since, command.counts)
            case Poll():
                return self._poll(command)
            case ReadBans():
                return self._read_bans()
            case Fill():
                return self._fill(command)
            case Renew():
                return self._renew(command)
            case Release():
                return self._release(command)
            case BeginRefresh():
                name, milli = self._at.refresh(command.key), milliseconds(command.seconds)
                return bool(self.client.set(name, "1", nx=True, px=milli))
            case SetMarks():
                return self._invalidate(command)
            case Scan():
                return self._scanner.scan(command)
            case Sweep():
                return self._scanner.sweep(command)
            case RequestSweep():
                return self._scanner.request_sweep()
            case ReadSweep():
                return self._scanner.read_sweep()
            case RecordSweep():
                return self._scanner.record_sweep(command)
            case Count():
                return self._ledger.totals(self._pipeline(command.counts))
            case ReadDays():
                pipe = self.client.pipeline(transaction=False)
                return self._ledger.read(pipe, command.days)
            case ClientCall():
                done: Reply = command.act(self.client)
                return done

    def _pipeline(self, counts: Counts = {}, lifetime: int = 0) -> Any:  # noqa: B006 - only read
        """Start a pipeline, which opens the log first if need be."""
        pipe = self.client.pipeline(transaction=False)
        # Each fill records its lifetime: another process may have opened the log anew.
        if not self._is_open or lifetime or self._broken:
            keys = (self._at.control, self._at.stream)
            pipe.eval(*log.opening(*keys, broken=self._broken, lifetime=lifetime))
            self._is_open, self._broken = True, ""
        self._ledger.add(pipe, counts)
        return pipe

    def _read(
        self, replies: list[Any], marks: Sequence[str], since: Position | None
    ) -> State | None:
        """Read the log's state off the end of replies; None without a usable log."""
        state = log.read(replies, marks, since)
        if state is None:
            self._is_open = False
            return None
        if since is not None and self._lost_tail(state, since):
            self._broken = state.position.incarnation
            return None
        return state

    def _lost_tail(self, state: State, since: Position) -> bool:
        """Whether the log lacks what this process has read of it (promise I6)."""
        if state.lost_tail:
            return True
        if state.records is not None or state.position.incarnation != since.incarnation:
            return False
        return log.has_overtaken(self.client, self._at.stream, since)

    def _look(
        self, looks: Sequence[Look], since: Position | None, counts: Counts
    ) -> list[StoreReply]:
        all_of = Looks(self._at, looks)
        marks = all_of.marks
        lost = [LOST] * len(looks)
        state: State | None = None
        pipe = self._pipeline(counts)

        def ask() -> None:
            if state is None:
                log.ask(pipe, self._at.control, self._at.stream, marks, since)

        if all_of.are_claims and self.link.is_cluster:
            ask()
            state = self._read(pipe.execute(), marks, since)
            if state is None:
                return lost
            pipe = self.client.pipeline(transaction=False)
        all_of.queue(pipe, ask, state)
        looked = all_of.read(
            pipe.execute(), lambda replies: state or self._read(replies, marks, since)
        )
        return looked or lost

    def _poll(self, poll: Poll) -> StoreReply:
        pipe = self._pipeline(poll.counts)
        log.ask(pipe, self._at.control, self._at.stream, (), poll.since)
        state = self._read(pipe.execute(), (), poll.since)
        return LOST if state is None else state.looked()

    def _read_bans(self) -> Bans:
        fields = ("incarnation", "version", "sequence", "bans")
        incarnation, version, sequence, bans = self.client.hmget(self._at.control, *fields)
        if incarnation is None or version != log.VERSION:
            self._is_open = False
            return Bans(None, ())
        return Bans(Position(incarnation.decode(), int(sequence or 0)), log.read_bans(bans))

    def _fill(self, fill: Fill) -> bool:
        lifetime = milliseconds(fill.lifetime)
        pipe = self._pipeline(fill.counts, lifetime)
        entry, lease = self._at.entry(fill.key), self._at.lease(fill.key)
        refresh = self._at.refresh(fill.key)
        if fill.instead_of:
            pipe.eval(_REPLACE, 2, entry, lease, fill.owner, lifetime, fill.frame, fill.instead_of)
            return bool(pipe.execute()[-1])
        if fill.owner:
            pipe.eval(_FILL, 3, entry, lease, refresh, fill.owner, lifetime, fill.frame)
            return bool(pipe.execute()[-1])
        pipe.set(entry, fill.frame, px=lifetime)
        # One by one: a cluster's pipeline can't delete two keys at once.
        pipe.delete(lease)
        pipe.delete(refresh)
        pipe.execute()
        return True

    def _renew(self, renew: Renew) -> list[bool]:
        pipe = self.client.pipeline(transaction=False)
        for held in renew.holdings:
            stage = held.stage.value
            pipe.eval(
                _RENEW, 1, self._at.lease(held.key), held.owner, stage, milliseconds(renew.ttl)
            )
        return [bool(reply) for reply in pipe.execute()]

    def _release(self, release: Release) -> bool:
        arguments = (self._at.lease(release.key), release.owner, int(release.unshared * 1000))
        return bool(self.client.eval(_RELEASE, 1, *arguments))

    def _invalidate(self, command: SetMarks) -> Position:
        reply: Any = None
        fewest = self._replicas
        for start in range(0, len(command.marks), MARKS_A_CALL):
            reply, acknowledged = self._log(command.marks[start : start + MARKS_A_CALL])
            fewest = min(fewest, acknowledged)
        # The marks have ended the entries; this only frees the memory.
        for key in command.keys:
            self.client.unlink(self._at.entry(key))
        # Only now, as the error means that all of it happened on the primary.
        if fewest < self._replicas:
            raise NotReplicated(self.name, fewest, self._replicas)
        return Position(reply[0].decode(), int(reply[1]))

    def _log(self, marks: tuple[str, ...]) -> tuple[Any, int]:
        """Append to the log; return its reply, and the number of replicas that acknowledged it."""
        keys = (self._at.control, self._at.stream)
        bounds = self.bounds.length, self.bounds.grace_ms, self.bounds.bans
        arguments: list[Any] = [_INVALIDATE, 2, *keys, uuid.uuid4().hex, *bounds, *marks]
        if not self._replicas:
            return self.client.eval(*arguments), 0
        try:
            return self._log_and_wait(arguments)
        except (redis.RedisError, OSError) as error:
            if not self.link.is_cluster or _is_refusal(error):
                raise
            # Another node may hold the log by now. An invalidation may happen twice.
            self.client.learn_layout()
            return self._log_and_wait(arguments)

    def _log_and_wait(self, arguments: list[Any]) -> tuple[Any, int]:
        # WAIT counts what this very connection has written.
        pipe = holder(self.link, self._at.control).pipeline(transaction=False)
        pipe.eval(*arguments)
        pipe.execute_command("WAIT", self._replicas, milliseconds(self._patience))
        reply, acknowledged = pipe.execute()
        return reply, acknowledged
