"""Result caching for Celery: a call with the same meaning returns its stored result.

``@app.task(base=CachedTask, cache_ttl=3600)`` is all it takes on an app whose results are in Redis.
"""

from .celery.api.cached_task import CachedTask
from .celery.api.task_cache import TaskCache
from .celery.api.task_handle import MISSING, Explanation
from .celery.calls.status import CacheStatus
from .celery.canvas import group_prefetch
from .celery.patches import task_decorator
from .celery.warming.schedules import Invalidate
from .core.warm_policy import Warm
from .errors import (
    CacheMiss,
    ConfigurationError,
    MissingContext,
    StoreUnavailable,
    TaskCacheError,
    UncacheableCall,
)
from .observability.counters import Stats

task_decorator.install()
group_prefetch.install()

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
