"""Readers of task options: the values that each may have, and messages for others."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from inspect import signature
from typing import Any

from ..arguments.labels import MAX_TAGS
from ..record import record
from ..semantic.semantic_policy import Semantic
from ..warm_policy import Warm

#: One year: longer entries are a mistake (milliseconds for seconds, mostly) or a database.
MAX_TTL = 366 * 86400.0


class Site(StrEnum):
    """Where a call may be answered."""

    PRODUCER = "producer"
    CONSUMER = "consumer"
    POOL = "pool"


ALL_SITES = frozenset(Site)


@record
class Choices:
    """The names that a policy may refer to, as far as they are known where the task is defined.

    Unknown ones (None) are checked later.

    Attributes:
        arguments: Names of the task's parameters.
        serializers: Names of serializers.
        compressions: Names of compressors.
    """

    arguments: tuple[str, ...] | None = None
    serializers: Collection[str] | None = None
    compressions: Collection[str] | None = None


class WrongValue(Exception):
    """The value of an option is wrong; ``read_policy`` adds option and task to the message."""


def seconds(value: Any) -> float:
    """Read a duration: seconds or a timedelta, more than 0 and at most ``MAX_TTL``.

    Raises:
        ValueError: The value isn't allowed; the message says what is.
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
        raise WrongValue(str(error)) from None


def _ttl_or_callable(value: Any, _: Choices) -> float | Callable[[Any], Any]:
    if callable(value):
        found: Callable[[Any], Any] = value
        return found
    return _ttl(value, _)


def takes_result(value: object, choices: Choices) -> bool:
    """Whether a callable of ``cache_tags`` takes the result: its only parameter, no argument's."""
    if not callable(value) or "result" in (choices.arguments or ()):
        return False
    try:
        return list(signature(value).parameters) == ["result"]
    except (TypeError, ValueError):  # a builtin
        return False


def _window(value: Any, _: Choices) -> float:
    if value == 0 and not isinstance(value, bool):
        return 0.0
    return _ttl(value, _)


def _queue(value: Any, _: Choices) -> str:
    if not isinstance(value, str) or not value:
        raise WrongValue("must be the name of a queue")
    return value


def _errors(value: Any, _: Choices) -> dict[type[Exception], float]:
    if not isinstance(value, Mapping):
        raise WrongValue("must map exceptions to seconds, such as {NotFound: 30}")
    for kind in value:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise WrongValue(f"{kind!r} is no exception class")
    return {kind: _ttl(ttl, _) for kind, ttl in value.items()}


def _test(value: Any, _: Choices) -> Callable[[Any], bool]:
    if not callable(value):
        raise WrongValue("must be a callable that is given the result and returns a bool")
    found: Callable[[Any], bool] = value
    return found


def _bytes(value: Any, _: Choices) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise WrongValue("must be a number of bytes, 1 or more")
    return value


