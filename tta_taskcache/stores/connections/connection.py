"""Connections to Redis, with timeouts, safe after forks and interruptions (promises F1, F3)."""

from __future__ import annotations

import os
from inspect import signature
from typing import Any
from weakref import WeakSet

import redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.retry import Retry

from ..exchanges import log_state
from .address import Address, Topology, read_url, wrong_url
from .cluster import Cluster, make_cluster, scout, unknown_options
from .packed_pipeline import (
    PackedConnection,
    PackedPipeline,
    PackedPool,
    PackedSSLConnection,
    PackedUnixConnection,
    can_pack,
)
from .sentinel import make_sentinel


class Link:
    """The link to Redis: one server, a cluster, or the master of a Sentinel service.

    Safe for threads, forks and interruptions: a forked child begins without connections, and so
    does everybody after ``renew``. A command gives up after about ``timeout`` seconds, or twice
    that when it turns out that the layout has to be asked for again. A connection that was closed
    meanwhile is opened again once, at once; timeouts aren't repeated.

    Args:
        url: See ``stores.connections.address``.
        timeout: Seconds that connecting, and each reply, may take. What the URL says
            (``socket_timeout``, ``socket_connect_timeout``) goes before.

    Attributes:
        place: The address for messages, without a password.
        is_cluster: Whether keys are spread over servers. Then ``client`` is a ``Cluster``.
        logs: Control hash and stream of the logs that each new connection opens first.

    Raises:
        ConfigurationError: The URL is wrong.
    """

    def __init__(self, url: str, timeout: float) -> None:
        self._address = read_url(url)
        self._timeout = timeout
        self.place = self._address.place
        self.is_cluster = self._address.kind is Topology.CLUSTER
        self.logs: set[tuple[str, str]] = set()
        self._can_pack = can_pack(self._address.options)
        self._client: redis.Redis | Cluster | None = None
        try:
            self._check()
        except (TypeError, ValueError, redis.RedisError):
            # The message may quote a part of the password.
            raise wrong_url("redis-py doesn't take its options") from None
        _links.add(self)

    @property
    def client(self) -> redis.Redis | Cluster:
        """The client, made when it is first needed. Ask for it anew for each command.

        Raises:
            redis.RedisError: The cluster can't be reached.
            OSError: The cluster can't be reached.
        """
        # Without a lock, which a fork could leave locked. If two threads make a client each, both
        # work.
        client = self._client
        if client is None:
            client = self._client = self._make()
        return client

    def pipeline(self) -> Any:
        """Return a new pipeline without a transaction.

        Raises:
            redis.RedisError: The cluster can't be reached.
        """
        client = self.client
        pool = getattr(client, "connection_pool", None)
        if isinstance(pool, PackedPool) and self._can_pack:
            return PackedPipeline(pool)
        return client.pipeline(transaction=False)

    @property
    def timeout(self) -> float:
        """Seconds that an operation may take, all in all (promise F5)."""
        options = self._options()
        times = (options["socket_timeout"], options["socket_connect_timeout"])
        return max((float(seconds) for seconds in times if seconds), default=self._timeout)

    def renew(self) -> None:
        """Replace the client by one without connections.

        An interrupted command may have left an unread reply in a connection, or lost one to its
        pool. Commands of other threads end as they would have.
        """
        self._client = None

    def _make(self) -> redis.Redis | Cluster:
        address, options = self._address, self._options()
        match address.kind:
            case Topology.SERVER:
                return _make_server(address, options | {"redis_connect_func": self._greet})
            case Topology.CLUSTER:
                return make_cluster(address.hosts, options, self._timeout, self._bind)
            case Topology.SENTINEL:
                return make_sentinel(
                    address.hosts,
                    address.service,
                    options | _retried() | {"redis_connect_func": self._greet_master},
                    self._sentinel_options(),
                    self._timeout,
                )

    def _greet(self, connection: Any) -> None:
        _begin(connection)
        self._bind(connection)

    def _greet_master(self, connection: Any) -> None:
        _begin(connection)
        connection.check_role()
        self._bind(connection)

    def _bind(self, connection: Any) -> None:
        """Open the logs that this link leads to, before a new connection's first command."""
        for log in self.logs:
            log_state.bind(connection, *log)

    def _options(self) -> dict[str, Any]:
        timeouts = {"socket_timeout": self._timeout, "socket_connect_timeout": self._timeout}
        return {**timeouts, **self._address.options, **_FIXED}

    def _sentinel_options(self) -> dict[str, Any]:
        return {**self._address.sentinel_options, **_FIXED}

    def _check(self) -> None:
        """Check the options, which redis-py does when it makes a connection."""
        if self.is_cluster:
            options = self._options()
            if unknown_options(options):
                raise ValueError
            client: Any = scout("", 0, options, self._timeout)
        else:
            client = self._make()
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)


#: Options that the rest of the code relies on.
_FIXED: dict[str, Any] = {"decode_responses": False}
if "protocol" in signature(AbstractConnection).parameters:  # before redis-py 5 there was but one
    _FIXED["protocol"] = 2


def _retried() -> dict[str, Any]:
    once = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    # Up to redis-py 5, a Retry repeats the errors of this list only.
    return {"retry": once, "retry_on_error": [redis.ConnectionError]}


def _begin(connection: Any) -> None:
    """Authenticate on a new connection and choose its database, as redis-py does."""
    if hasattr(connection, "on_connect_check_health"):  # since redis-py 6
        connection.on_connect_check_health(check_health=False)
    else:
        connection.on_connect()


def _make_server(address: Address, options: dict[str, Any]) -> redis.Redis:
    kind: type = PackedSSLConnection if options.pop("ssl", False) else PackedConnection
    if not address.hosts:
        kind = PackedUnixConnection
    # A client that made its pool itself would close it under the hands of other threads.
    return redis.Redis(connection_pool=PackedPool(connection_class=kind, **options | _retried()))


_links: WeakSet[Link] = WeakSet()


#: Clients of parent processes, kept: closing one would take locks, too.
_left_to_parents: list[redis.Redis | Cluster] = []


def _renew_clients() -> None:
    for link in list(_links):
        if link._client is not None:
            _left_to_parents.append(link._client)
        link.renew()


# redis-py's pool notices a fork, but takes its lock to do so (8.1), which no thread releases in the
# child when another thread of the parent held it at the fork.
os.register_at_fork(after_in_child=_renew_clients)
