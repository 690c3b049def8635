"""A map bounded by entries and by bytes, least recently used out first.

cachebox does the work, as Celery hits the map from three sides: SoftTimeLimitExceeded is raised
between any two bytecodes, the process forks while other threads are inside, and threads share it.
Each operation is one native call that none of the three can cut in half, and ``getsizeof`` is
called before the map's lock is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import cachebox


class HasSize(Protocol):
    """A value that knows its size in bytes."""

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...


V = TypeVar("V", bound=HasSize)


def _size(_: str, value: HasSize) -> int:
    return value.size


class BoundedMap(Generic[V]):
    """Keeps at most ``max_entries`` values of together at most ``max_bytes``.

    A value larger than ``max_bytes`` isn't kept. Safe for threads, forks and interruptions.

    Args:
        max_entries: Bound on the values.
        max_bytes: Bound on their bytes.

    Attributes:
        evicted: Receives the number of values that were just evicted to make room for others.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.evicted: Callable[[int], None] = lambda _: None
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._map: cachebox.LRUCache[str, V] = cachebox.LRUCache(max_bytes, getsizeof=_size)

    def __len__(self) -> int:
        return len(self._map)

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._map.current_size()

    def get(self, key: str) -> V | None:
        """Return the value, now the most recently used one."""
        return self._map.get(key)

    def put(self, key: str, value: V) -> None:
        """Keep a value, and evict the least recently used ones beyond the bounds."""
        if value.size > self.max_bytes:
            self.drop(key)
            return
        # The map would evict by itself, without telling how many values.
        self._map.pop(key, None)
        gone = 0
        while self.size + value.size > self.max_bytes and self._drop_oldest():
            gone += 1
        self._map.insert(key, value)
        while len(self._map) > self.max_entries and self._drop_oldest():
            gone += 1
        if gone:
            self.evicted(gone)

    def _drop_oldest(self) -> bool:
        try:
            self._map.popitem()
        except KeyError:  # another thread was faster
            return False
        return True

    def drop(self, key: str) -> None:
        """Forget a key."""
        self._map.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._map.clear()

    def items(self) -> list[tuple[str, V]]:
        """Return a copy of the contents."""
        return list(self._map.copy().items())


class RecentKeys:
    """Keys that are taken for some seconds. Threads that take a key at once may both get it.

    Args:
        most: Number of keys at which all are dropped.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._until: dict[str, float] = {}

    def take(self, key: str, now: float, seconds: float) -> bool:
        """Take a key, unless it is taken. Whether the caller has got it."""
        if len(self._until) >= self._most:
            self._until = {}
        if self._until.get(key, now) > now:
            return False
        self._until[key] = now + seconds
        return True

    def drop(self, key: str) -> None:
        """Give a key up."""
        self._until.pop(key, None)
