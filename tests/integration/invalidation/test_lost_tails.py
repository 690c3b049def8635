"""The log loses its tail and is written to again, before anybody looks (I6): on real failovers.

Replication is cut while invalidations are acknowledged, then the server with the log dies. What was
stored before, what was born in the lost part, and what an idle process holds in memory is gone for
everybody. ``LOST_TAILS=20`` runs so many of each.
"""

import os
import random
from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery import Celery

from tests.chaos.sabotage import OF_LOG_SCRIPTS, counting
from tests.support.members import admin
from tests.support.servers import Server
from tests.support.topologies import ClusterServers, SentinelServers
from tests.support.waiting import wait_until
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.testing.contract import invalidate, look, position

pytestmark = pytest.mark.one_server_kind

SEEDS = range(int(os.environ.get("LOST_TAILS") or 1))

#: Entries in a cluster are on all nodes, most of them not on the log's.
NAMES = [f"n{i}" for i in range(12)]


class Member:
    """A process's cache, alone."""

    def __init__(self, url: str) -> None:
        app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
        self.cache = TaskCache(app, url, timeout=2.0, namespace="lost")

        @app.task(base=CachedTask, shared=False, name="lost.value", cache_ttl=3600)
        def value(name: str) -> str:
            return "new"

        self.value: Any = value

    def store(self, names: list[str]) -> None:
        for name in names:
            assert self.value.cache.set("OLD", name)

    def end(self, name: str) -> None:
        """Invalidate; a failover may be on its way."""

        def is_acknowledged() -> bool:
            try:
                self.value.cache.invalidate(name)
            except StoreUnavailable:
                return False
            return True

        wait_until(is_acknowledged, timeout=30, what="an acknowledged invalidation")

    def read(self, names: list[str]) -> list[str]:
        """Which of them it still has, once it reaches the cache again."""
        wait_until(self.is_in_touch, timeout=30, what="the cache")
        return [name for name in names if self.value.cache.get(name) == "OLD"]

    def is_in_touch(self) -> bool:
        store: Any = self.cache.runtime.store
        try:
            return look(store).position is not None
        except StoreUnavailable:
            return False


def cut_replication(master: Server) -> None:
    """Let its replicas get nothing from now on, without telling the Sentinels or the cluster."""
    client = admin(master)
    client.wait(1, 5_000)
    client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
    client.execute_command("CLIENT", "KILL", "TYPE", "replica")


def lose_tail(servers: Any, master: Server, kill: Any, seed: int) -> list[list[str]]:
    """What each process still has of what should be gone."""
    dice = random.Random(f"lost tail {seed}")
    idle, writer = Member(servers.url), Member(servers.url)
    before, born_later = NAMES[:8], NAMES[8:]
    writer.store(before)
    assert idle.read(before) == before
    cut_replication(master)
    # Acknowledged by the one that dies alone; each takes a number.
    lost = dice.sample(before, dice.randint(1, 4))
    for name in lost:
        writer.end(name)
    writer.store(born_later)
    assert idle.read(born_later) == born_later
    kill()
    # Nobody has looked: a process that knows nothing takes as many numbers, or more.
    fresh = Member(servers.url)
    others = [name for name in before if name not in lost]
    # What is stored anew takes a number as well.
    for _ in range(len(lost) + len(born_later) + dice.randint(0, 3)):
        fresh.end(dice.choice(others))
    everywhere = [idle, writer, fresh, Member(servers.url)]
    return [member.read(NAMES) for member in everywhere]


@pytest.mark.parametrize("seed", SEEDS)
def test_i6_sentinels_fail_over_without_the_tail(
    sentinel_servers: SentinelServers, seed: int
) -> None:
    servers = sentinel_servers
    assert lose_tail(servers, servers.master, servers.kill_master, seed) == [[]] * 4


def test_i6_with_bare_numbers_a_lost_tail_is_not_seen(
    sentinel_servers: SentinelServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As up to 0.1: so the others do see what they look for."""
    for module in OF_LOG_SCRIPTS:
        monkeypatch.setattr(module, "script", counting)
    servers = sentinel_servers
    assert any(lose_tail(servers, servers.master, servers.kill_master, 0))


@pytest.mark.parametrize("seed", SEEDS)
def test_i6_a_cluster_fails_over_without_the_tail(
    cluster_servers: ClusterServers, seed: int
) -> None:
    """Entries are on other nodes, and outlive the log."""
    log = cluster_servers.owner("lost:{log}:control")
    kept = lose_tail(cluster_servers, log, lambda: cluster_servers.kill(log), seed)
    assert kept == [[]] * 4


@pytest.fixture
def redis_server(server_factory: Callable[..., Server]) -> Server:
    """A server of the test's own: the shared worker wouldn't outlive a change of roles."""
    return server_factory()


def promote(client: redis.Redis) -> None:
    """Give a server the identity of one that was promoted; its data stays, connections don't."""
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    client.execute_command("REPLICAOF", "NO", "ONE")
    client.client_kill_filter(_type="normal", skipme=True)


def test_i6_each_new_connection_asks_whose_the_log_is(redis_server: Server) -> None:
    store, other = (RedisStore(Link(redis_server.url(), 10.0), "ns") for _ in range(2))
    here = invalidate(store, "a")
    assert position(other) == here
    promote(redis_server.client())
    after = position(store)
    assert after.incarnation != here.incarnation
    assert position(other) == after, "it isn't begun anew by each"
    assert after.sequence > here.sequence


def test_i6_an_invalidation_asks_too(redis_server: Server) -> None:
    """Behind a proxy that hides the servers connections may stay."""
    store = RedisStore(Link(redis_server.url(), 10.0), "ns")
    here = position(store)
    client = redis_server.client()
    client.execute_command("REPLICAOF", "127.0.0.1", "1")
    client.execute_command("REPLICAOF", "NO", "ONE")
    assert invalidate(store, "a").incarnation != here.incarnation


def test_i6_a_log_of_version_0_1_is_begun_anew(redis_server: Server) -> None:
    client = redis_server.client()
    client.hset("ns:{log}:control", mapping={"incarnation": "old", "sequence": 3, "longest": 9})
    client.xadd("ns:{log}:stream", {"m": ""}, id="3-1")
    store = RedisStore(Link(redis_server.url(), 10.0), "ns")
    assert position(store).incarnation != "old"
    # It comes back with a process of 0.1 that finds none.
    client.delete("ns:{log}:control")
    client.hset("ns:{log}:control", mapping={"incarnation": "old", "sequence": 0})
    assert look(store).position is None
    assert position(store).incarnation != "old"


def test_i6_invalidations_of_version_0_1_count(redis_server: Server) -> None:
    """During a deployment: what its script does to the log."""
    client = redis_server.client()
    store = RedisStore(Link(redis_server.url(), 10.0), "ns")
    here = invalidate(store, "m")
    number = client.hincrby("ns:{log}:control", "sequence", 1)
    client.hset("ns:{log}:control", "m:m", client.eval("return KEYS[1] .. ' 9'", 1, str(number)))
    client.eval(
        "redis.call('XADD', KEYS[1], tonumber(ARGV[1]) .. '-1', 'm', '')",
        1,
        "ns:{log}:stream",
        number,
    )
    looked = look(store, "k", "m", since=here)
    assert looked.marks == {"m": number}
    assert [record.sequence for record in looked.records or ()] == [number]
    assert invalidate(store, "m").sequence > number
