"""L2: the store on Redis 6.2 or newer, or Valkey: one server, behind Sentinel, or a cluster.

A command is one round trip; in a cluster a claim takes two, as the position of its lease is read
first. Its exchange with Redis is written once, for ``RedisStore`` and ``AsyncRedisStore``.
Expiry and remaining time are by Redis' own clock (PTTL); only the days of counters are by this
process's.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from time import monotonic
from typing import Any

import redis
from redis.exceptions import RedisClusterException

from ...core.entries.entry import Position
from ...core.record import record
from ...errors import NotReplicated, StoreRefused, StoreUnavailable
from ..connections.connection import Link
from ..connections.deadline import within
from ..connections.nodes import holder
from ..exchanges import log_state as log
from ..exchanges.claim_arguments import milliseconds
from ..exchanges.exchange import Exchange, hold_exchange
from ..exchanges.key_layout import Layout
from ..exchanges.ledger import RedisLedger
from ..exchanges.log_state import State
from ..exchanges.lookup_pipeline import Looks
from ..exchanges.scripts import script
from ..protocol import (
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
    Together,
)
from ..sweep_commands import ReadSweep, RecordSweep, RequestSweep, Sweep
from .scanner import Scanner

#: Seconds after which a process records a lifetime again: far less than marks are kept beyond it.
RECORD_AGAIN = 60.0

#: Most marks of one call of the script: Lua's ``unpack`` is limited.
MARKS_A_CALL = 1_000


def _is_refusal(error: Exception) -> bool:
    """Whether the node with the log has refused the command."""
    moved = (redis.exceptions.AskError, redis.exceptions.ClusterDownError)  # MOVED is the former
    return isinstance(error, redis.ResponseError) and not isinstance(error, moved)


#: The reply without a usable log: the next command opens a new one.
LOST = StoreReply(None, None, 0.0, {}, None)


@record
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


class RedisExchanges:
    """The exchange with Redis of each command, for a blocking client or a client of a loop.

    Args:
        link: The link to Redis.
        namespace: Prefix of all keys.
        replicas: Replicas that have to acknowledge an invalidation, too (``WAIT``).
        patience: Seconds to wait for them.

    Attributes:
        bounds: The bounds of its log.
        log: Identity of its log: where it is.
    """

    def __init__(
        self, link: Link, namespace: str, *, replicas: int = 0, patience: float = 1.0
    ) -> None:
        self.bounds = LogBounds()
        self.link = link
        self.name = f"redis {link.place}"
        self.log = self.name, namespace
        self.timeout = link.timeout
        self._replicas = replicas
        self._patience = patience
        self._at = Layout(namespace)
        link.logs.add((self._at.control, self._at.stream))
        self._scanner = Scanner(link, self._at)
        self._ledger = RedisLedger(self._at)
        self._states = log.StateReader()
        #: Whether the next command opens the log on its way.
        self._is_open = False
        #: An incarnation whose tail was lost, which must not go on (promise I6).
        self._broken = ""
        #: Lifetimes, rounded up, that this process has recorded: in which incarnation, and when.
        self._recorded: dict[int, tuple[str, float]] = {}

    @property
    def client(self) -> Any:
        """The client in use."""
        return self.link.client

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Turn errors of redis-py into a store's.

        Raises:
            StoreUnavailable: Redis could not be reached, or refused.
        """
        try:
            yield
        except NotReplicated:
            raise
        except redis.ResponseError as error:
            raise StoreRefused(f"{self.name}: {error}") from error
        # RedisClusterException, of a slot without a node, is no RedisError.
        except (redis.RedisError, OSError, RedisClusterException) as error:
            self._is_open = False
            self._recorded.clear()
            raise StoreUnavailable(f"{self.name}: {error}") from error
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            # Another client has written to our keys.
            raise StoreRefused(f"{self.name}: unexpected reply: {error}") from error

    def interrupted(self) -> None:
        """Start anew: a connection may hold an unread reply, or be lost to the pool."""
        self._is_open = False
        self._recorded.clear()
        self.link.renew()

    def exchange(  # noqa: C901, PLR0911, PLR0912 - a line each
        self, command: Command
    ) -> Exchange[Reply]:
        """Return the exchange of a command, which returns the reply."""
        done: Reply
        match command:
            case Look():
                looked = yield from self._look((command,), command.since, command.counts)
                return looked[0]
            case LookMany():
                return (yield from self._look(command.looks, command.since, command.counts))
            case Poll():
                return (yield from self._poll(command))
            case ReadBans():
                return (yield from self._read_bans())
            case Fill():
                done = yield from self._together((command,), command.counts)
                return done[0]
            case Renew():
                return (yield from self._renew(command))
            case Release():
                return bool((yield partial(self.client.eval, *self._releasing(command))))
            case BeginRefresh():
                name, milli = self._at.refresh(command.key), milliseconds(command.seconds)
                return bool((yield partial(self.client.set, name, "1", nx=True, px=milli)))
            case Together():
                return (yield from self._together(command.commands, command.counts))
            case SetMarks():
                return (yield from self._invalidate(command))
            case Scan():
                done = yield partial(self._scanner.scan, command)
            case Sweep():
                done = yield partial(self._scanner.sweep, command)
            case RequestSweep():
                done = yield self._scanner.request_sweep
            case ReadSweep():
                done = yield self._scanner.read_sweep
            case RecordSweep():
                done = yield partial(self._scanner.record_sweep, command)
            case Count():
                return (yield from self._ledger.totals(self._pipeline(command.counts)))
            case ReadDays():
                pipe = self.link.pipeline()
                return (yield from self._ledger.read(pipe, command.days))
            case ClientCall():
                done = yield partial(command.act, self.client)
        return done

    def _pipeline(self, counts: Counts = {}, lifetime: int = 0) -> Any:  # noqa: B006 - only read
        """Start a pipeline, which opens the log first if need be."""
        pipe = self.link.pipeline()
        # Fills record their lifetime: marks are kept for as long as an entry may live.
        if not self._is_open or lifetime or self._broken:
            keys = (self._at.control, self._at.stream)
            pipe.eval(*log.opening(*keys, broken=self._broken, lifetime=lifetime))
            self._is_open, self._broken = True, ""
        self._ledger.add(pipe, counts)
        return pipe

    def _to_record(self, fills: Sequence[Fill]) -> int:
        """Return the lifetime (ms) that fills have to record in the log; 0 for none."""
        if not fills:
            return 0
        longest = max(fills, key=lambda fill: fill.lifetime)
        lifetime, now = milliseconds(longest.lifetime), monotonic()
        rounded = 1 << (lifetime - 1).bit_length()
        known, since = self._recorded.get(rounded, ("", 0.0))
        # An entry that was born in another incarnation than the log's is never served.
        is_known = all(fill.incarnation and fill.incarnation == known for fill in fills)
        if is_known and now - since < RECORD_AGAIN:
            return 0
        self._recorded[rounded] = (longest.incarnation, now)
        return lifetime

    def _trusts(self, state: State | None, since: Position | None) -> Exchange[bool]:
        """Whether the log, in the state in which it was read, is usable."""
        if state is None:
            self._is_open = False
            return False
        if since is not None and (yield from self._lost_tail(state, since)):
            self._broken = state.position.incarnation
            return False
        return True

    def _lost_tail(self, state: State, since: Position) -> Exchange[bool]:
        """Whether the log lacks what this process has read of it (promise I6)."""
        if state.lost_tail:
            return True
        if state.records is not None or state.position.incarnation != since.incarnation:
            return False
        older = yield partial(log.older_records, self.client, self._at.stream, since)
        return log.has_overtaken(older, since)

    def _look(
        self, looks: Sequence[Look], since: Position | None, counts: Counts
    ) -> Exchange[list[StoreReply]]:
        all_of = Looks(self._at, looks, is_one_node=not self.link.is_cluster)
        marks = all_of.marks
        lost = [LOST] * len(looks)
        state: State | None = None
        pipe = self._pipeline(counts)

        def ask() -> None:
            if state is None:
                log.ask(pipe, self._at.control, self._at.stream, marks, since)

        def read(replies: list[Any]) -> State | None:
            nonlocal state
            if state is None:
                state = self._states.read(replies, marks, since)
            return state

        if all_of.are_claims and self.link.is_cluster:
            ask()
            if not (yield from self._trusts(read((yield pipe.execute)), since)):
                return lost
            pipe = self.link.pipeline()
        is_trusted = state is not None
        all_of.queue(pipe, ask, state)
        looked = all_of.read((yield pipe.execute), read)
        if not is_trusted and not (yield from self._trusts(state, since)):
            return lost
        return looked or lost

    def _poll(self, poll: Poll) -> Exchange[StoreReply]:
        pipe = self._pipeline(poll.counts)
        log.ask(pipe, self._at.control, self._at.stream, poll.marks, poll.since)
        state = self._states.read((yield pipe.execute), poll.marks, poll.since)
        is_trusted = yield from self._trusts(state, poll.since)
        return state.looked() if state is not None and is_trusted else LOST

    def _read_bans(self) -> Exchange[Bans]:
        fields = ("incarnation", "version", "sequence", *log.BANS)
        read = partial(self.client.hmget, self._at.control, *fields)
        incarnation, version, sequence, *bans = yield read
        if incarnation is None or version != log.VERSION:
            self._is_open = False
            return Bans(None, ())
        return Bans(Position(incarnation.decode(), int(sequence or 0)), log.read_bans(*bans))

    def _together(
        self,
        commands: Sequence[Fill | Release | BeginRefresh],
        counts: Counts = {},  # noqa: B006 - only read
    ) -> Exchange[list[bool]]:
        fills = [command for command in commands if isinstance(command, Fill)]
        if fills or counts:
            pipe = self._pipeline(counts, self._to_record(fills))
        else:
            pipe = self.link.pipeline()
        numbers = [self._queue(pipe, command) for command in commands]
        replies = yield pipe.execute
        del replies[: len(replies) - sum(numbers)]
        done = []
        for number in numbers:
            # That of an unconditional fill says how many keys it has deleted.
            done.append(number > 1 or bool(replies[0]))
            del replies[:number]
        return done

    def _queue(self, pipe: Any, command: Fill | Release | BeginRefresh) -> int:
        """Queue a command; return the number of its replies."""
        match command:
            case Fill():
                return self._queue_fill(pipe, command)
            case Release():
                pipe.eval(*self._releasing(command))
            case BeginRefresh():
                name, milli = self._at.refresh(command.key), milliseconds(command.seconds)
                pipe.set(name, "1", nx=True, px=milli)
        return 1

    def _releasing(self, release: Release) -> tuple[Any, ...]:
        lease = self._at.lease(release.key)
        return script("release"), 1, lease, release.owner, int(release.unshared * 1000)

    def _queue_fill(self, pipe: Any, fill: Fill) -> int:
        lifetime = milliseconds(fill.lifetime)
        entry, lease = self._at.entry(fill.key), self._at.lease(fill.key)
        refresh = self._at.refresh(fill.key)
        if fill.payload_at:
            kept = (fill.owner, lifetime, fill.frame, fill.instead_of, fill.payload_at)
            pipe.eval(script("keep"), 3, entry, lease, refresh, *kept)
            return 1
        if fill.instead_of:
            pipe.eval(
                script("replace"),
                2,
                entry,
                lease,
                fill.owner,
                lifetime,
                fill.frame,
                fill.instead_of,
            )
            return 1
        if fill.owner:
            pipe.eval(script("fill"), 3, entry, lease, refresh, fill.owner, lifetime, fill.frame)
            return 1
        pipe.set(entry, fill.frame, px=lifetime)
        # One by one: a cluster's pipeline can't delete two keys at once.
        pipe.delete(lease)
        pipe.delete(refresh)
        return 3

    def _renew(self, renew: Renew) -> Exchange[list[bool]]:
        pipe = self.link.pipeline()
        for held in renew.holdings:
            stage = held.stage.value
            pipe.eval(
                script("renew"),
                1,
                self._at.lease(held.key),
                held.owner,
                stage,
                milliseconds(renew.ttl),
            )
        return [bool(reply) for reply in (yield pipe.execute)]

    def _invalidate(self, command: SetMarks) -> Exchange[Position]:
        reply: Any = None
        fewest = self._replicas
        for start in range(0, len(command.marks), MARKS_A_CALL):
            chunk = command.marks[start : start + MARKS_A_CALL]
            reply, acknowledged = yield from self._log(chunk)
            fewest = min(fewest, acknowledged)
        # The marks have ended the entries; this only frees the memory.
        for key in command.keys:
            yield partial(self.client.unlink, self._at.entry(key))
        # Only now, as the error means that all of it happened on the primary.
        if fewest < self._replicas:
            raise NotReplicated(self.name, fewest, self._replicas)
        return Position(reply[0].decode(), int(reply[1]))

    def _log(self, marks: tuple[str, ...]) -> Exchange[tuple[Any, int]]:
        """Append to the log; return its reply, and the number of replicas that acknowledged it."""
        keys = (self._at.control, self._at.stream)
        bounds = self.bounds.length, self.bounds.grace_ms, self.bounds.bans
        arguments: list[Any] = [
            script("log", "lifetimes", "invalidate"),
            2,
            *keys,
            uuid.uuid4().hex,
            *bounds,
            *marks,
        ]
        if not self._replicas:
            return (yield partial(self.client.eval, *arguments)), 0
        try:
            return (yield from self._log_and_wait(arguments))
        except (redis.RedisError, OSError) as error:
            if not self.link.is_cluster or _is_refusal(error):
                raise
            # Another node may hold the log by now. An invalidation may happen twice.
            yield self.client.learn_layout
            return (yield from self._log_and_wait(arguments))

    def _log_and_wait(self, arguments: list[Any]) -> Exchange[tuple[Any, int]]:
        # WAIT counts what this very connection has written.
        pipe = holder(self.link, self._at.control).pipeline(transaction=False)
        pipe.eval(*arguments)
        pipe.execute_command("WAIT", self._replicas, milliseconds(self._patience))
        reply, acknowledged = yield pipe.execute
        return reply, acknowledged


class RedisStore(RedisExchanges):
    """Executes commands on Redis, blocking."""

    def execute(self, command: Command) -> Reply:
        """Execute one command (see ``Store``).

        Raises:
            StoreUnavailable: Redis could not be reached, or refused.
        """
        try:
            with self.faults(), within(self.timeout):
                return hold_exchange(self.exchange(command))
        except StoreUnavailable:
            raise
        except BaseException:
            # A soft time limit may have struck between request and reply, or inside the pool.
            self.interrupted()
            raise
