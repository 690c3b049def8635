"""Result caching for Celery: a call with the same meaning returns its stored result.

``@app.task(base=CachedTask, cache_ttl=3600)`` is all it takes on an app whose results are in Redis.

Importing this package imports no Celery: each name is loaded when it is first used. Celery's
command line imports it in every project of an environment, to offer ``celery cache``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .aio.definition.workflow_context import WorkflowContext
    from .aio.primitives.cache_primitive import CachePrimitive
    from .aio.primitives.cached import cached
    from .aio.primitives.fallback_primitive import FallbackPrimitive
    from .aio.primitives.router_primitive import RouterPrimitive
    from .cache.cache_status import CacheStatus as CacheStatus
    from .cache.runs.current_run import cache_control, cache_previous
    from .celery.api.cached_task import CachedTask
    from .celery.api.explanation import Explanation as Explanation
    from .celery.api.task_cache import TaskCache
    from .celery.api.task_definition import cached_task
    from .celery.warming.schedules import Invalidate
    from .core.results.missing import MISSING
    from .core.results.not_modified import NOT_MODIFIED
    from .core.semantic.semantic_policy import Semantic
    from .core.warm_policy import Warm
    from .errors import (
        CacheError,
        CacheMiss,
        ConfigurationError,
        MissingContext,
        StoreUnavailable,
        TaskCacheError,
        UncacheableCall,
    )
    from .observability.counters import Stats as Stats

#: Modules by the names that they define.
_MODULES = {
    "MISSING": ".core.results.missing",
    "NOT_MODIFIED": ".core.results.not_modified",
    "CacheError": ".errors",
    "CacheMiss": ".errors",
    "CachePrimitive": ".aio.primitives.cache_primitive",
    "CacheStatus": ".cache.cache_status",
    "CachedTask": ".celery.api.cached_task",
    "ConfigurationError": ".errors",
    "Explanation": ".celery.api.explanation",
    "FallbackPrimitive": ".aio.primitives.fallback_primitive",
    "Invalidate": ".celery.warming.schedules",
    "MissingContext": ".errors",
    "Semantic": ".core.semantic.semantic_policy",
    "RouterPrimitive": ".aio.primitives.router_primitive",
    "Stats": ".observability.counters",
    "StoreUnavailable": ".errors",
    "TaskCache": ".celery.api.task_cache",
    "TaskCacheError": ".errors",
    "UncacheableCall": ".errors",
    "Warm": ".core.warm_policy",
    "WorkflowContext": ".aio.definition.workflow_context",
    "cache_control": ".cache.runs.current_run",
    "cache_previous": ".cache.runs.current_run",
    "cached": ".aio.primitives.cached",
    "cached_task": ".celery.api.task_definition",
}

#: The types of what methods return (`CacheStatus`, `Explanation`, `Stats`) can be imported, too.
__all__ = [
    "MISSING",
    "NOT_MODIFIED",
    "CacheError",
    "CacheMiss",
    "CachePrimitive",
    "CachedTask",
    "ConfigurationError",
    "FallbackPrimitive",
    "Invalidate",
    "MissingContext",
    "RouterPrimitive",
    "Semantic",
    "StoreUnavailable",
    "TaskCache",
    "TaskCacheError",
    "UncacheableCall",
    "Warm",
    "WorkflowContext",
    "cache_control",
    "cache_previous",
    "cached",
    "cached_task",
]


def __getattr__(name: str) -> Any:
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(module, __name__), name)
    if name in ("CachedTask", "TaskCache", "cached_task"):  # with any, an app has a cache
        import_module(".celery.api.setup.installation", __name__).install()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