def read_cost(value: Any) -> float:
    """Read a cost: a number that is 0 or more and finite.

    Raises:
        ValueError: The value isn't allowed; the message says what is.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise ValueError(f"a cost must be a number, not {value!r}")  # noqa: TRY004 - documented
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"a cost must be 0 or more and finite, not {value!r}")
    return float(value)


def _cost(value: Any, _: Choices) -> float | Callable[[Any], Any]:
    if callable(value):
        found: Callable[[Any], Any] = value
        return found
    try:
        return read_cost(value)
    except ValueError:
        raise WrongValue(
            "must be a number, 0 or more, or a callable that is given the result and returns one"
        ) from None


def _share(value: Any, _: Choices) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise WrongValue("must be a share of the hits, from 0 to 1")
    return float(value)


def _jitter(value: Any, _: Choices) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise WrongValue("must be a share of the ttl, 0 or more and less than 1")
    return float(value)


def _each(value: Any, choices: Choices) -> str:
    known = choices.arguments
    if not isinstance(value, str) or (known is not None and value not in known):
        allowed = ", ".join(known or ()) or "a name"
        raise WrongValue(f"must be the name of an argument that is a list; allowed: {allowed}")
    return value


def _key(value: Any, _: Choices) -> str | Callable[..., Any]:
    if callable(value) or (isinstance(value, str) and value):
        found: str | Callable[..., Any] = value
        return found
    raise WrongValue("must be a template such as '{user_id}:{model}' or a callable")


def _names(value: Any, what: str) -> tuple[str, ...]:
    if isinstance(value, str):
        raise WrongValue(f"must be a tuple of {what}; write ({value!r},)")
    if not isinstance(value, (list, tuple, set, frozenset)) or not all(
        isinstance(name, str) and name for name in value
    ):
        raise WrongValue(f"must be a tuple of {what} (strings)")
    return tuple(sorted(set(value)))


def _ignore(value: Any, choices: Choices) -> frozenset[str]:
    names = _names(value, "argument names")
    known = choices.arguments
    missing = [name for name in names if known is not None and name not in known]
    if missing:
        allowed = ", ".join(known or ()) or "none"
        raise WrongValue(f"{missing[0]!r} is no argument of the task; allowed: {allowed}")
    return frozenset(names)


def _vary(value: Any, _: Choices) -> tuple[str, ...]:
    return _names(value, "header names")


def _tags(value: Any, _: Choices) -> tuple[str, ...] | Callable[..., Any]:
    if callable(value):
        found: Callable[..., Any] = value
        return found
    names = _names(value, "templates such as 'user:{user_id}', or a callable")
    if len(names) > MAX_TAGS:
        raise WrongValue(f"has {len(names):,} tags; at most {MAX_TAGS:,} are allowed")
    return names


def _version(value: Any, _: Choices) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise WrongValue("must be a string, or 'source' to follow the task's source code")
    return str(value)


def _one_of(value: Any, known: Collection[str] | None) -> str:
    if not isinstance(value, str) or (known is not None and value not in known):
        raise WrongValue(f"must be one of: {', '.join(sorted(known or ())) or 'a registered name'}")
    return value


def _serializer(value: Any, choices: Choices) -> str:
    return _one_of(value, choices.serializers)


def _compression(value: Any, choices: Choices) -> str:
    known = choices.compressions
    if value == "zstd" and known is not None and value not in known:
        raise WrongValue("zstd needs an extra: pip install 'tta-taskcache[zstd]'")
    return _one_of(value, known)


def _warm(value: Any, _: Choices) -> Warm:
    if not isinstance(value, Warm):
        raise WrongValue("must be a Warm(every=…, calls=…) or Warm(every=…, hot=…)")
    return value


def _semantic(value: Any, _: Choices) -> Semantic:
    if not isinstance(value, Semantic):
        raise WrongValue("must be a Semantic(on=…, embed=…, threshold=…)")
    return value


def _sites(value: Any, _: Choices) -> frozenset[Site]:
    names = _names(value, "sites")
    wrong = [name for name in names if name not in ALL_SITES]
    if wrong:
        raise WrongValue(f"{wrong[0]!r} is no site; allowed: {', '.join(sorted(ALL_SITES))}")
    if not names:
        raise WrongValue("must name a site; cache_enabled=False turns caching off")
    return frozenset(Site(name) for name in names)


def _flag(value: Any, _: Choices) -> bool:
    if not isinstance(value, bool):
        raise WrongValue("must be True or False")
    return value


READERS: dict[str, Callable[[Any, Choices], Any]] = {
    "ttl": _ttl_or_callable,
    "jitter": _jitter,
    "stale_while_revalidate": _window,
    "stale_if_error": _window,
    "refresh_queue": _queue,
    "errors": _errors,
    "if": _test,
    "validate": _test,
    "min_run": _window,
    "max_bytes": _bytes,
    "key": _key,
    "each": _each,
    "ignore": _ignore,
    "vary": _vary,
    "tags": _tags,
    "depends": _flag,
    "coalesce": _flag,
    "version": _version,
    "serializer": _serializer,
    "compression": _compression,
    "warm": _warm,
    "sites": _sites,
    "cost": _cost,
    "verify": _share,
    "semantic": _semantic,
    "shadow": _flag,
    "enabled": _flag,
}
