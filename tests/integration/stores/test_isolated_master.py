"""A master that was cut off from its Sentinels and replicas goes on answering its clients.

Whoever only reads learns of the new master within seconds, too (I1).
"""

from collections.abc import Callable, Iterator

import pytest

from tests.support.members import Sentinel, admin
from tests.support.servers import Server
from tests.support.topologies import SentinelServers
from tests.support.waiting import wait_until
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.stores.connections.async_connection import AsyncLink
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.protocol import Store
from tta_taskcache.stores.redis.async_redis_store import AsyncRedisStore
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.testing import InLoop, LoopThread
from tta_taskcache.testing.contract import look, position

pytestmark = pytest.mark.one_server_kind

#: What Sentinels and replicas use, and clients don't.
THEIRS = ("ping", "info", "publish", "psync", "sync", "replicaof", "slaveof")

#: Seconds for a question to the Sentinels, on a busy machine.
PATIENCE = 15


def store_of(url: str) -> RedisStore:
    return RedisStore(Link(url, 5.0), "ns")


def isolate(master: Server) -> None:
    """Cut a master off from its Sentinels and replicas, and from nobody else."""
    client = admin(master)
    client.execute_command("ACL", "SETUSER", "default", *(f"-{name}" for name in THEIRS))
    client.execute_command("CLIENT", "KILL", "TYPE", "replica")


@pytest.fixture(params=["threads", "loops"])
def reader(request: pytest.FixtureRequest, sentinel_servers: SentinelServers) -> Iterator[Store]:
    """Whoever only reads, from threads or from a loop."""
    blocking = store_of(sentinel_servers.url)
    if request.param == "threads":
        yield blocking
        return
    loops, link = LoopThread(), AsyncLink(sentinel_servers.url, 5.0)
    yield InLoop(AsyncRedisStore(link, blocking, "ns"), loops)
    loops.run(link.aclose())
    loops.close()


def test_i1_who_only_reads_leaves_an_isolated_master(
    sentinel_servers: SentinelServers, reader: Store
) -> None:
    old = sentinel_servers.master
    before = position(reader)
    try:
        sentinel_servers.lose_master(isolate)
        after = position(store_of(sentinel_servers.url))
        assert after.incarnation != before.incarnation, "the new master's log is another"

        def has_left() -> bool:
            try:
                return look(reader).position == after
            except StoreUnavailable:
                return False

        wait_until(has_left, timeout=PATIENCE, what="an end of reads from the old master")
        incarnation = admin(old).hget("ns:{log}:control", "incarnation")
        assert incarnation == before.incarnation.encode(), "it would have gone on"
    finally:
        admin(old).execute_command("ACL", "SETUSER", "default", "+@all")


def test_i1_a_sentinel_that_was_cut_off_too_is_not_believed(
    sentinel_servers: SentinelServers, server_factory: Callable[..., Server]
) -> None:
    sentinel_servers.failover()  # the new master has a higher epoch
    old = server_factory()
    apart = Sentinel(sentinel_servers.kind, sentinel_servers.service, old.port, 1)
    try:
        url = sentinel_servers.url.replace("//", f"//127.0.0.1:{apart.port},", 1)
        store = store_of(url)
        here = position(store)
        assert admin(old).dbsize() == 0
        control = admin(sentinel_servers.master).hget("ns:{log}:control", "incarnation")
        assert control == here.incarnation.encode()
    finally:
        apart.stop()
