"""The public names as type checkers see them.

``CachedTask`` is generic over parameters and result, as ``Task`` of celery-types is; without
celery-types it is as untyped as Celery. A test compares this file with the code.
"""

from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta
from typing import (
    Any,
    Concatenate,
    Generic,
    Literal,
    TypeAlias,
    TypedDict,
    Unpack,
    overload,
)

import kombu
from celery import Celery, Task
from celery.canvas import Signature
from celery.result import AsyncResult
from typing_extensions import ParamSpec, TypeVar

from .aio.definition.workflow_context import WorkflowContext as WorkflowContext
from .aio.primitives.cache_primitive import CachePrimitive as CachePrimitive
from .aio.primitives.cached import cached as cached
from .aio.primitives.fallback_primitive import FallbackPrimitive as FallbackPrimitive
from .aio.primitives.router_primitive import RouterPrimitive as RouterPrimitive
from .cache.cache_status import CacheStatus as CacheStatus
from .cache.runs.current_run import cache_control as cache_control
from .cache.runs.current_run import cache_previous as cache_previous
from .celery.api.explanation import Explanation as Explanation
from .celery.api.task_cache import TaskCache as TaskCache
from .celery.warming.schedules import Invalidate as Invalidate
from .celery.warming.warm_progress import WarmReport as _WarmReport
from .core.results.missing import MISSING as MISSING
from .core.results.missing import Missing as _Missing
from .core.results.not_modified import NOT_MODIFIED as NOT_MODIFIED
from .core.semantic.semantic_policy import Semantic as Semantic
from .core.warm_policy import Warm as Warm
from .errors import CacheError as CacheError
from .errors import CacheMiss as CacheMiss
from .errors import ConfigurationError as ConfigurationError
from .errors import MissingContext as MissingContext
from .errors import StoreUnavailable as StoreUnavailable
from .errors import TaskCacheError as TaskCacheError
from .errors import UncacheableCall as UncacheableCall
from .observability.counters import Stats as Stats

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

# The defaults are for ``class Report(CachedTask)``, without parameters.
_P = ParamSpec("_P", default=...)
_R = TypeVar("_R", default=Any)
_Mode: TypeAlias = Literal["use", "refresh", "bypass", "only", "no-store"]
_Site: TypeAlias = Literal["producer", "consumer", "pool"]
_Sites: TypeAlias = tuple[_Site, ...] | list[_Site] | set[_Site] | frozenset[_Site]
# And no string, which is a collection of strings, too.
_Names: TypeAlias = tuple[str, ...] | list[str] | set[str] | frozenset[str]

class _CachedResult(AsyncResult[_R]):
    """What a cached task's ``delay`` and ``apply_async`` return."""

    cache_status: CacheStatus

class _SignatureOptions(TypedDict, total=False):
    """Options of ``signature.set``: the cache's, and Celery's."""

    cache: _Mode | None
    task_id: str | None
    producer: kombu.Producer | None
    link: Signature[Any] | None
    link_error: Signature[Any] | None
    shadow: str | None
    countdown: float
    eta: datetime | None
    expires: float | datetime
    retry: bool
    retry_policy: Mapping[str, Any]
    queue: str | kombu.Queue
    exchange: str | kombu.Exchange
    routing_key: str
    priority: int
    serializer: str
    compression: str
    add_to_parent: bool
    publisher: kombu.Producer
    headers: dict[str, str]

class _CachedSignature(Signature[_R]):
    """What a cached task's ``s`` and ``si`` return."""

    def set(
        self, immutable: bool | None = ..., **options: Unpack[_SignatureOptions]
    ) -> _CachedSignature[_R]: ...
    def delay(self, *partial_args: Any, **partial_kwargs: Any) -> _CachedResult[_R]: ...
    def apply_async(
        self,
        args: tuple[Any, ...] | None = ...,
        kwargs: dict[str, Any] | None = ...,
        route_name: str | None = ...,
        **options: Any,
    ) -> _CachedResult[_R]: ...

