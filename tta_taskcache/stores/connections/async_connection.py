"""Connections to Redis for asyncio: a client for each event loop, and deadlines (F5)."""

# redis-py is only partly typed.
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from inspect import signature
from time import monotonic
from typing import Any

import redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import (
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import NoBackoff

from ..exchanges import log_state
from ..exchanges.exchange import hold_exchange_in_loop
from ..loop_local import LoopLocal
from .address import Topology
from .connection import Link
from .sentinel import ASK_AGAIN, SHARE, MasterDiscovery


class AsyncLink(Link):
    """Connections to Redis for asyncio, with a client for each event loop.

    Args:
        url: As of ``Link``.
        timeout: Likewise.
    """

    def __init__(self, url: str, timeout: float) -> None:
        super().__init__(url, timeout)
        self._clients: LoopLocal[Any] = LoopLocal(self._make_for_loop)

    @property
    def client(self) -> Any:
        """The client of the running event loop."""
        return self._clients.get()

    def renew(self) -> None:
        """Replace the clients of all event loops by unconnected ones."""
        self._clients = LoopLocal(self._make_for_loop)

    async def ready(self) -> None:
        """Wait until a cluster's layout is known, which one caller reads for all.

        Raises:
            redis.RedisError: No node could be asked.
        """
        if self.is_cluster:
            await self.client.begin()

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        client = self._clients.take()
        if client is not None:
            await _close(client)

    def leave(self) -> None:
        """Replace the client of this event loop, whose knowledge of the cluster is outdated."""
        client = self._clients.take()
        if client is not None:
            # Commands in flight have until then.
            closing = asyncio.get_running_loop().create_task(_close(client, 2 * self.timeout))
            _closing.add(closing)
            closing.add_done_callback(_closing.discard)

    def _make_for_loop(self) -> Any:
        address, options = self._address, self._options()
        match address.kind:
            case Topology.SERVER:
                kind: Any = SSLConnection if options.pop("ssl", False) else Connection
                if not address.hosts:
                    kind = UnixDomainSocketConnection
                fixed = self._fixed(options, self._greet_in_loop)
                return Redis(connection_pool=ConnectionPool(connection_class=kind, **fixed))
            case Topology.CLUSTER:
                return AsyncCluster(address.hosts, options, partial(self._greet_in_loop))
            case Topology.SENTINEL:
                kind = (
                    AsyncMasterSSLConnection if options.pop("ssl", False) else AsyncMasterConnection
                )
                sentinels = _sentinels(
                    address.hosts,
                    {**self._sentinel_options(), **self._timeouts(len(address.hosts))},
                )
                fixed = self._fixed(options, self._greet_master_in_loop)
                pool = AsyncMasterPool(address.service, sentinels, connection_class=kind, **fixed)
                return Redis(connection_pool=pool)

    def _fixed(self, options: dict[str, Any], greet: Any) -> dict[str, Any]:
        return options | _retried() | {"redis_connect_func": greet}

    def _timeouts(self, share: int) -> dict[str, float]:
        seconds = SHARE * self._timeout / share
        return {"socket_timeout": seconds, "socket_connect_timeout": seconds}

    async def _greet_in_loop(self, connection: Any) -> None:
        await _begin(connection)
        await self._bind_in_loop(connection)

    async def _greet_master_in_loop(self, connection: Any) -> None:
        await _begin(connection)
        await connection.check_role()
        await self._bind_in_loop(connection)

    async def _bind_in_loop(self, connection: Any) -> None:
        for log in self.logs:
            await hold_exchange_in_loop(log_state.binding(connection, *log))


#: Tasks that close clients.
_closing: set[asyncio.Task[None]] = set()


async def _close(client: Any, pause: float = 0.0) -> None:
    await asyncio.sleep(pause)
    with suppress(redis.RedisError, OSError):
        # Up to redis-py 5.0.0 it is called `close`.
        await getattr(client, "aclose", client.close)()


async def _begin(connection: Any) -> None:
    """Authenticate on a new connection and choose its database, as redis-py does."""
    if hasattr(connection, "on_connect_check_health"):  # since redis-py 6
        await connection.on_connect_check_health(check_health=False)
    else:
        await connection.on_connect()


def _retried() -> dict[str, Any]:
    once = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    # Up to redis-py 5, a Retry repeats the errors of this list only.
    return {"retry": once, "retry_on_error": [redis.ConnectionError]}


class AsyncSentinels(Sentinel, MasterDiscovery):
    """Sentinels, asked from asyncio."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        return await hold_exchange_in_loop(self.discovery(service_name))


class AsyncMasterPool(SentinelConnectionPool):
    """Connections to the master, closed when its Sentinels name another (see ``sentinel``)."""

    _asked_at = 0.0

    async def get_connection(self, *args: Any, **options: Any) -> Any:
        now = monotonic()
        if self.master_address is not None and now - self._asked_at > ASK_AGAIN:
            self._asked_at = now  # before the question, so that only one caller asks
            with suppress(redis.ConnectionError, redis.TimeoutError):
                await self.get_master_address()  # which closes connections to another
        return await super().get_connection(*args, **options)


def _sentinels(hosts: Sequence[tuple[str, int]], options: Mapping[str, Any]) -> Sentinel:
    sentinels = AsyncSentinels([])
    never = Retry(NoBackoff(), 0)
    sentinels.sentinels = [Redis(host=h, port=p, retry=never, **options) for h, p in hosts]
    return sentinels


class AsyncMasterConnection(SentinelManagedConnection):
    """A connection to the master, never to a former one (see ``sentinel``)."""

    async def connect(self) -> None:
        await self._connect_retry()

    async def check_role(self) -> None:
        """Refuse a server that isn't a master.

        Raises:
            redis.ConnectionError: The server is no master.
        """
        await self.send_command("ROLE", check_health=False)
        try:
            role = await self.read_response()
        except redis.ResponseError:
            return  # an access list may forbid ROLE
        if role[0] != b"master":
            raise redis.ConnectionError("what the Sentinels call the master is none any more")

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)
        except redis.ResponseError as error:
            # Up to Redis 6.2, a script's error is no ReadOnlyError, which redis-py takes care of.
            if "-READONLY " in str(error):
                await self.disconnect()
                raise redis.ConnectionError("The previous master is now a slave") from error
            raise


class AsyncMasterSSLConnection(AsyncMasterConnection, SentinelManagedSSLConnection):
    """A connection to the master with TLS."""


_parameters = signature(RedisCluster).parameters

#: A failing command isn't repeated, and the startup nodes stay those of the URL.
_CLUSTER_OPTIONS: dict[str, Any] = {"retry": Retry(NoBackoff(), 0)}
if "dynamic_startup_nodes" in _parameters:  # since redis-py 5
    _CLUSTER_OPTIONS["dynamic_startup_nodes"] = False
if not hasattr(Retry, "get_retries"):  # before redis-py 6, attempts are counted here
    _CLUSTER_OPTIONS["cluster_error_retry_attempts"] = 1


class AsyncCluster(RedisCluster):
    """A cluster's client, without retries: after an error, the next command gets a new one."""

    def __init__(
        self, hosts: Sequence[tuple[str, int]], options: Mapping[str, Any], greet: Any
    ) -> None:
        super().__init__(
            startup_nodes=[ClusterNode(host, port) for host, port in hosts],
            require_full_coverage=False,
            **_CLUSTER_OPTIONS,
            **options,
        )
        self.nodes_manager.connection_kwargs["redis_connect_func"] = greet
        for node in self.nodes_manager.startup_nodes.values():
            node.connection_kwargs["redis_connect_func"] = greet
        self._beginning: asyncio.Task[Any] | None = None

    async def begin(self) -> None:
        """Read the layout once; redis-py 8.1 closes connections when two tasks read it."""
        if self._beginning is None:
            self._beginning = asyncio.get_running_loop().create_task(self.initialize())
        await asyncio.shield(self._beginning)
