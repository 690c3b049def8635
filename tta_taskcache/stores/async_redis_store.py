"""L2 from asyncio: the exchanges of ``RedisStore``, over ``redis.asyncio``."""

from __future__ import annotations

import asyncio

import redis
from redis.exceptions import AskError, ClusterDownError, RedisClusterException, TryAgainError

from ..errors import StoreUnavailable
from .async_connection import AsyncLink
from .exchange import hold_exchange_in_loop
from .protocol import ClientCall, Command, Reply, Scan, SetMarks
from .redis_store import RedisExchanges, RedisStore
from .sweep_commands import ReadSweep, RecordSweep, RequestSweep, Sweep

#: Rare, and long: they are done by a blocking client in a thread, as reading through a batch of
#: entries keeps a processor for longer than a loop can wait.
_IN_THREAD = (Scan, Sweep, RequestSweep, ReadSweep, RecordSweep, ClientCall)

#: A loop that comes to a timer so many seconds late was kept by something else.
LATE = 0.01

#: The cluster is changing, or can't be reached: no fault of the command.
_CHANGING = (RedisClusterException, ClusterDownError, AskError, TryAgainError)


class AsyncRedisStore:
    """Executes commands on Redis, in whatever loop it is asked to.

    A command that is cancelled ends its connection: no reply is left for another to read.

    Args:
        link: How Redis is reached.
        blocking: The same store for threads.
        namespace: As of ``RedisStore``.
        replicas: Likewise.
        patience: Likewise.
    """

    def __init__(
        self,
        link: AsyncLink,
        blocking: RedisStore,
        namespace: str,
        *,
        replicas: int = 0,
        patience: float = 1.0,
    ) -> None:
        self.link = link
        self._blocking = blocking
        self._redis = RedisExchanges(link, namespace, replicas=replicas, patience=patience)
        # WAIT counts what one connection has written, which a cluster's client doesn't tell.
        self._is_waiting = bool(replicas) and link.is_cluster
        self.name = self._redis.name

    async def execute(self, command: Command) -> Reply:
        """Execute one command (see ``Store``).

        Raises:
            StoreUnavailable: Redis could not be reached, or refused.
        """
        if isinstance(command, _IN_THREAD) or (self._is_waiting and isinstance(command, SetMarks)):
            return await asyncio.to_thread(self._blocking.execute, command)
        try:
            with self._redis.faults():
                return await self._execute(command)
        except StoreUnavailable:
            if self.link.is_cluster:
                self.link.leave()
            raise

    async def _execute(self, command: Command) -> Reply:
        try:
            async with asyncio.timeout(None) as limit:
                loop = asyncio.get_running_loop()
                seconds = self._redis.timeout
                timer = loop.call_later(seconds, _expire, limit, loop.time() + seconds, seconds)
                try:
                    await self.link.ready()
                    return await hold_exchange_in_loop(self._redis.exchange(command))
                finally:
                    timer.cancel()
        except _CHANGING as error:
            raise redis.ConnectionError(str(error)) from error


def _expire(limit: asyncio.Timeout, due: float, seconds: float) -> None:
    """End a command that is due; later, if its loop was kept: the reply may be there, unread."""
    now = asyncio.get_running_loop().time()
    late = now - due
    limit.reschedule(now + min(late, seconds) if late > LATE else now)
