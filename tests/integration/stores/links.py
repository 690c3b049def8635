"""Links of tests to a Redis, and commands by them."""

import time
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tta_taskcache.stores.connections.connection import Link

#: Seconds for a command, where nothing hangs: this machine may be busy.
PATIENT = 5.0

#: Where something does: less than what it takes to fail over.
IMPATIENT = 0.3

FAULTS = (redis.RedisError, OSError)

#: Together they touch all three primaries.
KEYS = [f"k{i}" for i in range(20)]


def took(command: Callable[[], object]) -> float:
    """Seconds until a command gives up."""
    start = time.monotonic()
    with pytest.raises(FAULTS):
        command()
    return time.monotonic() - start


def works(command: Callable[[], object]) -> bool:
    try:
        command()
    except FAULTS:
        return False
    return True


def failures(command: Callable[[], object]) -> int:
    """How often a command fails before it works."""
    return next(failed for failed in range(20) if works(command))


def get_all(link: Link) -> list[Any]:
    pipe = link.client.pipeline(transaction=False)
    for key in KEYS:
        pipe.get(key)
    return pipe.execute()


def set_all(link: Link, value: str) -> None:
    pipe = link.client.pipeline(transaction=False)
    for key in KEYS:
        pipe.set(key, value)
    pipe.execute()
