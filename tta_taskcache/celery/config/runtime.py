"""The cache of one process, put together from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ...cache.engine import Engine, make_engine
from ...cache.lease_keeper import LeaseKeeper
from ...cache.parts import Parts
from ...cache.plan import Plan, T
from ...cache.plan import run as run_plan
from ...cache.single_flight import SingleFlight
from ...core.codec import Codecs
from ...core.events import Event, Evicted
from ...errors import StoreUnavailable
from ...observability.counters import Counters
from ...observability.logs import LogObserver
from ...observability.prometheus_metrics import metrics_of
from ...stores.breaker import Breaker, GuardedStore
from ...stores.connection import Link
from ...stores.l1_cache import L1Cache
from ...stores.memory_store import MemoryStore
from ...stores.protocol import Found, Store
from ...stores.redis_store import RedisStore
from ...stores.warming_store import WarmingStore
from .hot_call_recorder import HotCallRecorder
from .serializers import CODECS
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the layers above share.

    Attributes:
        settings: The settings.
        store: L2, or the memory of this process without Redis.
        engine: The cache.
        leases: The leases that this process holds.
        single_flight: The computations that callers in this process lead.
        warming_store: What warming keeps in the cache's Redis; None when no other process shares
            the cache.
        hot_calls: Counts which calls are requested most.
    """

    settings: Settings
    store: Store
    engine: Engine
    leases: LeaseKeeper
    single_flight: SingleFlight
    warming_store: WarmingStore | None
    hot_calls: HotCallRecorder

    @property
    def is_shared(self) -> bool:
        """Whether other processes have the same entries and leases."""
        return self.settings.url is not None

    @property
    def is_reachable(self) -> bool:
        """Whether there are shared totals, which can be reached as far as is known."""
        return isinstance(self.store, GuardedStore) and not self.store.breaker.is_open

    def run(self, plan: Plan[T]) -> T:
        """Drive a plan of the engine."""
        return run_plan(plan, self.store)

    def entries(self, pattern: str) -> Iterator[Found]:
        """The valid entries whose keys match a glob, each once, read batch by batch.

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
        """Add what was counted here to the shared totals, if they can be reached."""
        if isinstance(self.store, GuardedStore):
            # Past the breaker: a process that ends has no use for the news that Redis is gone.
            with suppress(StoreUnavailable):
                run_plan(self.engine.totals(), self.store.store)

    def observe(self, event: Event) -> None:
        """Tell the observers what happened."""
        self.engine.parts.observe(event)


def build(settings: Settings, codecs: Codecs = CODECS, counters: Counters | None = None) -> Runtime:
    """Put a runtime together. Connects to nothing yet.

    Args:
        settings: The settings.
        codecs: Serializers and compressors.
        counters: Where to go on counting, if not anew.

    Raises:
        ConfigurationError: The URL can't be read.
    """
    counters = Counters() if counters is None else counters
    log, metrics = LogObserver(), metrics_of(settings.metrics_namespace)

    def observe(event: Event) -> None:
        counters(event)
        metrics(event)
        log(event)

    l1 = L1Cache(settings.l1_max_entries, settings.l1_max_bytes, settings.l1_max_staleness)
    store: Store
    if settings.url is None:
        store = MemoryStore(settings.l1_max_entries, settings.l1_max_bytes)
        l1 = L1Cache(0, 0, 0.0)
    else:
        redis_store = RedisStore(
            Link(settings.url, settings.timeout),
            settings.namespace,
            replicas=settings.wait_replicas,
            patience=0.8 * settings.timeout,  # the reply is to come in time
        )
        store = GuardedStore(redis_store, Breaker(observe))
    memory = store.entries if isinstance(store, MemoryStore) else l1.entries
    memory.evicted = lambda count: observe(Evicted(count))
    metrics.watch(memory)
    engine = make_engine(
        Parts(
            l1=l1,
            codecs=codecs,
            observe=observe,
            counters=counters,
            secret=settings.secret.encode(),
            store_layer="l1" if settings.url is None else "l2",
            in_background=settings.url is not None,
        )
    )
    leases = LeaseKeeper(store, settings.lease_ttl, observe)
    engine.parts.abandon = leases.end
    warming_store = WarmingStore(store, settings.namespace) if settings.url is not None else None
    return Runtime(
        settings,
        store,
        engine,
        leases,
        SingleFlight(),
        warming_store,
        HotCallRecorder(warming_store),
    )
