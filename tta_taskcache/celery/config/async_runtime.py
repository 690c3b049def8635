"""The cache of one process as event loops have it: the same engine, memory and keys."""

from __future__ import annotations

from ...cache.event_loops.async_cache import AsyncCache, InProcess
from ...stores.connections.async_connection import AsyncLink
from ...stores.protocol import AsyncStore
from ...stores.redis.async_redis_store import AsyncRedisStore
from ...stores.redis.redis_store import RedisStore
from ...stores.wrappers.breaker import AsyncGuardedStore, GuardedStore
from .runtime import Runtime


def build_async_cache(runtime: Runtime) -> AsyncCache:
    """Make a runtime's cache for loops. Connects to nothing yet."""
    settings, guarded = runtime.settings, runtime.store
    store: AsyncStore = InProcess(guarded)
    link: AsyncLink | None = None
    if isinstance(guarded, GuardedStore) and isinstance(guarded.store, RedisStore):
        link = AsyncLink(settings.url or "", settings.timeout)
        redis_store = AsyncRedisStore(
            link,
            guarded.store,
            settings.namespace,
            replicas=settings.wait_replicas,
            patience=0.8 * settings.timeout,
        )
        # One circuit: what threads find of Redis holds for loops.
        store = AsyncGuardedStore(redis_store, guarded.breaker)
    return AsyncCache(runtime.engine, runtime.single_flight, store, runtime.leases, link=link)
