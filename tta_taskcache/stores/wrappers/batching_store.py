"""Batching of simultaneous looks in an event loop: one round trip for all of them.

Equal looks are sent once, and so are equal polls of the log. When their claim is granted, the first
look leads, and the others receive the reply that Redis would have sent them: another call leads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...core.entries.lease import Lease
from ..loop_local import LoopLocal
from ..protocol import AsyncStore, Command, Look, LookMany, Poll, Reply, StoreReply

#: Most looks in one round trip: reading more replies would block the event loop.
MOST_LOOKS = 50

#: Most commands and batches in flight in an event loop, each on a connection of its own.
MOST_ON_THE_WAY = 16


@dataclass(slots=True, eq=False)
class _EqualLooks:
    """Equal looks in the order of arrival, and the future of each."""

    looks: list[Look]
    futures: list[asyncio.Future[StoreReply]]


@dataclass(slots=True, eq=False)
class _EqualPolls:
    """Equal polls of the log, and the future of each."""

    polls: list[Poll]
    futures: list[asyncio.Future[Reply]]


@dataclass(slots=True)
class _LookQueue:
    """The looks of one event loop that are still to be sent, by kind (see ``_kind``)."""

    slots: asyncio.Semaphore
    waiting: dict[object, _EqualLooks] = field(default_factory=dict)
    #: The polls that are still to be sent, by position and marks.
    polls: dict[object, _EqualPolls] = field(default_factory=dict)
    #: Number of batches that are about to take waiting looks.
    starting: int = 0
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)


class BatchingStore:
    """An asyncio store that batches looks.

    A command in flight goes on when its caller is cancelled: other callers may wait for it, and its
    connection still has a reply to read.

    Args:
        store: Executes the batches.
        abandon: Receives the key and owner of a lease that was granted to a cancelled caller.
    """

    def __init__(self, store: AsyncStore, abandon: Callable[[str, str], None]) -> None:
        self.store = store
        self.name = store.name
        self._abandon = abandon
        self._queues = LoopLocal(lambda: _LookQueue(asyncio.Semaphore(MOST_ON_THE_WAY)))

    async def execute(self, command: Command) -> Reply:
        """Execute a command (see ``Store``)."""
        queue = self._queues.get()
        if isinstance(command, Poll):
            return await self._poll(queue, command)
        if not isinstance(command, Look):
            reply: Reply = await asyncio.shield(_begin(queue, self._execute(queue, command)))
            return reply
        future: asyncio.Future[StoreReply] = asyncio.get_running_loop().create_future()
        kind = _kind(command)
        waiting = queue.waiting.get(kind)
        if waiting is None:
            waiting = queue.waiting[kind] = _EqualLooks([], [])
            if queue.starting * MOST_LOOKS < len(queue.waiting):
                queue.starting += 1
                _begin(queue, self._send(queue))
        waiting.looks.append(command)
        waiting.futures.append(future)
        return await future

    def _poll(self, queue: _LookQueue, poll: Poll) -> asyncio.Future[Reply]:
        """Send a poll with those of the same position that come before it is sent."""
        kind = (poll.since, poll.marks)
        waiting = queue.polls.get(kind)
        if waiting is None:
            waiting = queue.polls[kind] = _EqualPolls([], [])
            _begin(queue, self._send_polls(queue, kind))
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        waiting.polls.append(poll)
        waiting.futures.append(future)
        return future

    async def _send_polls(self, queue: _LookQueue, kind: object) -> None:
        async with queue.slots:
            waiting = queue.polls.pop(kind)
            polls, futures = waiting.polls, waiting.futures
            try:
                reply = await self.store.execute(replace(polls[0], counts=_sum(polls)))
            except BaseException as error:
                _fail(futures, error)
                if not isinstance(error, Exception):
                    raise
                return
        for future in futures:
            if not future.done():
                future.set_result(reply)

    async def _execute(self, queue: _LookQueue, command: Command) -> Reply:
        async with queue.slots:
            return await self.store.execute(command)

    async def _send(self, queue: _LookQueue) -> None:
        """Send the waiting looks, at most as many as one round trip takes."""
        async with queue.slots:
            queue.starting -= 1
            batch = _take(queue)
            if queue.waiting and not queue.starting:  # those of another log position
                queue.starting += 1
                _begin(queue, self._send(queue))
            if batch:
                await self._send_batch(batch)

    async def _send_batch(self, batch: Sequence[_EqualLooks]) -> None:
        looks = [waiting.looks[0] for waiting in batch]
        try:
            counts = _sum([look for waiting in batch for look in waiting.looks])
            replies = await self._look(looks, counts)
        except BaseException as error:
            _fail([future for waiting in batch for future in waiting.futures], error)
            if not isinstance(error, Exception):
                raise
            return
        for waiting, reply in zip(batch, replies, strict=True):
            self._answer(waiting, reply)

    def _answer(self, waiting: _EqualLooks, reply: StoreReply) -> None:
        """Give each equal look the reply that Redis would have sent it."""
        lease = reply.lease
        is_given = lease is not None and lease.is_ours
        first = waiting.futures[0]
        if is_given and lease is not None:
            if first.done():
                self._abandon(waiting.looks[0].key, lease.owner)
            else:
                first.set_result(reply)
            reply = replace(reply, lease=Lease("", None, lease.stage, lease.remaining))
        for future in waiting.futures:
            if not future.done():
                future.set_result(reply)

    async def _look(self, looks: Sequence[Look], counts: dict[str, float]) -> Sequence[StoreReply]:
        since = looks[0].since
        many = LookMany(tuple(looks), since, counts) if len(looks) > 1 else None
        reply: Any = await self.store.execute(many or replace(looks[0], counts=counts))
        return reply if many else [reply]


def _begin(queue: _LookQueue, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    task = asyncio.get_running_loop().create_task(work)
    queue.tasks.add(task)
    task.add_done_callback(queue.tasks.discard)
    task.add_done_callback(_hear)
    return task


def _hear(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # retrieved, as its caller may have been cancelled


def _take(queue: _LookQueue) -> list[_EqualLooks]:
    """Take the waiting looks of one log position, at most as many as one round trip takes."""
    kinds = list(queue.waiting)[:MOST_LOOKS]
    since = [queue.waiting[kind].looks[0].since for kind in kinds]
    return [
        queue.waiting.pop(kind) for kind, at in zip(kinds, since, strict=True) if at == since[0]
    ]


def _kind(look: Look) -> object:
    """Return a value that is equal for looks whose replies differ at most in the leader."""
    claim = look.claim and replace(look.claim, owner="")
    return look.key, look.marks, look.since, claim, look.own_marks


def _sum(commands: Sequence[Look | Poll]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for command in commands:
        for name, amount in command.counts.items():
            counts[name] = counts.get(name, 0.0) + amount
    return counts


def _fail(futures: Sequence[asyncio.Future[Any]], error: BaseException) -> None:
    for future in futures:
        if not isinstance(error, Exception):
            future.cancel()  # the loop ends
        elif not future.done():
            future.set_exception(error)
