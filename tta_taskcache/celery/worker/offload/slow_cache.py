"""Passing the cache by while it is down, or slower than the calls themselves (promise F4).

A miss holds its slot of the pool until the store has answered. That is little for a run of ten
seconds; a hundred runs of a millisecond would make all other tasks wait for a hundred replies.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from celery.worker.request import Request

from ....stores.wrappers.breaker import GuardedStore
from ....stores.wrappers.reply_times import ReplyTimes
from ...calls import context
from ...calls.lookup_result import SLOW
from ...patches.worker.consumer_hooks import wrap_callbacks

#: Seconds up to which a reply is never too slow.
NEVER_SLOW = 0.04

#: Seconds after which one call asks a slow cache, to measure it again.
TRY_AGAIN = 1.0

#: Most commands of a call in the pool: a look and a fill.
COMMANDS = 2

#: Weight of a run in the moving average of its task's run times.
WEIGHT = 0.5


class SlowCache:
    """Compares the cache's reply time with the run times of tasks."""

    def __init__(self) -> None:
        self._run_seconds: dict[str, float] = {}
        self._tried_at = 0.0

    def note_run(self, task: str, seconds: float) -> None:
        """Add a run time to its task's average."""
        usual = self._run_seconds.get(task, seconds)
        self._run_seconds[task] = usual + WEIGHT * (seconds - usual)

    def watch(self, request: Request) -> None:
        """Measure a request's run time when the pool has run it."""

        def wrap(on_success: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(outcome: Any, **kwargs: Any) -> Any:
                failed, _, seconds = outcome
                if not failed:
                    # The pool's time includes its commands to the cache, unless it is passed by.
                    asked = 0.0 if mode_of(request) == SLOW else COMMANDS * _times(request).longest
                    self.note_run(request.task.name, max(0.0, seconds - asked))
                return on_success(outcome, **kwargs)

            return wrapped

        wrap_callbacks(request, {"on_success": wrap})

    def is_down(self, request: Request) -> bool:
        """Whether the circuit breaker of a request's cache is open."""
        store = request.task.cache_runtime.store
        return isinstance(store, GuardedStore) and store.breaker.is_waiting

    def is_too_slow_for(self, request: Request) -> bool:
        """Whether running a call is cheaper than asking the cache.

        Tasks with a rate limit or a ``cost`` are always worth asking for.
        """
        task = request.task
        if task.rate_limit or task.cache_policy.cost or mode_of(request) != "use":
            return False
        reply_time = _times(request).usual
        runs_for = self._run_seconds.get(task.name, reply_time)  # unknown: ask
        return reply_time > max(NEVER_SLOW, runs_for)

    def may_try(self) -> bool:
        """Whether a call asks a slow cache nevertheless; True for one call each second."""
        now = monotonic()
        if now - self._tried_at < TRY_AGAIN:
            return False
        self._tried_at = now
        return True


def mode_of(request: Request) -> str:
    """Return the cache mode of a request."""
    mode: str = context.cache_header_of(request.request_dict).get("mode", "use")
    return mode


def _times(request: Request) -> ReplyTimes:
    """Return the recent reply times of a request's cache."""
    store = request.task.cache_runtime.store
    return store.reply_times if isinstance(store, GuardedStore) else ReplyTimes()
