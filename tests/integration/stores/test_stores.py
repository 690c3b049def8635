"""Every store keeps the contract."""

from collections.abc import Callable

import pytest

from tests.integration.stores.redis_stores import guarded, keep_log, redis_store, waiting
from tests.support.servers import Server
from tests.support.topologies import ClusterServers, SentinelServers
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import (
    Store,
)
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.testing import FakeClock, FaultyStore, StoreContract

pytestmark = pytest.mark.every_server_kind


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        return MemoryStore(10_000, 10_000_000, clock)


class TestGuardedMemoryStore(TestMemoryStore):
    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        return guarded(MemoryStore(10_000, 10_000_000, clock))


class TestFaultyMemoryStore(TestMemoryStore):
    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        return FaultyStore(MemoryStore(10_000, 10_000_000, clock))


class TestRedisStore(StoreContract):
    @pytest.fixture
    def store(self, redis_server: Server) -> Store:
        return redis_store(redis_server)

    @pytest.fixture
    def other(self, redis_server: Server) -> Store:
        return redis_store(redis_server)

    @pytest.fixture
    def advance(self, redis_server: Server) -> Callable[[float], None]:
        return waiting(redis_server.client())

    @pytest.fixture
    def rewind(self, redis_server: Server) -> Callable[[], Callable[[], None]]:
        return lambda: keep_log(redis_server.client())


class TestGuardedRedisStore(TestRedisStore):
    """With both wrappers."""

    @pytest.fixture
    def store(self, redis_server: Server) -> Store:
        return guarded(FaultyStore(redis_store(redis_server)))


@pytest.mark.one_server_kind
class TestClusterStore(StoreContract):
    @pytest.fixture
    def store(self, cluster_servers: ClusterServers) -> Store:
        return RedisStore(Link(cluster_servers.url, 10.0), "ns")

    @pytest.fixture
    def other(self, cluster_servers: ClusterServers) -> Store:
        return RedisStore(Link(cluster_servers.url, 10.0), "ns")

    @pytest.fixture
    def advance(self, cluster_servers: ClusterServers) -> Callable[[float], None]:
        return waiting(cluster_servers.primaries[0].client())


@pytest.mark.one_server_kind
class TestSentinelStore(StoreContract):
    @pytest.fixture
    def store(self, sentinel_servers: SentinelServers) -> Store:
        return RedisStore(Link(sentinel_servers.url, 10.0), "ns")

    @pytest.fixture
    def other(self, sentinel_servers: SentinelServers) -> Store:
        return RedisStore(Link(sentinel_servers.url, 10.0), "ns")

    @pytest.fixture
    def advance(self, sentinel_servers: SentinelServers) -> Callable[[float], None]:
        return waiting(sentinel_servers.master.client())
