"""The policy of a task: its ``cache_*`` options, validated once and frozen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, fields
from difflib import get_close_matches
from typing import Any

from ...errors import ConfigurationError
from ..record import record
from ..semantic.semantic_policy import Semantic
from ..warm_policy import Warm
from .option_values import ALL_SITES, READERS, Choices, Site, WrongValue, read_cost, takes_result

#: ``cache_version="source"``: the version is a digest of the task's source code.
SOURCE = "source"


#: Default of ``cache_max_bytes``: larger results take longer to send than a lookup may.
MAX_BYTES = 8 * 1024 * 1024


#: Metadata of the fields that are no options themselves.
COMPUTED = {"is_computed": True}


@record(kw_only=True)
class Policy:
    """The policy of one task. Each field is the task attribute ``cache_<field>``.

    Attributes:
        ttl: Seconds that an entry is fresh (number or timedelta; 0 < ttl <= 366 days; or a callable
            from the result to one).
        jitter: Largest share of the ttl that is taken off at random (0 <= jitter < 1), so that
            entries stored together don't expire together. A ttl is never lengthened.
        stale_while_revalidate: Seconds after the ttl during which the stale result is served while
            one refresh runs in the background (RFC 5861, section 3).
        stale_if_error: Seconds after the ttl during which the last result is served when a run
            fails for good (RFC 5861, section 4).
        refresh_queue: Queue of the messages that refresh; None for the task's own.
        errors: Exception types that are remembered, each with seconds for which equal calls raise
            the exception again without a run (negative caching).
        if_: Callable from a result to whether it is stored.
        validate: Callable from a stored result to whether it may be served.
        min_run: Least seconds of a run whose result is stored; 0 stores all. A run that replaces an
            entry stores however quick it is.
        max_bytes: Most bytes of a serialized result, before compression; larger ones aren't stored,
            nor read, so that no frame takes more memory.
        key: Template or callable of the readable label in front of the digest; None for no label.
        each: Name of an argument that is a list, each of whose items has an entry of its own: the
            body gets the items that have none, and returns a list in their order, or a dict by
            item; callers get the results of all, in the order asked for. None for one entry a call.
        ignore: Names of arguments that are no part of the key.
        vary: Names of context headers that are part of the key.
        tags: Templates, or a callable that returns names, to invalidate entries by: it is given the
            arguments or, if ``result`` is its only parameter and none of the task's, the result.
        depends: Whether an entry ends with those that its run was answered with.
        coalesce: Whether equal calls in flight run once (single-flight).
        version: Part of the key: a new version never serves old entries. ``"source"`` follows the
            task's source code.
        serializer: Name of the serializer of stored results, of kombu's registry.
        compression: Name of the compressor of stored results, of kombu's registry; None for none.
        warm: Calls that are kept warm, and the schedule (``Warm``); None for none.
        sites: Sites that may answer a call.
        cost: Cost of a run, in the user's unit: a number, or a callable from the result to one.
        verify: Share of the hits that run anyway, to compare the results (0 to 1).
        semantic: The semantic keys: an argument's text is compared with those of stored calls
            (``Semantic``); None for exact keys only.
        shadow: Whether calls are looked up and counted, and run (shadow mode); None for the app's
            setting.
        enabled: Whether the task is cached at all.
        ttl_of: ``cache_ttl``, when it is a callable from the result to the ttl; ``ttl`` is the
            default then.
        tags_of: ``cache_tags``, when it is a callable whose only parameter is ``result``.
    """

    ttl: float
    jitter: float = 0.0
    stale_while_revalidate: float = 0.0
    stale_if_error: float = 0.0
    refresh_queue: str | None = None
    errors: Mapping[type[Exception], float] = field(default_factory=dict)
    if_: Callable[[Any], bool] | None = None
    validate: Callable[[Any], bool] | None = None
    min_run: float = 0.0
    max_bytes: int = MAX_BYTES
    key: str | Callable[..., Any] | None = None
    each: str | None = None
    ignore: frozenset[str] = frozenset()
    vary: tuple[str, ...] = ()
    tags: tuple[str, ...] | Callable[..., Any] = ()
    depends: bool = True
    coalesce: bool = True
    version: str = ""
    serializer: str = "json"
    compression: str | None = None
    warm: Warm | None = None
    sites: frozenset[Site] = ALL_SITES
    cost: float | Callable[[Any], Any] = 0.0
    verify: float = 0.0
    semantic: Semantic | None = None
    shadow: bool | None = None
    enabled: bool = True
    ttl_of: Callable[[Any], Any] | None = field(default=None, metadata=COMPUTED)
    tags_of: Callable[[Any], Any] | None = field(default=None, metadata=COMPUTED)

    def fresh_for(self, draw: float) -> float:
        """Return the seconds that a new entry is fresh: the ttl less its jitter.

        Args:
            draw: A random number from [0, 1).
        """
        return self.ttl * (1.0 - self.jitter * draw)

    @property
    def stored_as(self) -> tuple[str, str | None]:
        """Names of serializer and compressor."""
        return self.serializer, self.compression

    @property
    def stale_for(self) -> float:
        """Seconds that a stale entry is kept: the longer of the stale windows."""
        return max(self.stale_while_revalidate, self.stale_if_error)

    def cost_of(self, result: Any) -> float:
        """Return the cost of the run that has returned a result.

        Raises:
            Exception: The error of the task's ``cache_cost``.
            ValueError: ``cache_cost`` returned no cost.
        """
        return read_cost(self.cost(result)) if callable(self.cost) else self.cost

    def remembered_for(self, error: BaseException) -> float | None:
        """Return the seconds that an exception is remembered; None when it isn't.

        The closest type in its class' method resolution order counts.
        """
        found = (self.errors[kind] for kind in type(error).__mro__ if kind in self.errors)
        return next(found, None)


#: Fields by option names: ``if`` can't be the name of a field.
_FIELDS = {f.name.rstrip("_"): f.name for f in fields(Policy) if f.metadata != COMPUTED}

OPTIONS = tuple(_FIELDS)

#: Options that can't go with ``cache_each``, with the reason and what is allowed.
_NOT_WITH_EACH = {
    "errors": "the exception of a run isn't that of one item; allowed: cache_stale_if_error, or a "
    "value that says that an item failed",
    "semantic": "the text of a list isn't that of one item; allowed: exact keys",
    "verify": "a run for some items can't be compared with that for others; allowed: cache_shadow",
}


def read_policy(
    task: str, options: Mapping[str, Any], choices: Choices, *, default_ttl: float
) -> Policy:
    """Validate a task's options.

    Args:
        task: The task's name, for messages.
        options: Option names without ``cache_`` and their values; None means not given.
        choices: The names that the options may use.
        default_ttl: The ttl of a task without one (s).

    Raises:
        ConfigurationError: An option is wrong; the message names task, option and what is allowed.
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
    if callable(values["ttl"]):
        values["ttl_of"], values["ttl"] = values["ttl"], default_ttl
    if takes_result(values.get("tags"), choices):
        values["tags_of"] = values.pop("tags")
    policy = Policy(**values)
    _check_each(task, policy)
    return policy


def _check_each(task: str, policy: Policy) -> None:
    """Check that no option is given that can't go with ``cache_each``.

    Raises:
        ConfigurationError: One is; the message says why, and what is allowed.
    """
    if policy.each is None:
        return
    for name, reason in _NOT_WITH_EACH.items():
        if getattr(policy, name):
            raise ConfigurationError(
                f"task {task!r}: cache_{name} can't go with cache_each={policy.each!r}: {reason}"
            )
    if policy.warm is not None and policy.warm.hot is not None:
        raise ConfigurationError(
            f"task {task!r}: cache_warm=Warm(hot=…) can't go with cache_each={policy.each!r}: "
            "requests are counted by call, not by item; allowed: Warm(calls=…)"
        )
