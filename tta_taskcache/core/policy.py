"""The policy of a task: its ``cache_*`` options, validated once and frozen."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields
from datetime import timedelta
from difflib import get_close_matches
from enum import StrEnum
from typing import Any

from ..errors import ConfigurationError

#: One year: longer entries are a mistake (milliseconds for seconds, mostly) or a database.
MAX_TTL = 366 * 86400.0


class Site(StrEnum):
    """Where a call may be answered."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    POOL = "pool"


ALL_SITES = frozenset(Site)

#: ``cache_version="source"``: the version is a digest of the task's source code.
SOURCE = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What one task asked for. Each field is the task attribute ``cache_<field>``.

    Attributes:
        ttl: Seconds an entry is fresh (0 < ttl <= one year).
        jitter: Up to this share of the ttl is taken off at random (0 <= jitter < 1), so that
            entries made together don't expire together. A ttl is never lengthened.
        key: Template or callable for the readable label in front of the digest, or None.
        ignore: Arguments that are no part of the call's identity.
        vary: Context headers that are part of the call's identity.
        tags: Templates or a callable for the names under which entries are invalidated together.
        coalesce: Whether equal calls in flight run once.
        version: Part of the identity; a new one never serves old entries. ``"source"`` follows
            the task's source code.
        serializer: Name of the serializer of stored results.
        compression: Name of the compressor of stored results, or None.
        sites: Where a call may be answered.
        enabled: Whether the task is cached at all.
    """

    ttl: float
    jitter: float = 0.0
    key: str | Callable[..., Any] | None = None
    ignore: frozenset[str] = frozenset()
    vary: tuple[str, ...] = ()
    tags: tuple[str, ...] | Callable[..., Any] = ()
    coalesce: bool = True
    version: str = ""
    serializer: str = "json"
    compression: str | None = None
    sites: frozenset[Site] = ALL_SITES
    enabled: bool = True

    def lifetime(self, draw: float) -> float:
        """Seconds a new entry lives, for a ``draw`` from [0, 1)."""
        return self.ttl * (1.0 - self.jitter * draw)


OPTIONS = tuple(f.name for f in fields(Policy))


@dataclass(frozen=True, slots=True)
class Choices:
    """What a policy may refer to, as far as it is known where the task is defined.

    ``None`` means not known yet: the check is made later, when it is.
    """

    arguments: tuple[str, ...] | None = None
    serializers: Collection[str] | None = None
    compressions: Collection[str] | None = None


class _Wrong(Exception):
    """What is wrong with one option; ``read_policy`` adds which and whose."""


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
            values[name] = _READERS[name](value, choices)
        except _Wrong as wrong:
            raise ConfigurationError(f"task {task!r}: cache_{name}={value!r}: {wrong}") from None
    return Policy(**values)


def seconds(value: Any) -> float:
    """Read a duration: seconds or a timedelta, positive and finite.

    Raises:
        ValueError: Saying what is allowed.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise ValueError("must be a number of seconds or a timedelta")  # noqa: TRY004 - documented
    if not math.isfinite(number) or not 0 < number <= MAX_TTL:
        raise ValueError(f"must be more than 0 and at most {MAX_TTL:.0f} seconds (366 days)")
    return float(number)


def _ttl(value: Any, _: Choices) -> float:
    try:
        return seconds(value)
    except ValueError as error:
        raise _Wrong(str(error)) from None


def _jitter(value: Any, _: Choices) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise _Wrong("must be a share of the ttl, 0 or more and less than 1")
    return float(value)


def _key(value: Any, _: Choices) -> str | Callable[..., Any]:
    if callable(value) or (isinstance(value, str) and value):
        found: str | Callable[..., Any] = value
        return found
    raise _Wrong("must be a template such as '{user_id}:{model}' or a callable")


def _names(value: Any, what: str) -> tuple[str, ...]:
    if isinstance(value, str):
        raise _Wrong(f"must be a tuple of {what}; write ({value!r},)")
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(
        isinstance(name, str) and name for name in value
    ):
        raise _Wrong(f"must be a tuple of {what} (strings)")
    return tuple(sorted(set(value)))


def _ignore(value: Any, choices: Choices) -> frozenset[str]:
    names = _names(value, "argument names")
    known = choices.arguments
    missing = [name for name in names if known is not None and name not in known]
    if missing:
        allowed = ", ".join(known or ()) or "none"
        raise _Wrong(f"{missing[0]!r} is no argument of the task; allowed: {allowed}")
    return frozenset(names)


def _vary(value: Any, _: Choices) -> tuple[str, ...]:
    return _names(value, "header names")


def _tags(value: Any, _: Choices) -> tuple[str, ...] | Callable[..., Any]:
    if callable(value):
        found: Callable[..., Any] = value
        return found
    return _names(value, "templates such as 'user:{user_id}', or a callable")


def _version(value: Any, _: Choices) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise _Wrong("must be a string, or 'source' to follow the task's source code")
    return str(value)


def _one_of(value: Any, known: Collection[str] | None) -> str:
    if not isinstance(value, str) or (known is not None and value not in known):
        raise _Wrong(f"must be one of: {', '.join(sorted(known or ())) or 'a registered name'}")
    return value


def _serializer(value: Any, choices: Choices) -> str:
    return _one_of(value, choices.serializers)


def _compression(value: Any, choices: Choices) -> str:
    return _one_of(value, choices.compressions)


def _sites(value: Any, _: Choices) -> frozenset[Site]:
    names = _names(value, "sites")
    wrong = [name for name in names if name not in ALL_SITES]
    if wrong:
        raise _Wrong(f"{wrong[0]!r} is no site; allowed: {', '.join(sorted(ALL_SITES))}")
    if not names:
        raise _Wrong("must name a site; cache_enabled=False turns caching off")
    return frozenset(Site(name) for name in names)


def _flag(value: Any, _: Choices) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("must be True or False")
    return value


_READERS: dict[str, Callable[[Any, Choices], Any]] = {
    "ttl": _ttl,
    "jitter": _jitter,
    "key": _key,
    "ignore": _ignore,
    "vary": _vary,
    "tags": _tags,
    "coalesce": _flag,
    "version": _version,
    "serializer": _serializer,
    "compression": _compression,
    "sites": _sites,
    "enabled": _flag,
}
