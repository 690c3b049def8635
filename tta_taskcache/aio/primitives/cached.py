"""``cached``: a decorator for functions of any arguments."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack

from ...core.arguments.binding import Binder
from ...core.arguments.labels import SEPARATOR, escape
from ...core.identity.keys import Identity, Keyer
from ...core.options.policy import Policy
from ...core.semantic.partition import SemanticCall
from ...errors import ConfigurationError
from ..definition.primitive_keys import PrimitiveKey
from ..definition.primitive_options import Backend, OnError, PrimitiveOptions, read_options
from .cache_primitive import CachePrimitive

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

#: Arguments of a call: positional ones, and keywords.
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


def _refuse(_: Any) -> Any:
    raise TypeError


class FunctionKeyer:
    """Computes the keys of one function, as those of a task: ``name:label:digest``.

    Args:
        name: The function's name.
        policy: Its policy.
        function: The function.
    """

    def __init__(self, name: str, policy: Policy, function: Callable[..., Any]) -> None:
        self._keyer = Keyer(name, Binder(function), policy, _refuse, source=function)
        self._prefix = escape(name)

    def identify(self, data: Arguments, _context: Any) -> Identity:
        """Return the key and the tags of a call.

        Raises:
            UncacheableCall: It can't have a key.
        """
        return self._keyer.identify(*data, {})

    def semantic_call(self, data: Arguments, _context: Any, secret: bytes) -> SemanticCall | None:
        """Return what a call is compared by with others; None when it can't be compared."""
        return self._keyer.semantic_call(*data, {}, secret)

    def stored(self, key: Any) -> str | None:
        """Return the stored key of a shown one: the same."""
        return str(key)

    def shown(self, stored: str) -> PrimitiveKey:
        """Return the shown key of a stored one: the same."""
        key = PrimitiveKey(stored)
        key.stored = stored
        return key

    def patterns(self, pattern: str) -> tuple[str, ...]:
        """Return the globs of stored keys for a glob of labels."""
        return tuple(f"{self._prefix}{SEPARATOR}{pattern}{end}" for end in ("", f"{SEPARATOR}*"))

    def variants(self, key: Any) -> tuple[str, ...]:
        """Return no globs: a function's key has no variants."""
        return (str(key),)


class FunctionPrimitive(CachePrimitive):
    """The primitive of a function, whose data are the function's arguments.

    Args:
        function: The function.
        own: Options that only functions have: ``key`` and ``ignore``.
        **options: As of ``CachePrimitive``.
    """

    def __init__(
        self, function: Callable[..., Any], own: Mapping[str, Any], **options: Any
    ) -> None:
        self._function = function
        self._own = own

        async def run(data: Arguments, _context: Any) -> Any:
            args, kwargs = data
            if inspect.iscoroutinefunction(function):
                return await function(*args, **kwargs)
            return await asyncio.to_thread(function, *args, **kwargs)

        super().__init__(run, **options)

    def _read_policy(self, ttl: Any, backend: str, options: Mapping[str, Any]) -> Policy:
        arguments = Binder(self._function).names
        return read_options(self.name, ttl, backend, options, own=self._own, arguments=arguments)

    def _make_keyer(self, key_fn: Any, vary: Any) -> FunctionKeyer:  # noqa: ARG002 - a function has none
        return FunctionKeyer(self.name, self._policy, self._function)


class FunctionCache:
    """The cache of one function: ``function.cache``. Arguments are given as to the function."""

    def __init__(self, primitive: CachePrimitive) -> None:
        #: The function's primitive, with ``ainvalidate``, ``aclear``, ``stats`` and the others.
        self.primitive = primitive
        #: As of ``CachePrimitive``: ``with function.cache.mode("refresh"): await function(1)``.
        self.mode = primitive.mode

    async def get(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of a call, or ``MISSING``."""
        return await self.primitive.aget((args, kwargs))

    async def set(self, value: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store a result for a call; return whether it was stored."""
        return await self.primitive.aset((args, kwargs), value)

    async def invalidate(self, /, *args: Any, **kwargs: Any) -> None:
        """End the entry of one call, at once and in all processes.

        Raises:
            UncacheableCall: The call can't have a key.
            StoreUnavailable: It was not acknowledged.
        """
        await self.primitive.ainvalidate(key=self.primitive.key((args, kwargs)))

    async def clear(self) -> None:
        """End all entries of the function."""
        await self.primitive.aclear()


class CachedFunction(Protocol[P, R_co]):
    """A function whose results are cached, and its cache."""

    cache: FunctionCache

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Awaitable[R_co]:
        """Return the stored result, or call the function and store its result."""
        ...


def cached(
    *,
    ttl: float | Callable[[Any], float] = 3600.0,
    max_size: int = 1000,
    key: str | Callable[..., Any] | None = None,
    ignore: Collection[str] = (),
    backend: Backend = "memory",
    redis_url: str | None = None,
    name: str | None = None,
    on_error: OnError = "run",
    **options: Unpack[PrimitiveOptions],
) -> Callable[[Callable[P, Awaitable[R]]], CachedFunction[P, R]]:
    """Cache what an ``async`` function returns: ``@cached(ttl=60, tags=("user:{user_id}",))``.

    A plain function runs in a thread, and becomes an ``async`` one.

    Args:
        ttl: Seconds that a result is fresh, or a callable that is given the result.
        max_size: Most entries in the memory of this process.
        key: Template over the arguments, or callable, for the readable part of keys; what
            identifies a call is all of its arguments.
        ignore: Arguments that are no part of a call's identity.
        backend: As of ``CachePrimitive``.
        redis_url: Likewise.
        name: Likewise.
        on_error: Likewise.
        **options: Likewise; tags are templates over the arguments, or a callable that is given
            them. ``vary`` is for primitives.

    Raises:
        ConfigurationError: An option is wrong; says what is allowed.
    """
    if "vary" in options:
        raise ConfigurationError("cached(vary=…): a function has no context; make it an argument")

    def decorate(function: Callable[P, Awaitable[R]]) -> CachedFunction[P, R]:
        primitive = FunctionPrimitive(
            function,
            {"key": key, "ignore": ignore or None},
            ttl_seconds=ttl,
            max_size=max_size,
            backend=backend,
            redis_url=redis_url,
            name=name or f"{function.__module__}.{function.__qualname__}",
            on_error=on_error,
            **options,
        )

        @wraps(function)
        async def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return await primitive.execute((args, kwargs))

        wrapper: Any = call
        wrapper.cache = FunctionCache(primitive)
        made: CachedFunction[P, R] = wrapper
        return made

    return decorate
