"""``CachePrimitive``: a callable of data and context, whose results are cached."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any, Self, Unpack

from ...cache.cache_status import CacheStatus, status_of
from ...cache.event_loops.async_read_through import AsyncReadThrough, Caller
from ...cache.outcome import Call, Hit
from ...cache.runs.request_directives import (
    PublicMode,
    mode_block,
    mode_in_force,
    read_mode,
)
from ...core.options.policy import Policy
from ...errors import CacheMiss, ConfigurationError
from ...observability.counters import Stats, read_stats
from ..definition.primitive_keys import KeyerOfPrimitive, OfCall, PrimitiveKeyer
from ..definition.primitive_options import (
    Backend,
    CachePlace,
    OnError,
    PrimitiveOptions,
    read_options,
)
from ..definition.primitive_runtime import build_runtime
from ..definition.semantic_calls import SemanticCalls
from ..definition.sources import context_or_new, runner
from .stored_results import StoredResults


class CachePrimitive(StoredResults):
    """Wraps a callable of data and context, or another primitive, and caches its results.

    ``execute``, and the methods whose names begin with ``a``, never block the event loop. The
    others are for code without one; in a loop they wait for Redis for 15 ms at most, and memory
    takes no time.

    Args:
        primitive: An ``async`` function of ``(data, context)``, a plain one (which runs in a
            thread), or an object with ``execute(data, context)``. Without one, only what is stored
            is returned.
        ttl_seconds: Seconds that a result is fresh, or a callable that is given the result.
        max_size: Most entries in the memory of this process.
        key_fn: Given data and context, returns what identifies the call: a text, or any plain data.
            Without it, all of the data and the context's ``user_id`` do.
        backend: ``"memory"`` of this process, or ``"redis"``, shared, with such a memory in front.
        redis_url: URL of Redis: one server, Sentinel or cluster; see ``connections.address``.
        name: In front of all keys: primitives of one name share entries. By default the callable's.
        on_error: ``"run"`` runs the callable when the cache can't be used, ``"raise"`` raises
            ``CacheError`` then.
        namespace: In front of all keys in Redis.
        l1_max_staleness: Δ: seconds for which memory may answer before it asks Redis for
            invalidations; 0 asks each time.
        l1_max_bytes: Most bytes in memory.
        timeout: Seconds that a command to Redis may take.
        lease_ttl: Seconds after which an equal call takes over from a process that has gone.
        wait_replicas: How many replicas of Redis have to acknowledge an invalidation as well.
        secret: With it, only processes that have it can make entries in Redis.
        metrics_namespace: In front of the names of metrics for Prometheus.
        **options: See ``PrimitiveOptions``: stale windows, tags, costs, verification and more.

    Raises:
        ConfigurationError: An option is wrong; says what is allowed.
    """

    def __init__(
        self,
        primitive: Any = None,
        *,
        ttl_seconds: float | Callable[[Any], float] = 3600.0,
        max_size: int = 1000,
        key_fn: OfCall | None = None,
        backend: Backend = "memory",
        redis_url: str | None = None,
        name: str | None = None,
        on_error: OnError = "run",
        namespace: str = "taskcache",
        l1_max_staleness: float = 0.25,
        l1_max_bytes: int = 64 * 1024 * 1024,
        timeout: float = 0.25,
        lease_ttl: float = 5.0,
        wait_replicas: int = 0,
        secret: str = "",
        metrics_namespace: str = "taskcache",
        **options: Unpack[PrimitiveOptions],
    ) -> None:
        self.name = _name_of(primitive) if name is None else name
        self.primitive = primitive
        self._run = runner(self.name, primitive)
        self._policy = self._read_policy(ttl_seconds, backend, options)
        if on_error not in ("run", "raise"):
            raise ConfigurationError(
                f"primitive {self.name!r}: on_error={on_error!r}: must be 'run' or 'raise'"
            )
        self._raises = on_error == "raise"
        place = CachePlace(
            backend=backend,
            url=redis_url,
            max_size=max_size,
            max_bytes=l1_max_bytes,
            namespace=namespace,
            max_staleness=l1_max_staleness,
            timeout=timeout,
            lease_ttl=lease_ttl,
            wait_replicas=wait_replicas,
            secret=secret,
            metrics_namespace=metrics_namespace,
        ).checked(self.name)
        if primitive is None and name is None and backend == "redis":
            raise ConfigurationError("a primitive that wraps nothing needs a name in Redis: name=…")
        self._timeout = timeout
        self._runtime = build_runtime(place)
        self._keyer = self._make_keyer(key_fn, options.get("vary"))
        self._semantic = SemanticCalls(self.name, self._policy, self._keyer, self._runtime)
        self._read_through = AsyncReadThrough(self._runtime.cache, self._be_strict)

    def _read_policy(self, ttl: Any, backend: str, options: Mapping[str, Any]) -> Policy:
        return read_options(self.name, ttl, backend, options)

    def _make_keyer(self, key_fn: OfCall | None, vary: Collection[str] | None) -> KeyerOfPrimitive:
        return PrimitiveKeyer(self.name, self._policy, key_fn, vary)

    # Running

    async def execute(
        self,
        data: Any,
        context: Any = None,
        *,
        cache: PublicMode | None = None,
        max_age: float | timedelta | None = None,
        semantic: float | bool | None = None,
    ) -> Any:
        """Return the stored result for data in a context, or run the primitive and store it.

        Equal calls in flight run once, in this process and others.

        Args:
            data: The data.
            context: A ``WorkflowContext``.
            cache: ``"use"``; ``"refresh"`` runs, and the result takes the entry's place;
                ``"bypass"`` runs, and stores nothing; ``"only"`` answers from the cache or raises
                ``CacheMiss``; ``"no-store"`` answers from it, or runs and stores nothing. None is
                what ``mode`` has in force, or else ``"use"``.
            max_age: Greatest age of the answer (seconds or timedelta): what is older, or stale, is
                a miss, and replaced. None is what ``mode`` has in force, or else no bound.
            semantic: False: only the exact key counts; or a threshold above the primitive's.

        Raises:
            Exception: What the primitive raises; the cache adds none of its own.
            CacheError: The cache can't be used, and ``on_error="raise"``.
            CacheMiss: ``cache="only"``, and no entry answers the call.
            ValueError: The mode is unknown, the age is none, or the threshold isn't allowed.
        """
        return await self._execute(data, context, cache, max_age, semantic)

    async def execute_with_status(
        self,
        data: Any,
        context: Any = None,
        *,
        cache: PublicMode | None = None,
        max_age: float | timedelta | None = None,
        semantic: float | bool | None = None,
    ) -> tuple[Any, CacheStatus]:
        """Do as ``execute``; return the result and its provenance, as of a task's result.

        Of a hit it has all of ``result.cache_status`` but the site; of a run, that it is no hit.

        Raises:
            Exception: As ``execute``.
        """
        status = CacheStatus(hit=False)

        def served(call: Call, hit: Hit) -> None:
            nonlocal status
            status = status_of(hit, call.key)

        value = await self._execute(data, context, cache, max_age, semantic, served=served)
        return value, status

    async def _execute(
        self,
        data: Any,
        context: Any,
        cache: PublicMode | None,
        max_age: float | timedelta | None,
        semantic: float | bool | None,
        *,
        served: Callable[[Call, Hit], None] = lambda _call, _hit: None,
    ) -> Any:
        context = context_or_new(context)
        run = partial(self._run, data, context)
        block_mode, block_age = mode_in_force.get()
        mode = read_mode(cache or block_mode or "use")
        call = self._call(data, context, block_age if max_age is None else max_age)
        if call is None:
            if mode == "only":
                raise CacheMiss(f"{self.name!r}: nothing to answer with (it isn't cached)")
            return await self._read_through.run_apart(run)
        if mode != "use":
            call = replace(call, verify=False)
        neighbours = self._semantic.neighbours(data, context, semantic)
        caller = Caller(run=run, neighbours=neighbours, served=served)
        shadow = bool(self._policy.shadow) and mode in ("use", "only")
        return await self._read_through.answer(call, caller, mode=mode, shadow=shadow)

    async def __call__(self, data: Any, context: Any = None) -> Any:
        """Do as ``execute``: a primitive is a callable of data and context, too."""
        return await self.execute(data, context)

    @staticmethod
    def mode(
        cache: PublicMode | None = None, *, max_age: float | timedelta | None = None
    ) -> AbstractContextManager[None]:
        """Let all calls made inside ask this of the cache: ``with primitive.mode("refresh"): …``.

        It holds for those of other primitives, of functions with ``cached`` and of Celery's tasks,
        too, and for the threads and coroutines that the block starts. What a call says itself comes
        first.

        Args:
            cache: As of ``execute``; None leaves it as it is.
            max_age: As of ``execute``; None leaves it as it is.

        Raises:
            ValueError: The mode is unknown, or the age is none.
        """
        return mode_block(cache, max_age)

    def stats(self) -> Stats:
        """Return the counts of this process."""
        return read_stats(self._runtime.counters.totals())

    async def aclose(self) -> None:
        """End the leases and close the connections of the running event loop."""
        await self._runtime.cache.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


def _name_of(primitive: Any) -> str:
    if isinstance(primitive, CachePrimitive):
        return f"{primitive.name}.cached"
    function = primitive if hasattr(primitive, "__qualname__") else type(primitive)
    return f"{function.__module__}.{function.__qualname__}"
