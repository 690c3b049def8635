"""The stores of asyncio keep the contract: one server, Sentinel and cluster; wrapped or not."""

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.integration.stores.test_stores import keep_log, waiting
from tests.support.counting import round_trips
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.topologies import ClusterServers, SentinelServers
from tta_taskcache.core.entries.entry import pack
from tta_taskcache.core.entries.lease import Claim, Stage
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.stores.connections.async_connection import AsyncLink
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.protocol import Count, Fill, Look, Poll, SetMarks, Store, StoreReply
from tta_taskcache.stores.redis.async_redis_store import AsyncRedisStore
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.stores.wrappers.batching_store import MOST_LOOKS, BatchingStore
from tta_taskcache.stores.wrappers.breaker import AsyncGuardedStore, Breaker
from tta_taskcache.testing import InLoop, LoopThread, StoreContract, make_entry
from tta_taskcache.testing.contract import position


def async_store(url: str, timeout: float = 10.0) -> AsyncRedisStore:
    blocking = RedisStore(Link(url, timeout), "ns")
    return AsyncRedisStore(AsyncLink(url, timeout), blocking, "ns")


@pytest.fixture
def loops() -> Iterator[LoopThread]:
    thread = LoopThread()
    yield thread
    thread.close()


@pytest.fixture
def make_store(loops: LoopThread) -> Iterator[Callable[..., AsyncRedisStore]]:
    made: list[AsyncRedisStore] = []

    def make(url: str, timeout: float = 10.0) -> AsyncRedisStore:
        made.append(async_store(url, timeout))
        return made[-1]

    yield make
    for store in made:
        loops.run(store.link.aclose())


Make = Callable[..., AsyncRedisStore]


class AsyncContract(StoreContract):
    @pytest.fixture
    def url(self) -> str:
        raise NotImplementedError

    @pytest.fixture
    def store(self, url: str, make_store: Make, loops: LoopThread) -> Store:
        return InLoop(make_store(url), loops)

    @pytest.fixture
    def other(self, url: str) -> Store:
        """What the blocking store sees is the same."""
        return RedisStore(Link(url, 10.0), "ns")


class TestAsyncRedisStore(AsyncContract):
    @pytest.fixture
    def url(self, redis_server: Server) -> str:
        return redis_server.url()

    @pytest.fixture
    def advance(self, redis_server: Server) -> Callable[[float], None]:
        return waiting(redis_server.client())

    @pytest.fixture
    def rewind(self, redis_server: Server) -> Callable[[], Callable[[], None]]:
        return lambda: keep_log(redis_server.client())


class TestBatchingStore(TestAsyncRedisStore):
    """With both wrappers."""

    @pytest.fixture
    def store(self, url: str, make_store: Make, loops: LoopThread) -> Store:
        guarded = AsyncGuardedStore(make_store(url), Breaker(lambda _: None))
        return InLoop(BatchingStore(guarded, lambda _key, _owner: None), loops)


class TestAsyncClusterStore(AsyncContract):
    @pytest.fixture
    def url(self, cluster_servers: ClusterServers) -> str:
        return cluster_servers.url

    @pytest.fixture
    def advance(self, cluster_servers: ClusterServers) -> Callable[[float], None]:
        return waiting(cluster_servers.primaries[0].client())


class TestAsyncSentinelStore(AsyncContract):
    @pytest.fixture
    def url(self, sentinel_servers: SentinelServers) -> str:
        return sentinel_servers.url

    @pytest.fixture
    def advance(self, sentinel_servers: SentinelServers) -> Callable[[float], None]:
        return waiting(sentinel_servers.master.client())


# Batches


def claim(owner: str) -> Claim:
    return Claim(owner=owner, stage=Stage.RUNNING, ttl=5.0)


@pytest.fixture
def own_server(server_factory: Callable[..., Server]) -> Server:
    """A server that nobody else asks: its round trips are counted."""
    return server_factory()


@pytest.fixture
def batching(own_server: Server, make_store: Make) -> BatchingStore:
    return BatchingStore(make_store(own_server.url()), lambda _key, _owner: None)


