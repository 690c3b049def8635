"""The policy of a task: its ``cache_*`` options, validated once and frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from typing import Any

from ..errors import ConfigurationError
from .option_values import ALL_SITES, READERS, Choices, Site, WrongValue, read_cost
from .warm_policy import Warm

#: ``cache_version="source"``: the version is a digest of the task's source code.
SOURCE = "source"


#: Unless a task says otherwise. Larger ones take longer to send than lookups may take.
MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one task asked for. Each field is the task attribute ``cache_<field>``.

    Attributes:
        ttl: Seconds an entry is fresh (0 < ttl <= one year).
        jitter: Up to this share of the ttl is taken off at random (0 <= jitter < 1), so that
            entries made together don't expire together. A ttl is never lengthened.
        stale_while_revalidate: Seconds after the ttl during which the stale result is served while
            one refresh runs in the background (RFC 5861).
        stale_if_error: Seconds after the ttl during which the last result is served when a run
            fails for good (RFC 5861).
        refresh_queue: Queue that refreshes are sent to; None for the task's own.
        errors: Exceptions that are remembered, by type, and for how many seconds: until then the
            call raises the same again without running.
        if_: ``cache_if``: given a result, says whether it is stored.
        validate: Given a stored result, says whether it may still be served.
        max_bytes: Serialized results larger than this (before they are compressed) aren't stored,
            and never read: no frame takes more memory.
        key: Template or callable for the readable label in front of the digest, or None.
        ignore: Arguments that are no part of the call's identity.
        vary: Context headers that are part of the call's identity.
        tags: Templates or a callable for the names under which entries are invalidated together.
        coalesce: Whether equal calls in flight run once.
        version: Part of the identity; a new one never serves old entries. ``"source"`` follows
            the task's source code.
        serializer: Name of the serializer of stored results.
        compression: Name of the compressor of stored results, or None.
        warm: Which calls are kept warm, and when (``Warm``), or None.
        sites: Where a call may be answered.
        cost: What a run costs, in the user's unit: a number, or a callable that is given the
            result.
        verify: This share of the hits runs anyway, and the results are compared (0 to 1).
        shadow: Whether calls are looked up and counted only, and run; None for the app's setting.
        enabled: Whether the task is cached at all.
    """

    ttl: float
    jitter: float = 0.0
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    refresh_queue: str | None = None
    errors: Mapping[type[Exception], float] = field(default_factory=dict)
    if_: Callable[[Any], bool] | None = None
    validate: Callable[[Any], bool] | None = None
    max_bytes: int = MAX_BYTES
    key: str | Callable[..., Any] | None = None
    ignore: frozenset[str] = frozenset()
    vary: tuple[str, ...] = ()
    tags: tuple[str, ...] | Callable[..., Any] = ()
    coalesce: bool = True
    version: str = ""
    serializer: str = "json"
    compression: str | None = None
    warm: Warm | None = None
    sites: frozenset[Site] = ALL_SITES
    cost: float | Callable[[Any], Any] = 0.0
    verify: float = 0.0
    shadow: bool | None = None
    enabled: bool = True

    def fresh_for(self, draw: float) -> float:
        """Seconds a new entry is fresh, for a ``draw`` from [0, 1)."""
        return self.ttl * (1.0 - self.jitter * draw)

    @property
    def stale_for(self) -> float:
        """Seconds an entry is kept after that: the longer of the stale windows."""
        return max(self.stale_while_revalidate, self.stale_if_error)

    def cost_of(self, result: Any) -> float:
        """What the run cost that has returned this.

        Raises:
            Exception: Whatever the task's ``cache_cost`` raises.
            ValueError: It returned no cost.
        """
        return read_cost(self.cost(result)) if callable(self.cost) else self.cost

    def remembered_for(self, error: BaseException) -> float | None:
        """Seconds that an exception is remembered for; None when it isn't.

        The closest type in the order of its class' bases counts.
        """
        found = (self.errors[kind] for kind in type(error).__mro__ if kind in self.errors)
        return next(found, None)


#: Fields by the names of their options: ``if`` can't be the name of one.
_FIELDS = {f.name.rstrip("_"): f.name for f in fields(Policy)}

OPTIONS = tuple(_FIELDS)


def read_policy(
    task: str, options: Mapping[str, Any], choices: Choices, *, default_ttl: float
) -> Policy:
    """Validate a task's options.

    Args:
        task: The task's name, for messages.
        options: Option names without ``cache_`` and their values; None means not given.
        choices: The names the options may use.
        default_ttl: Seconds, for tasks that name no ttl.

    Raises:
        ConfigurationError: Naming task, option and what is allowed.
    """
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        near = get_close_matches(unknown[0], OPTIONS, 1)
        hint = f"; did you mean cache_{near[0]}?" if near else ""
        raise ConfigurationError(
            f"task {task!r}: unknown option cache_{unknown[0]}{hint} "
            f"(allowed: {', '.join('cache_' + name for name in OPTIONS)})"
        )
    values: dict[str, Any] = {"ttl": default_ttl}
    for name, value in options.items():
        if value is None:
            continue
        try:
            values[_FIELDS[name]] = READERS[name](value, choices)
        except WrongValue as wrong:
            raise ConfigurationError(f"task {task!r}: cache_{name}={value!r}: {wrong}") from None
    return Policy(**values)
