"""Reads of a Redis result backend: what this process has yet to store is stored before each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from celery.backends.redis import RedisBackend

#: The methods with which Celery reads results, and forgets one.
_READS = ("get", "mget", "delete")

_acts: list[Callable[[], None]] = []


def before_reads(act: Callable[[], None]) -> None:
    """Have something done before each read of a Redis result backend; once, however often asked."""
    if act not in _acts:
        _acts.append(act)
    for name in _READS:
        read = getattr(RedisBackend, name)
        if not hasattr(read, "_taskcache_before"):
            setattr(RedisBackend, name, _wrapped(read))


def _wrapped(read: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(read)
    def read_after(backend: RedisBackend, *args: Any, **kwargs: Any) -> Any:
        for act in _acts:
            act()
        return read(backend, *args, **kwargs)

    read_after._taskcache_before = True  # type: ignore[attr-defined]
    return read_after
