"""Counting which calls of a task are requested most, in bounded memory and off the hot path.

Each process counts for a while, then a thread adds the counts to those in Redis, which decay: no
request waits for Redis. The counts are a statistic: those of an interrupted request, or of two
threads at once, may be lost.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from weakref import WeakSet

from ...cache.outcome import Call
from ...core.space_saving import SpaceSaving
from ...errors import StoreUnavailable
from ...stores.redis.warming_store import WarmingStore, capacity_for

#: Returns a call as text; None for a call that isn't kept.
SpellOut = Callable[[], str | None]

#: Seconds that a process counts before it adds its counts to those in Redis.
FLUSH_EVERY = 5.0

#: Seconds to wait for a tally's lock, which is held for microseconds or, after an interruption, for
#: ever.
LOCKED_FOR = 1.0


class HotCallTally:
    """The counts of one task's calls since the last flush."""

    def __init__(self, capacity: int, locked_for: float) -> None:
        self.capacity = capacity
        self._locked_for = locked_for
        self._counted = SpaceSaving(capacity)
        self._calls: dict[str, str | None] = {}
        # A lock that a time limit or a fork leaves locked costs the counts of some seconds: adding
        # never waits for it, and it goes with the tally.
        self._lock = threading.Lock()

    def add(self, key: str, spell_out: SpellOut) -> None:
        """Count a call, unless another thread holds the lock."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            if key not in self._calls:
                self._calls[key] = spell_out()
            loser = self._counted.add(key)
            if loser is not None:
                self._calls.pop(loser, None)
        finally:
            self._lock.release()

    def counted(self) -> list[tuple[str, int, str]]:
        """End the tally: return keys, their least counts and calls, most requested first."""
        if not self._lock.acquire(timeout=self._locked_for):
            return []
        return [
            (hot.key, hot.count - hot.error, call)
            for hot in self._counted.top(self.capacity)
            if (call := self._calls.get(hot.key)) is not None
        ]


class HotCallRecorder:
    """The recorder of one cache's calls in this process.

    Args:
        store: Store of the counts; None when no other process shares the cache: nothing is counted.
        flush_every: Seconds that it counts before it adds its counts to the store.
        locked_for: Seconds to wait for a tally's lock.
    """

    def __init__(
        self,
        store: WarmingStore | None,
        *,
        flush_every: float = FLUSH_EVERY,
        locked_for: float = LOCKED_FOR,
    ) -> None:
        self._store = store
        self._flush_every = flush_every
        self._locked_for = locked_for
        self._tallies: dict[str, HotCallTally] = {}
        _all.add(self)

    def forget(self) -> None:
        """Drop the counts: in a forked child they are the parent's."""
        self._tallies = {}

    def add(self, call: Call, hot: int, spell_out: SpellOut) -> None:
        """Count a call; the counts go to the store soon.

        Args:
            call: The call.
            hot: Number of hot calls that its task wants.
            spell_out: Returns the call as text; None when it isn't kept.
        """
        if self._store is None:
            return
        tally = self._tallies.get(call.task)
        if tally is None:
            tally = self._begin(call.task, hot)
        try:
            tally.add(call.key, spell_out)
        except BaseException:  # a time limit may have struck between two changes
            self._tallies.pop(call.task, None)
            raise

    def _begin(self, task: str, hot: int) -> HotCallTally:
        mine = HotCallTally(capacity_for(hot), self._locked_for)
        timer = threading.Timer(self._flush_every, self._end, (task, mine))
        timer.daemon = True
        # The timer first: if a time limit strikes in between, a timer without a tally is harmless.
        timer.start()
        return self._tallies.setdefault(task, mine)

    def _end(self, task: str, tally: HotCallTally) -> None:
        if self._tallies.get(task) is tally:
            self._tallies.pop(task, None)
            self._hand_over(task, tally)

    def flush(self) -> None:
        """Add the counts so far to the store, before the process ends."""
        while self._tallies:
            task, tally = self._tallies.popitem()
            self._hand_over(task, tally)

    def _hand_over(self, task: str, tally: HotCallTally) -> None:
        counted = tally.counted()
        if counted and self._store is not None:
            with suppress(StoreUnavailable):  # the breaker logs it; counting goes on
                self._store.count_hot(task, counted, tally.capacity)


#: The recorders of all caches of this process.
_all: WeakSet[HotCallRecorder] = WeakSet()


def _forget_all() -> None:
    for recorder in list(_all):
        recorder.forget()


os.register_at_fork(after_in_child=_forget_all)
