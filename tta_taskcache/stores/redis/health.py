"""The health of a Redis, as far as a cache depends on it: facts, without a judgement."""

from __future__ import annotations

from statistics import median
from time import perf_counter, time
from typing import Any

import redis
from redis.exceptions import RedisClusterException

from ...core.record import record
from ...errors import StoreUnavailable
from ..connections.connection import Link
from ..connections.nodes import holder, primaries
from ..exchanges import log_state as log
from ..exchanges.key_layout import Layout

#: Fields of the control hash beside marks.
_FIELDS = ("incarnation", "sequence", "bans", "server", "version", "banned", "lifetimes", "longest")

#: Measurements of the latency.
PINGS = 20


@record(kw_only=True)
class ServerHealth:
    """One server.

    Attributes:
        name: Its name in a cluster; else empty.
        product: ``Redis`` or ``Valkey``.
        version: Version of the product.
        redis_version: Version of Redis, or of the Redis that the product is compatible with.
        run_id: Id of this process of the server.
        role: ``master`` or ``slave``.
        replicas: Number of connected replicas.
        max_memory: Bytes that it may use; 0 for no bound.
        used_memory: Bytes that it uses.
        policy: Its eviction policy (``maxmemory-policy``).
        evicted: Keys that it has evicted since it started.
        aof: When it writes its append-only file to disk (``always``, ``everysec``, ``no``); empty
            without one, None when it denies the question.
        snapshots: When it saves snapshots (``save``); empty for never, None when it denies the
            question.
    """

    name: str
    product: str
    version: str
    redis_version: tuple[int, ...]
    run_id: str
    role: str
    replicas: int
    max_memory: int
    used_memory: int
    policy: str
    evicted: int
    aof: str | None
    snapshots: str | None


@record(kw_only=True)
class LogHealth:
    """The invalidation log.

    Attributes:
        incarnation: Its incarnation; empty when there is no log yet.
        sequence: Sequence of the newest invalidation.
        newest: Sequence of the newest record in its stream; 0 for none.
        marks: Number of marks, each kept for as long as an entry may live.
        size: Bytes of its state, marks included; None when Redis denies the question.
        bans: Number of patterns in force.
        expires: Whether its key has an expiry, which the library never sets.
        is_bound: Whether it is bound to its server, so that every process notices a lost tail.
    """

    incarnation: str
    sequence: int
    newest: int
    marks: int
    size: int | None
    bans: int
    expires: bool
    is_bound: bool


@record(kw_only=True)
class Health:
    """The health of servers and log.

    Attributes:
        servers: The primaries; empty when they refuse ``INFO``.
        refused: The error of that refusal.
        latency: Seconds of a round trip, in the median.
        slowest: Seconds of the slowest round trip.
        clock_offset: Seconds by which the server's clock is ahead of this machine's.
        log: The invalidation log.
    """

    servers: tuple[ServerHealth, ...]
    refused: str
    latency: float
    slowest: float
    clock_offset: float
    log: LogHealth


def examine(link: Link, namespace: str) -> Health:
    """Examine the servers behind a link.

    Raises:
        StoreUnavailable: The servers can't be reached.
    """
    layout = Layout(namespace)
    try:
        node = holder(link, layout.control)
        node.ping()  # connects
        seconds = [_seconds_of(node.ping) for _ in range(PINGS)]
        servers, refused = _servers(link)
        return Health(
            servers=servers,
            refused=refused,
            latency=median(seconds),
            slowest=max(seconds),
            clock_offset=_clock_offset(node),
            log=_log(node, layout),
        )
    except (redis.RedisError, OSError, RedisClusterException) as error:
        raise StoreUnavailable(f"redis {link.place}: {error}") from error


def _seconds_of(ask: Any) -> float:
    started = perf_counter()
    ask()
    return perf_counter() - started


def _servers(link: Link) -> tuple[tuple[ServerHealth, ...], str]:
    try:
        return tuple(_server(name, node) for name, node in primaries(link).items()), ""
    except redis.ResponseError as error:  # an ACL user without INFO
        return (), str(error)


def _server(name: str, node: Any) -> ServerHealth:
    told = node.info()
    product = "Valkey" if told.get("server_name") == "valkey" else "Redis"
    version = told["valkey_version"] if product == "Valkey" else told["redis_version"]
    with_aof = bool(told.get("aof_enabled"))
    return ServerHealth(
        name=name,
        product=product,
        version=str(version),
        redis_version=tuple(int(part) for part in str(told["redis_version"]).split(".")[:2]),
        run_id=told["run_id"],
        role=told["role"],
        replicas=int(told.get("connected_slaves", 0)),
        max_memory=int(told["maxmemory"]),
        used_memory=int(told["used_memory"]),
        policy=told["maxmemory_policy"],
        evicted=int(told["evicted_keys"]),
        aof=_option(node, "appendfsync") if with_aof else "",
        snapshots=_option(node, "save"),
    )


def _option(node: Any, name: str) -> str | None:
    try:
        told: str = node.config_get(name).get(name)
    except redis.ResponseError:  # managed services and ACL users have no CONFIG
        return None
    return told


def _clock_offset(node: Any) -> float:
    before = time()
    seconds, micros = node.time()
    return float(seconds + micros / 1e6 - (before + time()) / 2)


def _log(node: Any, layout: Layout) -> LogHealth:
    pipe = node.pipeline(transaction=False)
    pipe.hmget(layout.control, *_FIELDS)
    pipe.xrevrange(layout.stream, count=1)
    pipe.pttl(layout.control)
    pipe.hlen(layout.control)
    fields, newest, expiry, length = pipe.execute()
    incarnation, sequence, bans, server, *_ = fields
    return LogHealth(
        incarnation=(incarnation or b"").decode(),
        sequence=int(sequence or 0),
        newest=int(newest[0][0].split(b"-")[0]) if newest else 0,
        marks=length - sum(field is not None for field in fields),
        size=_size(node, layout.control),
        bans=len(log.read_bans(bans)),
        expires=expiry > 0,
        is_bound=bool(server),
    )


def _size(node: Any, name: str) -> int | None:
    try:
        told: int | None = node.memory_usage(name)
    except redis.ResponseError:  # an ACL user without it
        return None
    return told or 0
