"""Counting which calls of a task are requested most, in bounded memory and off the hot path.

Each process counts for a while, then a thread adds the counts to those in Redis, which decay: no
request waits for that. It is a statistic: what is interrupted, or counted by two threads at once,
may be lost.
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
from ...stores.warming_store import WarmingStore, capacity_for

#: Returns a call as text, or None for one that isn't kept.
SpellOut = Callable[[], str | None]

#: Seconds that a process counts before it adds that to the counts in Redis.
FLUSH_EVERY = 5.0

#: Who adds to a tally holds its lock for microseconds, or for ever (s).
LOCKED_FOR = 1.0


class HotCallTally:
    """What was counted of one task since the last flush."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._counted = SpaceSaving(capacity)
        self._calls: dict[str, str | None] = {}
        # Nobody waits for it, and it goes with the tally: one that is never released again, since
        # a time limit struck or a process forked, costs the counts of some seconds.
        self._lock = threading.Lock()

    def add(self, key: str, spell_out: SpellOut) -> None:
        """Count a call, unless another thread is at it."""
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
        """Keys that were counted, how often at least, and their calls; the first first.

        Nothing is counted any more from then on.
        """
        if not self._lock.acquire(timeout=LOCKED_FOR):
            return []
        return [
            (hot.key, hot.count - hot.error, call)
            for hot in self._counted.top(self.capacity)
            if (call := self._calls.get(hot.key)) is not None
        ]


class HotCallRecorder:
    """Counts the calls of one cache in this process.

    Args:
        store: Where the counts go; None when no other process shares the cache: nothing is counted.
    """

    def __init__(self, store: WarmingStore | None) -> None:
        self._store = store
        self._tallies: dict[str, HotCallTally] = {}
        _all.add(self)

    def forget(self) -> None:
        """Forget what was counted: in a forked child it is the parent's."""
        self._tallies = {}

    def add(self, call: Call, hot: int, spell_out: SpellOut) -> None:
        """Count a call; the counts go to the store soon.

        Args:
            call: The call.
            hot: How many of its task's calls are to be known as hot.
            spell_out: Returns the call as it is kept, or None when it isn't.
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
        mine = HotCallTally(capacity_for(hot))
        timer = threading.Timer(FLUSH_EVERY, self._end, (task, mine))
        timer.daemon = True
        # First: if a time limit strikes in between, a timer without a tally does no harm.
        timer.start()
        return self._tallies.setdefault(task, mine)

    def _end(self, task: str, tally: HotCallTally) -> None:
        if self._tallies.get(task) is tally:
            self._tallies.pop(task, None)
            self._hand_over(task, tally)

    def flush(self) -> None:
        """Hand over what was counted so far, before the process ends."""
        while self._tallies:
            task, tally = self._tallies.popitem()
            self._hand_over(task, tally)

    def _hand_over(self, task: str, tally: HotCallTally) -> None:
        counted = tally.counted()
        if counted and self._store is not None:
            with suppress(StoreUnavailable):  # the breaker logs it; counting goes on
                self._store.count_hot(task, counted, tally.capacity)


#: Those of all caches of this process.
_all: WeakSet[HotCallRecorder] = WeakSet()


def _forget_all() -> None:
    for recorder in list(_all):
        recorder.forget()


os.register_at_fork(after_in_child=_forget_all)
