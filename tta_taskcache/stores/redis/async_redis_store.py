"""L2 from asyncio: the exchanges of ``RedisStore``, over ``redis.asyncio``."""

from __future__ import annotations

import asyncio

import redis
from redis.exceptions import AskError, ClusterDownError, RedisClusterException, TryAgainError

from ...errors import StoreUnavailable
from ..connections.async_connection import AsyncLink
from ..exchanges.exchange import hold_exchange_in_loop
from ..protocol import ClientCall, Command, Reply, Scan, SetMarks
from ..sweep_commands import ReadSweep, RecordSweep, RequestSweep, Sweep
from .redis_store import RedisExchanges, RedisStore

#: Rare and long commands, for a blocking client in a thread: reading a batch of entries would block
#: the event loop for too long.
_IN_THREAD = (Scan, Sweep, RequestSweep, ReadSweep, RecordSweep, ClientCall)

#: Seconds after which a late timer means that other work blocked the event loop.
LATE = 0.01

#: Errors of a cluster that is changing or can't be reached, which count as a lost connection.
_CHANGING = (RedisClusterException, ClusterDownError, AskError, TryAgainError)


class AsyncRedisStore:
    """Executes commands on Redis in the running event loop.

    A cancelled command closes its connection, so that no other command reads its reply.

    Args:
        link: Connections to Redis.
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
    """End a command at its timeout; later, if its loop was blocked: the reply may have come."""
    now = asyncio.get_running_loop().time()
    late = now - due
    limit.reschedule(now + min(late, seconds) if late > LATE else now)
