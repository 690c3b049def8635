"""When asking the cache isn't worth it: it is down, or slower than the call itself (promise F4).

A cold call that is stored holds a slot of the pool until the store has answered. For one that runs
for ten seconds that is nothing; a hundred that run for a millisecond each would keep everybody else
waiting for a hundred replies.
"""

from __future__ import annotations

from time import monotonic

from ....stores.breaker import GuardedStore
from ....stores.protocol import Store

#: Replies within so many seconds are never too slow.
NEVER_SLOW = 0.04

#: Seconds after which one call asks nevertheless, to see whether it has become better.
TRY_AGAIN = 1.0

#: What a call in the pool asks for at most: a look, and a fill.
COMMANDS = 2

#: What a run counts in its task's usual time.
WEIGHT = 0.25


class SlowCache:
    """Compares how long the cache takes to answer with how long calls run."""

    def __init__(self) -> None:
        self._run_seconds: dict[str, float] = {}
        self._tried_at = 0.0

    def note_run(self, task: str, seconds: float) -> None:
        """Take note of how long a call ran."""
        usual = self._run_seconds.get(task, seconds)
        self._run_seconds[task] = usual + WEIGHT * (seconds - usual)

    def note_pool_run(self, task: str, seconds: float, store: Store) -> None:
        """Take note of how long a call took in the pool, that it looked and filled included."""
        asked = COMMANDS * store.reply_times.usual if isinstance(store, GuardedStore) else 0.0
        self.note_run(task, max(0.0, seconds - asked))

    def is_down(self, store: Store) -> bool:
        """Whether a store is given up for the moment."""
        return isinstance(store, GuardedStore) and store.breaker.is_waiting

    def too_slow_for(self, task: str, store: Store) -> float:
        """Seconds that a store takes to answer, when a task's calls take less; else 0."""
        if not isinstance(store, GuardedStore):
            return 0.0
        usual = store.reply_times.usual
        runs_for = self._run_seconds.get(task, usual)  # what isn't known is worth it
        return usual if usual > max(NEVER_SLOW, runs_for) else 0.0

    def may_try(self) -> bool:
        """Whether a call asks nevertheless; True for one call each second."""
        now = monotonic()
        if now - self._tried_at < TRY_AGAIN:
            return False
        self._tried_at = now
        return True
