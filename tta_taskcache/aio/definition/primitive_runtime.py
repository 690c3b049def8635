"""The cache of one primitive: its engine, store and counters."""

from __future__ import annotations

from typing import Any

from ...cache.engine.engine import Engine, make_engine
from ...cache.engine.parts import Parts
from ...cache.event_loops.async_cache import AsyncCache, InProcess
from ...cache.leases.lease_keeper import LeaseKeeper
from ...cache.leases.single_flight import SingleFlight
from ...cache.plan import Plan, T
from ...cache.plan import run as run_plan
from ...core.events import Evicted
from ...core.record import record
from ...observability.counters import Counters
from ...observability.event_feed import EventFeed
from ...observability.metrics.prometheus_metrics import metrics_of
from ...semantic.neighbour_lookup import NeighbourLookup
from ...semantic.neighbours import make_neighbours
from ...stores.connections.async_connection import AsyncLink
from ...stores.connections.connection import Link
from ...stores.connections.deadline import within
from ...stores.memory.bounded_map import BoundedMap
from ...stores.memory.l1_cache import L1Cache
from ...stores.memory.memory_store import MemoryStore
from ...stores.protocol import AsyncStore, Store
from ...stores.redis.async_redis_store import AsyncRedisStore
from ...stores.redis.redis_store import RedisStore
from ...stores.wrappers.breaker import AsyncGuardedStore, Breaker, GuardedStore
from .primitive_options import CODECS, CachePlace


@record
class PrimitiveRuntime:
    """The cache of one primitive.

    Attributes:
        engine: The engine.
        cache: Runs the engine's plans in event loops.
        blocking: The store for callers that block.
        counters: The counts of this process.
        neighbours: Finds stored calls with nearly the same text (``semantic``).
    """

    engine: Engine
    cache: AsyncCache
    blocking: Store
    counters: Counters
    neighbours: NeighbourLookup

    def run(self, plan: Plan[T], seconds: float) -> T:
        """Run a plan, blocking for at most so many seconds for each command."""
        with within(seconds):
            return run_plan(plan, self.blocking)


def build_runtime(place: CachePlace) -> PrimitiveRuntime:
    """Make the cache of a primitive, without connecting yet.

    Raises:
        ConfigurationError: The URL can't be read.
    """
    counters = Counters()
    metrics = metrics_of(place.metrics_namespace)
    observe = EventFeed(counters, metrics)
    link: AsyncLink | None = None
    entries: BoundedMap[Any]
    blocking: Store
    store: AsyncStore
    log: object = object()
    if place.url is None:
        memory = MemoryStore(place.max_size, place.max_bytes)
        l1, entries = L1Cache(0, 0, 0.0), memory.entries
        blocking, store = memory, InProcess(memory)
    else:
        l1 = L1Cache(place.max_size, place.max_bytes, place.max_staleness)
        entries = l1.entries
        waiting: Any = {"replicas": place.wait_replicas, "patience": 0.8 * place.timeout}
        redis_store = RedisStore(Link(place.url, place.timeout), place.namespace, **waiting)
        link, log = AsyncLink(place.url, place.timeout), redis_store.log
        # With a circuit breaker of its own: blocking callers wait less for a slow Redis.
        blocking = GuardedStore(redis_store, Breaker(observe))
        store = AsyncGuardedStore(
            AsyncRedisStore(link, redis_store, place.namespace, **waiting), Breaker(observe)
        )
    entries.evicted = lambda count: observe(Evicted(count))
    metrics.watch(entries)
    engine = make_engine(
        Parts(
            l1=l1,
            log=log,
            codecs=CODECS,
            observe=observe,
            counters=counters,
            secret=place.secret.encode(),
            store_layer="l1" if place.url is None else "l2",
            count_hit=observe.count_hit,
        )
    )
    leases = LeaseKeeper(blocking, place.lease_ttl, observe)
    engine.parts.abandon = leases.end
    cache = AsyncCache(engine, SingleFlight(), store, leases, link=link)
    shared_in = None if place.url is None else place.namespace
    neighbours = NeighbourLookup(make_neighbours(engine.parts, engine.reader, shared_in))
    return PrimitiveRuntime(engine, cache, blocking, counters, neighbours)
