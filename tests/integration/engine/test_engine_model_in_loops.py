"""The engine's model once more, over the driver and the stores of asyncio."""

from collections.abc import Callable

from tests.integration.engine.test_engine_model import run_machine
from tests.support.servers import Server
from tta_taskcache.cache.event_loops.async_driver import run_in_loop
from tta_taskcache.stores.connections.async_connection import AsyncLink
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.redis.async_redis_store import AsyncRedisStore
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.stores.wrappers.batching_store import BatchingStore
from tta_taskcache.testing import LoopThread


def test_i1_i2_i5_c1_c3_whatever_processes_do_in_loops(
    server_factory: Callable[..., Server],
) -> None:
    """The same plans, by the driver of asyncio, over its store."""
    server = server_factory()  # the shared worker wouldn't outlive a change of roles
    loops, url = LoopThread(), server.url()
    link, blocking = AsyncLink(url, 10.0), RedisStore(Link(url, 10.0), "ns")

    def make_store() -> BatchingStore:
        return BatchingStore(AsyncRedisStore(link, blocking, "ns"), lambda _key, _owner: None)

    try:
        run_machine(server, make_store, lambda plan, store: loops.run(run_in_loop(plan, store)))
    finally:
        loops.run(link.aclose())
        loops.close()
