"""Readers of what a run decides of its entry: the arguments of ``cache_control``."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from math import isfinite
from typing import Any

from ...core.entries.entry import MAX_ETAG
from ...core.options.option_values import MAX_TTL, read_cost


def read_decision(name: str, value: Any) -> Any:
    """Check an argument of ``cache_control``; return it as an entry has it.

    Raises:
        TypeError: The value is of another type.
        ValueError: It isn't allowed; the message says what is.
    """
    return _READERS[name](name, value)


def _seconds(name: str, value: object) -> float:
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"cache_control({name}={value!r}): must be seconds or a timedelta")
    if not isfinite(number) or number > MAX_TTL:
        raise ValueError(
            f"cache_control({name}={value!r}): at most {MAX_TTL:.0f} seconds (366 days)"
        )
    return float(number)


def _window(name: str, value: object) -> float:
    seconds = _seconds(name, value)
    if seconds < 0:
        raise ValueError(f"cache_control({name}={value!r}): must be 0 or more")
    return seconds


def _tags(name: str, value: Any) -> tuple[str, ...]:
    is_collection = isinstance(value, (list, tuple, set, frozenset))
    if not is_collection or not all(isinstance(tag, str) and tag for tag in value):
        raise TypeError(f"cache_control({name}={value!r}): must be a collection of strings")
    return tuple(value)


def _cost(name: str, value: Any) -> float:
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"cache_control({name}={value!r}): must be a number")
    return read_cost(value)


def _store(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"cache_control({name}={value!r}): must be True or False")
    return value


def _etag(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"cache_control({name}={value!r}): must be a string")
    if len(value) > MAX_ETAG:
        raise ValueError(f"cache_control({name}=…): at most {MAX_ETAG} characters")
    return value


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "ttl": _seconds,
    "stale_while_revalidate": _window,
    "stale_if_error": _window,
    "tags": _tags,
    "cost": _cost,
    "store": _store,
    "etag": _etag,
}
