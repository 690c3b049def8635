"""The options of primitives: what each may be, and what is said when it is not."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from datetime import timedelta
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any, Literal, TypedDict

from ...core.options.option_values import Choices, seconds
from ...core.options.policy import Policy, read_policy
from ...core.record import record
from ...core.results.codec import EXACT_JSON, ZLIB, Codecs, Serializer
from ...core.semantic.semantic_policy import Semantic
from ...errors import ConfigurationError
from ...stores.connections.address import read_url

#: Results larger than this aren't stored unless ``max_bytes`` says so: reading one keeps the loop.
MAX_BYTES = 1024 * 1024

Backend = Literal["memory", "redis"]
OnError = Literal["run", "raise"]

PICKLE = Serializer("pickle", lambda value: pickle.dumps(value, protocol=5), pickle.loads)

CODECS = Codecs({EXACT_JSON.name: EXACT_JSON, PICKLE.name: PICKLE}, {ZLIB.name: ZLIB})


class PrimitiveOptions(TypedDict, total=False):
    """The options of a primitive that are a task's ``cache_*`` options, too.

    Attributes:
        jitter: Up to this share of the ttl is taken off at random (0 <= jitter < 1).
        stale_while_revalidate: Seconds after the ttl during which the stale result is served while
            one refresh runs in the background.
        stale_if_error: Seconds after the ttl during which the last result stands in for a run that
            fails.
        errors: Exceptions that are remembered, by type, and for how many seconds.
        store_if: Given a result, says whether it is stored.
        validate: Given a stored result, says whether it may still be served.
        min_run: Least seconds of a run whose result is stored, unless it replaces an entry.
        max_bytes: Serialized results larger than this aren't stored.
        vary: Names in the context that are part of the key.
        tags: Templates over data and context, such as ``"user:{user_id}"``, or a callable that is
            given both, for the names under which entries are invalidated together. A callable whose
            only parameter is ``result`` is given the result.
        depends: Whether entries end with the cached answers that their runs took (promise D1).
        coalesce: Whether equal calls in flight run once.
        version: A new one never serves old entries.
        serializer: ``"json"`` or ``"pickle"``. Memory has pickle by default, Redis JSON.
        compression: ``"zlib"``, or None.
        cost: What a run costs: a number, or a callable that is given the result.
        verify: This share of the hits runs anyway, and the results are compared (0 to 1).
        shadow: Whether calls are looked up and counted only, and run.
        enabled: False runs each call, without the cache.
        semantic: Semantic keys: a call that missed may be answered by a stored one with nearly the
            same text, which is ``data[on]``, or all of data that are a text themselves.
    """

    jitter: float
    stale_while_revalidate: float | timedelta
    stale_if_error: float | timedelta
    errors: Mapping[type[Exception], float]
    store_if: Callable[[Any], bool]
    validate: Callable[[Any], bool]
    min_run: float | timedelta
    max_bytes: int
    vary: Collection[str]
    tags: Collection[str] | Callable[..., Collection[str]]
    depends: bool
    coalesce: bool
    version: str
    serializer: str
    compression: str | None
    cost: float | Callable[[Any], float]
    verify: float
    shadow: bool
    enabled: bool
    semantic: Semantic


#: The task's option for each that has another name.
_NAMES = {"store_if": "if"}


def read_options(
    name: str,
    ttl: Any,
    backend: str,
    options: Mapping[str, Any],
    *,
    own: Mapping[str, Any] = MappingProxyType({}),
    arguments: tuple[str, ...] | None = None,
) -> Policy:
    """Validate the options of a primitive.

    Args:
        name: The primitive's name.
        ttl: Seconds that a result is fresh; or a callable of the result.
        backend: The primitive's backend.
        options: The primitive's other options.
        own: Options that only functions have.
        arguments: Names of the function's arguments, if it wraps one.

    Raises:
        ConfigurationError: Naming primitive, option and what is allowed.
    """
    allowed = PrimitiveOptions.__annotations__
    if unknown := [option for option in options if option not in allowed]:
        raise ConfigurationError(
            f"primitive {name!r}: unknown option {unknown[0]}; allowed: {', '.join(allowed)}"
        )
    defaults = {
        "max_bytes": MAX_BYTES,
        "serializer": PICKLE.name if backend == "memory" else EXACT_JSON.name,
    }
    given = {_NAMES.get(option, option): value for option, value in options.items()}
    if options.get("semantic") is not None and find_spec("numpy") is None:
        raise ConfigurationError(
            f"primitive {name!r}: semantic needs an extra: pip install 'tta-taskcache[semantic]'"
        )
    choices = Choices(arguments, CODECS.serializers.keys(), CODECS.compressors.keys())
    try:
        return read_policy(
            name, {"ttl": ttl, **defaults, **given, **own}, choices, default_ttl=3600.0
        )
    except ConfigurationError as error:
        message = str(error).replace("task ", "primitive ", 1).replace("cache_if", "store_if", 1)
        raise ConfigurationError(message.replace(": cache_", ": ", 1)) from None


@record(kw_only=True)
class CachePlace:
    """Where the entries of a primitive are.

    Attributes:
        backend: ``"memory"`` of this process, or ``"redis"`` with such a memory in front.
        url: Of Redis (see ``stores.connections.address``).
        max_size: Most entries in memory.
        max_bytes: Most bytes in memory.
        namespace: In front of all keys in Redis.
        max_staleness: Δ: seconds for which memory may answer before Redis is asked for
            invalidations again.
        timeout: Seconds that a command to Redis may take.
        lease_ttl: Seconds after which an equal call takes over from one whose process has gone.
        wait_replicas: How many replicas of Redis have to acknowledge an invalidation as well.
        secret: Key of the entries' signatures; empty for a plain checksum.
        metrics_namespace: In front of the names of metrics.
    """

    backend: str = "memory"
    url: str | None = field(default=None, repr=False)
    max_size: int = 1000
    max_bytes: int = 64 * 1024 * 1024
    namespace: str = "taskcache"
    max_staleness: float = 0.25
    timeout: float = 0.25
    lease_ttl: float = 5.0
    wait_replicas: int = 0
    secret: str = field(default="", repr=False)
    metrics_namespace: str = "taskcache"

    def checked(self, name: str) -> CachePlace:
        """Return this place, if its options are valid.

        Raises:
            ConfigurationError: Naming primitive, option and what is allowed.
        """
        if self.backend not in ("memory", "redis"):
            raise _wrong(name, "backend", self.backend, "must be 'memory' or 'redis'")
        if not is_count(self.max_size):
            raise _wrong(name, "max_size", self.max_size, "must be a number of entries, 1 or more")
        if self.backend == "redis":
            if self.url is None:
                raise _wrong(name, "redis_url", None, "must be given with backend='redis'")
            read_url(self.url)
        elif self.url is not None:
            raise ConfigurationError(
                f"primitive {name!r}: redis_url is given, and backend is 'memory': say "
                "backend='redis'"
            )
        for option in ("timeout", "lease_ttl"):
            try:
                seconds(getattr(self, option))
            except ValueError as error:
                raise _wrong(name, option, getattr(self, option), str(error)) from None
        return self


def is_count(value: Any) -> bool:
    """Whether a value is a whole number, 1 or more."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _wrong(name: str, option: str, value: Any, why: str) -> ConfigurationError:
    return ConfigurationError(f"primitive {name!r}: {option}={value!r}: {why}")
