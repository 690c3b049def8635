"""The cache of one process, put together from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from ..cache.engine import Engine
from ..cache.flights import Flights
from ..cache.leases import Leases
from ..cache.plan import Plan, T
from ..cache.plan import run as run_plan
from ..core.codec import Codecs
from ..core.events import Event, Evicted
from ..errors import StoreUnavailable
from ..observability.counters import Counters
from ..observability.deferred_metrics import deferred_metrics_of
from ..observability.logs import LogObserver
from ..stores.breaker import Breaker, GuardedStore
from ..stores.connection import Link
from ..stores.memory import MemoryStore
from ..stores.near import Near
from ..stores.protocol import Found, Store
from ..stores.redis import RedisStore
from .serializers import CODECS
from .settings import Settings


@dataclass(frozen=True, slots=True)
class Runtime:
    """Settings, store and engine, and the computations that this process leads."""

    settings: Settings
    store: Store
    engine: Engine
    leases: Leases
    flights: Flights

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
        self.engine.observe(event)


def build(settings: Settings, codecs: Codecs = CODECS) -> Runtime:
    """Put a runtime together. Connects to nothing yet.

    Raises:
        ConfigurationError: The URL can't be read.
    """
    counters, log, metrics = (
        Counters(),
        LogObserver(),
        deferred_metrics_of(settings.metrics_namespace),
    )

    def observe(event: Event) -> None:
        counters(event)
        metrics(event)
        log(event)

    near = Near(settings.l1_max_entries, settings.l1_max_bytes, settings.l1_max_staleness)
    store: Store
    if settings.url is None:
        store = MemoryStore(settings.l1_max_entries, settings.l1_max_bytes)
        near = Near(0, 0, 0.0)
    else:
        redis_store = RedisStore(
            Link(settings.url, settings.timeout),
            settings.namespace,
            replicas=settings.wait_replicas,
            patience=settings.timeout,
        )
        store = GuardedStore(redis_store, Breaker(observe))
    memory = store.entries if isinstance(store, MemoryStore) else near.entries
    memory.evicted = lambda count: observe(Evicted(count))
    metrics.watch(memory)
    engine = Engine(
        near=near,
        codecs=codecs,
        observe=observe,
        counters=counters,
        secret=settings.secret.encode(),
        far_layer="l1" if settings.url is None else "l2",
        in_background=settings.url is not None,
    )
    leases = Leases(
        lambda holdings: run_plan(engine.renew(holdings, settings.lease_ttl), store),
        lambda key, owner: run_plan(engine.release(key, owner), store),
        settings.lease_ttl,
        observe,
    )
    engine.abandon = leases.end
    return Runtime(settings, store, engine, leases, Flights())
