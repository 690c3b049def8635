"""When asking the cache isn't worth it: it is down, or slower than the call itself (promise F4).

A cold call that is stored holds a slot of the pool until the store has answered. For one that runs
for ten seconds that is nothing; a hundred that run for a millisecond each would keep everybody else
waiting for a hundred replies.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from celery.worker.request import Request

from ....stores.breaker import GuardedStore
from ....stores.reply_times import ReplyTimes
from ...calls import context
from ...calls.lookup_result import SLOW
from ...patches.consumer_hooks import wrap_callbacks

#: Replies within so many seconds are never too slow.
NEVER_SLOW = 0.04

#: Seconds after which one call asks nevertheless, to see whether it has become better.
TRY_AGAIN = 1.0

#: What a call in the pool asks for at most: a look, and a fill.
COMMANDS = 2

#: What a run counts in its task's usual time.
WEIGHT = 0.5


class SlowCache:
    """Compares how long the cache takes to answer with how long calls run."""

    def __init__(self) -> None:
        self._run_seconds: dict[str, float] = {}
        self._tried_at = 0.0

    def note_run(self, task: str, seconds: float) -> None:
        """Take note of how long a call ran."""
        usual = self._run_seconds.get(task, seconds)
        self._run_seconds[task] = usual + WEIGHT * (seconds - usual)

    def watch(self, request: Request) -> None:
        """Learn from the end of a request in the pool how long its task runs."""

        def wrap(on_success: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(outcome: Any, **kwargs: Any) -> Any:
                failed, _, seconds = outcome
                if not failed:
                    # Meanwhile it has asked the cache, unless it has passed that by.
                    asked = 0.0 if mode_of(request) == SLOW else COMMANDS * _times(request).longest
                    self.note_run(request.task.name, max(0.0, seconds - asked))
                return on_success(outcome, **kwargs)

            return wrapped

        wrap_callbacks(request, {"on_success": wrap})

    def is_down(self, request: Request) -> bool:
        """Whether a request's cache is given up for the moment."""
        store = request.task.cache_runtime.store
        return isinstance(store, GuardedStore) and store.breaker.is_waiting

    def is_too_slow_for(self, request: Request) -> bool:
        """Whether a call costs nothing but time, and less of that than asking the cache."""
        task = request.task
        if task.rate_limit or task.cache_policy.cost or mode_of(request) != "use":
            return False
        reply_time = _times(request).usual
        runs_for = self._run_seconds.get(task.name, reply_time)  # what isn't known is worth it
        return reply_time > max(NEVER_SLOW, runs_for)

    def may_try(self) -> bool:
        """Whether a call asks nevertheless; True for one call each second."""
        now = monotonic()
        if now - self._tried_at < TRY_AGAIN:
            return False
        self._tried_at = now
        return True


def mode_of(request: Request) -> str:
    """What a request asks of the cache."""
    mode: str = context.cache_header_of(request.request_dict).get("mode", "use")
    return mode


def _times(request: Request) -> ReplyTimes:
    """How long the request's cache takes to answer, just now."""
    store = request.task.cache_runtime.store
    return store.reply_times if isinstance(store, GuardedStore) else ReplyTimes()