def test_r3_looks_made_at_once_are_one_round_trip(
    batching: BatchingStore, own_server: Server, loops: LoopThread
) -> None:
    store = InLoop(batching, loops)
    born = position(store)
    for i in range(MOST_LOOKS):
        store.execute(Fill(f"k{i}", pack(make_entry(f"k{i}", born, b"%d" % i)), 60.0))

    async def look() -> list[StoreReply]:
        looks = (batching.execute(Look(f"k{i}", ())) for i in range(MOST_LOOKS))
        return list(await asyncio.gather(*looks))  # type: ignore[arg-type]

    with round_trips(own_server) as trips:
        replies = loops.run(look())
    assert trips.count == 1
    assert all(reply.frame for reply in replies)
    assert len({reply.frame for reply in replies}) == MOST_LOOKS


def test_r3_polls_made_at_once_are_one_round_trip(
    batching: BatchingStore, own_server: Server, loops: LoopThread
) -> None:
    store = InLoop(batching, loops)
    since = position(store)
    store.execute(SetMarks(("task:t",)))

    async def poll() -> list[StoreReply]:
        polls = (batching.execute(Poll(since, {"hits": 1.0})) for _ in range(1_000))
        return list(await asyncio.gather(*polls))  # type: ignore[arg-type]

    with round_trips(own_server) as trips:
        replies = loops.run(poll())
    assert trips.count == 1
    assert all(reply.records for reply in replies)
    assert store.execute(Count({})) == {"hits": 1_000.0}


def test_c1_of_equal_claims_made_at_once_one_leads(
    batching: BatchingStore, own_server: Server, loops: LoopThread
) -> None:
    position(InLoop(batching, loops))

    async def look() -> list[StoreReply]:
        looks = (batching.execute(Look("k", (), claim=claim(f"o{i}"))) for i in range(1_000))
        return list(await asyncio.gather(*looks))  # type: ignore[arg-type]

    with round_trips(own_server) as trips:
        leases = [reply.lease for reply in loops.run(look())]
    assert trips.count == 1
    assert [lease.owner for lease in leases if lease and lease.is_ours] == ["o0"]
    assert sum(bool(lease and lease.is_followed) for lease in leases) == 999


def test_c3_the_lease_of_who_is_cancelled_meanwhile_is_given_up(
    redis_server: Server, make_store: Make, loops: LoopThread
) -> None:
    given_up: list[tuple[str, str]] = []
    store = BatchingStore(
        make_store(redis_server.url()), lambda key, owner: given_up.append((key, owner))
    )
    position(InLoop(store, loops))

    async def look() -> StoreReply:
        first = asyncio.ensure_future(store.execute(Look("k", (), claim=claim("a"))))
        second = asyncio.ensure_future(store.execute(Look("k", (), claim=claim("b"))))
        await asyncio.sleep(0)
        first.cancel()
        reply = await second
        assert isinstance(reply, StoreReply)
        return reply

    lease = loops.run(look()).lease
    assert lease is not None
    assert lease.is_followed
    assert given_up == [("k", "a")]


# Faults


@pytest.fixture
def proxy(redis_server: Server) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


def test_f5_a_command_ends_at_its_deadline(
    proxy: Proxy, make_store: Make, loops: LoopThread
) -> None:
    store = InLoop(make_store(proxy.url(), 0.2), loops)
    position(store)
    proxy.freeze()
    with pytest.raises(StoreUnavailable):
        position(store)
    proxy.thaw()
    position(store)


def test_f3_a_cancelled_command_leaves_no_reply_for_others(
    redis_server: Server, make_store: Make, loops: LoopThread
) -> None:
    store = make_store(redis_server.url())
    blocking = InLoop(store, loops)
    born = position(blocking)
    for name in "ab":
        blocking.execute(Fill(name, pack(make_entry(name, born, name.encode())), 60.0))

    async def look() -> None:
        for turns in range(60):
            cancelled = asyncio.ensure_future(store.execute(Look("a", ())))
            for _ in range(turns % 6):
                await asyncio.sleep(0)
            cancelled.cancel()
            reply = await store.execute(Look("b", ()))
            assert isinstance(reply, StoreReply)
            assert reply.frame is not None
            assert reply.frame.endswith(b"b")

    loops.run(look())


def test_each_loop_has_connections_of_its_own(redis_server: Server, make_store: Make) -> None:
    store = make_store(redis_server.url())
    threads = [LoopThread(), LoopThread()]

    async def look() -> int:
        await store.execute(Look("k", ()))
        return id(store.link.client)

    assert len({thread.run(look()) for thread in threads}) == 2
    for thread in threads:
        thread.run(store.link.aclose())
        thread.close()
