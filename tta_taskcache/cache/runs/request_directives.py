"""Request directives: what a call, or a block of calls, asks of the cache (RFC 9111, 5.2.1).

They are the same for tasks of Celery and for primitives of asyncio. What is in force for a block is
a context variable, which its threads and coroutines share.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from datetime import timedelta
from math import inf
from typing import Literal, get_args

#: What a call asks of the cache: use it; run, and replace the entry; bypass it; answer from it or
#: raise ``CacheMiss``; answer from it, or run and store nothing.
PublicMode = Literal["use", "refresh", "bypass", "only", "no-store"]

#: The library's own modes: run and replace the entry unless it is fresh by then; run, and compare
#: with the entry; pass the cache by while it is slower than the call.
Mode = PublicMode | Literal["revalidate", "verify", "slow"]

#: The mode, and the reason that nothing is stored, of a call that stores nothing.
NO_STORE = "no-store"

#: The reason of a miss that the call asks for.
REFRESH = "refresh"

#: Mode and greatest age of the answers in force for the calls of a block.
mode_in_force: ContextVar[tuple[str | None, float | None]] = ContextVar(
    "taskcache_mode", default=(None, None)
)


def read_mode(mode: object) -> Mode:
    """Check the option ``cache`` of a call.

    Raises:
        ValueError: The mode is unknown; the message names those that are allowed.
    """
    if mode not in (*get_args(PublicMode), "revalidate", "verify"):
        allowed = ", ".join(repr(name) for name in get_args(PublicMode))
        raise ValueError(f"cache={mode!r}: must be one of {allowed}")
    return mode  # type: ignore[return-value]  # just checked


def read_max_age(value: object, name: str = "cache_max_age") -> float | None:
    """Check the greatest age that a call accepts; return seconds, or None for no bound.

    Args:
        value: The age.
        name: What the caller calls it.

    Raises:
        ValueError: The value isn't allowed; the message says what is.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if number is None:
        return None
    is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
    if not is_number or not 0 <= number < inf:  # type: ignore[operator]  # a number
        raise ValueError(f"{name}={value!r}: must be a number of seconds or a timedelta, 0 or more")
    return float(number)  # type: ignore[arg-type]  # a number


def mode_block(
    mode: PublicMode | None, max_age: float | timedelta | None
) -> AbstractContextManager[None]:
    """Let the calls made inside ask this of the cache, where they don't say another thing.

    Args:
        mode: The mode; None leaves it as it is.
        max_age: The greatest age of an answer; None leaves it as it is.

    Raises:
        ValueError: The mode is unknown, or the age is none.
    """
    if mode is not None:
        read_mode(mode)
    return _block(mode, read_max_age(max_age, "max_age"))


@contextmanager
def _block(mode: str | None, max_age: float | None) -> Iterator[None]:
    outer_mode, outer_age = mode_in_force.get()
    token = mode_in_force.set((mode or outer_mode, outer_age if max_age is None else max_age))
    try:
        yield
    finally:
        mode_in_force.reset(token)