class _TaskHandle(Generic[_P, _R]):
    """``task.cache``."""

    def key(self, /, *args: _P.args, **kwargs: _P.kwargs) -> str: ...
    def get(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R | _Missing: ...
    def set(self, value: _R, /, *args: _P.args, **kwargs: _P.kwargs) -> bool: ...
    def call(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def invalidate(self, /, *args: _P.args, **kwargs: _P.kwargs) -> None: ...
    async def aget(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R | _Missing: ...
    async def acall(self, /, *args: _P.args, **kwargs: _P.kwargs) -> _R: ...
    def explain(self, /, *args: _P.args, **kwargs: _P.kwargs) -> Explanation: ...
    def clear(self) -> None: ...
    def warm(
        self,
        calls: Any = ...,
        *,
        hot: int | None = ...,
        rate: float | None = ...,
        in_flight: int = ...,
        queue: str | None = ...,
        priority: int | None = ...,
        refresh: bool = ...,
    ) -> _WarmReport: ...

class CachedTask(Task[_P, _R]):
    """Base class of cached tasks."""

    cache_ttl: float | timedelta | Callable[[Any], float | timedelta] | None
    cache_jitter: float | None
    cache_stale_while_revalidate: float | timedelta | None
    cache_stale_if_error: float | timedelta | None
    cache_refresh_queue: str | None
    cache_errors: Mapping[type[Exception], float | timedelta] | None
    cache_if: Callable[[Any], bool] | None
    cache_validate: Callable[[Any], bool] | None
    cache_min_run: float | timedelta | None
    cache_max_bytes: int | None
    cache_key: str | Callable[..., Any] | None
    cache_each: str | None
    cache_ignore: _Names | None
    cache_vary: _Names | None
    cache_tags: _Names | Callable[..., Any] | None
    cache_depends: bool | None
    cache_coalesce: bool | None
    cache_version: str | None
    cache_serializer: str | None
    cache_compression: str | None
    cache_warm: Warm | None
    cache_sites: _Sites | None
    cache_cost: float | Callable[[Any], Any] | None
    cache_verify: float | None
    cache_semantic: Semantic | None
    cache_shadow: bool | None
    cache_enabled: bool | None

    @property
    def cache(self) -> _TaskHandle[_P, _R]: ...
    def delay(self, *args: _P.args, **kwargs: _P.kwargs) -> _CachedResult[_R]: ...
    def apply_async(
        self,
        args: Collection[Any] | None = ...,
        kwargs: Mapping[str, Any] | None = ...,
        task_id: str | None = ...,
        producer: kombu.Producer | None = ...,
        link: Signature[Any] | list[Signature[Any]] | None = ...,
        link_error: Signature[Any] | list[Signature[Any]] | None = ...,
        shadow: str | None = ...,
        cache: _Mode | None = ...,
        cache_max_age: float | timedelta | None = ...,
        cache_semantic: float | bool | None = ...,
        *,
        countdown: float = ...,
        eta: datetime = ...,
        expires: float | datetime = ...,
        retry: bool = ...,
        retry_policy: Mapping[str, Any] = ...,
        queue: str | kombu.Queue = ...,
        exchange: str | kombu.Exchange = ...,
        routing_key: str = ...,
        priority: int = ...,
        serializer: str = ...,
        compression: str = ...,
        add_to_parent: bool = ...,
        headers: Mapping[str, Any] = ...,
        ignore_result: bool = ...,
        time_limit: float = ...,
        soft_time_limit: float = ...,
    ) -> _CachedResult[_R]: ...
    def s(self, *args: Any, **kwargs: Any) -> _CachedSignature[_R]: ...
    def si(self, *args: _P.args, **kwargs: _P.kwargs) -> _CachedSignature[_R]: ...
    def delay_on_commit(self, *args: _P.args, **kwargs: _P.kwargs) -> None:
        """Call the task when the database's transaction is committed: in Django projects."""

class _Options(TypedDict, total=False):
    """Options of the decorator: the cache's, and Celery's."""

    cache_ttl: float | timedelta | Callable[[Any], float | timedelta] | None
    cache_jitter: float | None
    cache_stale_while_revalidate: float | timedelta | None
    cache_stale_if_error: float | timedelta | None
    cache_refresh_queue: str | None
    cache_errors: Mapping[type[Exception], float | timedelta] | None
    cache_if: Callable[[Any], bool] | None
    cache_validate: Callable[[Any], bool] | None
    cache_min_run: float | timedelta | None
    cache_max_bytes: int | None
    cache_key: str | Callable[..., Any] | None
    cache_each: str | None
    cache_ignore: _Names | None
    cache_vary: _Names | None
    cache_tags: _Names | Callable[..., Any] | None
    cache_depends: bool | None
    cache_coalesce: bool | None
    cache_version: str | None
    cache_serializer: str | None
    cache_compression: str | None
    cache_warm: Warm | None
    cache_sites: _Sites | None
    cache_cost: float | Callable[[Any], Any] | None
    cache_verify: float | None
    cache_semantic: Semantic | None
    cache_shadow: bool | None
    cache_enabled: bool | None
    name: str
    serializer: str
    autoretry_for: Collection[type[BaseException]]
    dont_autoretry_for: Collection[type[BaseException]]
    max_retries: int | None
    default_retry_delay: float
    acks_late: bool
    acks_on_failure_or_timeout: bool
    ignore_result: bool
    soft_time_limit: float
    time_limit: float
    retry_kwargs: dict[str, Any]
    retry_backoff: bool | int
    retry_backoff_max: int
    retry_jitter: bool
    typing: bool
    pydantic: bool
    pydantic_strict: bool
    pydantic_context: dict[str, Any]
    pydantic_dump_kwargs: dict[str, Any]
    rate_limit: str | None
    trail: bool
    send_events: bool
    write_behind: bool
    store_errors_even_if_ignored: bool
    store_eager_result: bool
    track_started: bool
    reject_on_worker_lost: bool
    throws: tuple[type[Exception], ...]
    expires: float | datetime | None
    priority: int | None
    compression: str
    queue: str
    exchange: str
    routing_key: str
    shared: bool
    lazy: bool

@overload
def cached_task(function: Callable[_P, _R], /) -> CachedTask[_P, _R]: ...
@overload
def cached_task(
    *,
    app: Celery | None = ...,
    base: type[CachedTask[..., Any]] = ...,
    bind: Literal[True],
    **options: Unpack[_Options],
) -> Callable[[Callable[Concatenate[Any, _P], _R]], CachedTask[_P, _R]]: ...
@overload
def cached_task(
    *,
    app: Celery | None = ...,
    base: type[CachedTask[..., Any]] = ...,
    bind: Literal[False] = ...,
    **options: Unpack[_Options],
) -> Callable[[Callable[_P, _R]], CachedTask[_P, _R]]: ...
