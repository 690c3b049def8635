"""A map bounded by entries and by bytes that keeps what is read again (S3-FIFO).

Yang et al., "FIFO queues are all you need for cache eviction" (SOSP 2023): new values wait in a
short queue; those that are asked for meanwhile move to the main one, the others are evicted. A key
that comes back soon after that enters the main queue at once. A scan of values that nobody asks for
again displaces nothing.

cachebox's queues do the work, for a reason: in Celery this map is shot at from three sides.
SoftTimeLimitExceeded is raised between any two bytecodes, the process forks while other threads are
inside, and threads share it. Each operation on a queue is one native call that none of the three
can cut in half, and ``getsizeof`` is called before the queue's lock is taken. A value that is
between two queues at that moment is lost, as if evicted.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

import cachebox

#: Percentage of the bytes for new values.
NEW_SHARE = 10

#: Hits that count: a value that was popular once is evicted after as many rounds in its queue.
MOST_HITS = 3

#: Hits of a new value that keep it in the map.
HITS_TO_STAY = 2

#: Evicted keys that are remembered, for each value that is kept.
GHOSTS = 2

_BITS, _COUNT = 2**64 - 1, 2**32 - 1


class Evictable(Protocol):
    """A value that knows its size, and is told of its hits.

    Attributes:
        hits: How often it was found lately, at most ``MOST_HITS``. The map's own.
    """

    hits: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        ...


V = TypeVar("V", bound=Evictable)


class Ghosts:
    """Keys that were evicted lately, in 8 bytes each: half of a digest, and when.

    Two keys may share a place, which the later one keeps: that costs a hit at worst.
    """

    def __init__(self) -> None:
        self._evictions = 0
        self._places = array("Q", bytes(8 * 64))

    def add(self, key: str, most: int) -> None:
        """Record a key among the last so many."""
        if most > len(self._places):
            self._places = array("Q", bytes(8 * 2 * most))
        places, digest = self._places, hash(key)
        self._evictions += 1
        places[digest % len(places)] = digest & ~_COUNT & _BITS | self._evictions & _COUNT

    def take(self, key: str, most: int) -> bool:
        """Whether a key is among the last so many; forget it."""
        places, digest = self._places, hash(key)
        place = digest % len(places)
        held = places[place]
        if (held ^ digest) & ~_COUNT & _BITS or (self._evictions - held) & _COUNT >= most:
            return False
        places[place] = 0
        return True


def _size(_: str, value: Evictable) -> int:
    return value.size


class BoundedMap(Generic[V]):
    """Keeps at most ``max_entries`` values of together at most ``max_bytes``.

    A value larger than ``max_bytes`` isn't kept. Safe for threads, forks and interruptions.

    Args:
        max_entries: Bound on the values.
        max_bytes: Bound on their bytes.

    Attributes:
        evicted: Called with the number of values that have just been evicted.
    """

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.evicted: Callable[[int], None] = lambda _: None
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self._new: cachebox.FIFOCache[str, V] = cachebox.FIFOCache(max_bytes, getsizeof=_size)
        self._main: cachebox.FIFOCache[str, V] = cachebox.FIFOCache(max_bytes, getsizeof=_size)
        self._ghosts = Ghosts()

    def __len__(self) -> int:
        return len(self._new) + len(self._main)

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._new.current_size() + self._main.current_size()

    def get(self, key: str) -> V | None:
        """Return the value, and count the hit."""
        value = self._main.get(key)
        if value is None:
            value = self._new.get(key)
            if value is None:
                return None
        if value.hits < MOST_HITS:
            value.hits += 1
        return value

    def put(self, key: str, value: V) -> None:
        """Keep a value, and evict others beyond the bounds."""
        stays = self._main.pop(key, None) is not None
        self._new.pop(key, None)
        if value.size > self.max_bytes:
            return
        stays = self._ghosts.take(key, GHOSTS * len(self)) or stays
        evicted = self._make_room(value.size, 1)
        queue, other = (self._main, self._new) if stays else (self._new, self._main)
        queue.insert(key, value)
        # Other threads may have put the same key, or more than there is room for.
        other.pop(key, None)
        evicted += self._make_room(0, 0)
        if evicted:
            self.evicted(evicted)

    def drop(self, key: str) -> None:
        """Forget a key."""
        self._main.pop(key, None)
        self._new.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        self._new.clear()
        self._main.clear()
        self._ghosts = Ghosts()

    def items(self) -> list[tuple[str, V]]:
        """Return a copy of the contents."""
        return [*self._new.copy().items(), *self._main.copy().items()]

    def _make_room(self, size: int, entries: int) -> int:
        """Evict until so many more bytes fit; return the number of evicted values."""
        evicted = 0
        while (
            self.size + size > self.max_bytes or len(self) + entries > self.max_entries
        ) and self._evict():
            evicted += 1
        return evicted

    def _evict(self) -> bool:
        """Evict one value, if there is one."""
        if self._new.current_size() * 100 >= self.size * NEW_SHARE:
            return self._evict_new() or self._evict_main()
        return self._evict_main() or self._evict_new()

    def _evict_new(self) -> bool:
        while (oldest := _first_out(self._new)) is not None:
            key, value = oldest
            if value.hits < HITS_TO_STAY:
                self._ghosts.add(key, GHOSTS * len(self))
                return True
            value.hits = 0
            self._stay(key, value)
        return False

    def _evict_main(self) -> bool:
        while (oldest := _first_out(self._main)) is not None:
            key, value = oldest
            if not value.hits:
                return True
            value.hits -= 1
            self._stay(key, value)
        return False

    def _stay(self, key: str, value: V) -> None:
        self._main.insert(key, value)
        if self._new.contains(key):  # another thread has put it meanwhile
            self._main.pop(key, None)


def _first_out(queue: cachebox.FIFOCache[str, V]) -> tuple[str, V] | None:
    try:
        return queue.popitem()
    except KeyError:  # empty, or another thread was faster
        return None


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
