"""Result caching for Celery: a call with the same meaning returns its stored result.

``@app.task(base=CachedTask, cache_ttl=3600)`` is all it takes on an app whose results are in Redis.
"""

from .celery import ahead, definition, pending_results
from .celery.app import TaskCache
from .celery.handle import MISSING, Explanation
from .celery.schedules import Invalidate
from .celery.status import CacheStatus
from .celery.task import CachedTask
from .core.warm import Warm
from .errors import (
    CacheMiss,
    ConfigurationError,
    MissingContext,
    StoreUnavailable,
    TaskCacheError,
    UncacheableCall,
)
from .observability.counters import Stats

definition.install()
ahead.install()
pending_results.install()

__all__ = [
    "MISSING",
    "CacheMiss",
    "CacheStatus",
    "CachedTask",
    "ConfigurationError",
    "Explanation",
    "Invalidate",
    "MissingContext",
    "Stats",
    "StoreUnavailable",
    "TaskCache",
    "TaskCacheError",
    "UncacheableCall",
    "Warm",
]
