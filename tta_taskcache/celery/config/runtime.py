"""The runtime: the cache of one process, built from the settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.engine.engine import Engine, make_engine
from ...cache.engine.parts import Parts
from ...cache.leases.lease_keeper import LeaseKeeper
from ...cache.leases.single_flight import SingleFlight
from ...cache.plan import Plan, T
from ...cache.plan import run as run_plan
from ...core.events import Event, Evicted
from ...core.record import record
from ...core.results.codec import Codecs
from ...errors import StoreUnavailable
from ...observability.counters import Counters
from ...observability.event_feed import EventFeed
from ...observability.metrics.deferred_metrics import deferred_metrics_of
from ...observability.observers import Observers
from ...semantic.neighbour_lookup import NeighbourLookup
from ...semantic.neighbours import make_neighbours
from ...stores.connections.connection import Link
from ...stores.memory.l1_cache import L1Cache
from ...stores.memory.memory_store import MemoryStore
from ...stores.protocol import Found, Store
from ...stores.redis.redis_store import RedisStore
from ...stores.redis.warming_store import WarmingStore
from ...stores.wrappers.breaker import Breaker, GuardedStore
from .hot_call_recorder import HotCallRecorder
from .serializers import CODECS
from .settings import Settings


@record
class Runtime:
    """The cache of one process, which the layers above share.

    Attributes:
        settings: The settings.
        is_shared: Whether other processes have the same entries and leases.
        store: L2, or the memory of this process without Redis.
        engine: The engine.
        leases: The leases that this process holds.
        single_flight: The computations that callers in this process lead.
        warming_store: What warming keeps in the cache's Redis; None when no other process shares
            the cache.
        hot_calls: Recorder of the most requested calls.
        observers: The user's observers.
        neighbours: Finds stored calls with nearly the same text (``cache_semantic``).
    """

    settings: Settings
    is_shared: bool
    store: Store
    engine: Engine
    leases: LeaseKeeper
    single_flight: SingleFlight
    warming_store: WarmingStore | None
    hot_calls: HotCallRecorder
    observers: Observers
    neighbours: NeighbourLookup

    @property
    def is_reachable(self) -> bool:
        """Whether the store has shared totals, and its circuit is closed."""
        return isinstance(self.store, GuardedStore) and not self.store.breaker.is_open

    def run(self, plan: Plan[T]) -> T:
        """Run a plan of the engine against the store."""
        return run_plan(plan, self.store)

    def entries(self, pattern: str) -> Iterator[Found]:
        """Yield the valid entries whose keys match a glob, each once, read batch by batch.

        Raises:
            StoreUnavailable: The store can't be read.
        """
        seen: set[str] = set()
        cursor = ""
        while True:
            batch = self.run(self.engine.scan(pattern, cursor))
            for item in batch.found:
                if item.entry.key not in seen:
                    seen.add(item.entry.key)
                    yield item
            cursor = batch.cursor
            if not cursor:
                return

    def hand_over_counts(self) -> None:
        """Add this process's counts to the shared totals, if the store can be reached."""
        if isinstance(self.store, GuardedStore):
            # Past the breaker: a process that ends needs no warning that Redis can't be reached.
            with suppress(StoreUnavailable):
                run_plan(self.engine.totals(), self.store.store)

    def observe(self, event: Event) -> None:
        """Send an event to the observers."""
        self.engine.parts.observe(event)


def build(
    settings: Settings,
    codecs: Codecs = CODECS,
    counters: Counters | None = None,
    clock: Callable[[], float] = monotonic,
) -> Runtime:
    """Build a runtime. Connects to nothing yet.

    Args:
        settings: The settings.
        codecs: Serializers and compressors.
        counters: Counters to go on with; None for new ones.
        clock: Monotonic seconds, by which entries in this process's memory expire.

    Raises:
        ConfigurationError: The URL is wrong, or an observer needs what isn't installed.
    """
    counters = Counters() if counters is None else counters
    metrics = deferred_metrics_of(settings.metrics_namespace)
    observers = Observers(settings.observers, passes=(SoftTimeLimitExceeded,))
    observe = EventFeed(counters, metrics, observers)
    l1 = L1Cache(settings.l1_max_entries, settings.l1_max_bytes, settings.l1_max_staleness)
    store: Store
    log: object = object()
    if settings.url is None:
        store = MemoryStore(settings.l1_max_entries, settings.l1_max_bytes, clock)
        l1 = L1Cache(0, 0, 0.0)
    else:
        redis_store = RedisStore(
            Link(settings.url, settings.timeout),
            settings.namespace,
            replicas=settings.wait_replicas,
            patience=0.8 * settings.timeout,  # the reply is to come in time
        )
        store = GuardedStore(redis_store, Breaker(observe))
        log = redis_store.log
    memory = store.entries if isinstance(store, MemoryStore) else l1.entries
    memory.evicted = lambda count: observe(Evicted(count))
    metrics.watch(memory)
    engine = make_engine(
        Parts(
            l1=l1,
            log=log,
            codecs=codecs,
            observe=observe,
            counters=counters,
            secret=settings.secret.encode(),
            store_layer="l1" if settings.url is None else "l2",
            in_background=settings.url is not None,
            clock=clock,
            trace=observers.current_trace,
            count_hit=observe.count_hit,
        )
    )
    leases = LeaseKeeper(store, settings.lease_ttl, observe)
    engine.parts.abandon = leases.end
    warming_store = WarmingStore(store, settings.namespace) if settings.url is not None else None
    return Runtime(
        settings,
        settings.url is not None,
        store,
        engine,
        leases,
        SingleFlight(),
        warming_store,
        HotCallRecorder(warming_store),
        observers,
        NeighbourLookup(
            make_neighbours(
                engine.parts,
                engine.reader,
                settings.namespace if settings.url is not None else None,
            )
        ),
    )
