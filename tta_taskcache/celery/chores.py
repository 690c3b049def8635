"""The cache's own tasks, registered on every app that has a cache: what is done in workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from time import monotonic
from typing import Any

from celery import Celery, Task

from ..cache import sweeping
from ..errors import StoreUnavailable
from ..stores.sweeps import Sweeping
from .runtime import Runtime

INVALIDATE = "tta_taskcache.invalidate"
SWEEP = "tta_taskcache.sweep"

#: Seconds that one message's worth of sweeping takes: other tasks have their turn in between.
SLICE = 2.0

#: Neither is lost with its worker, and both go on until Redis has answered.
_PERSISTENT: dict[str, Any] = {
    "base": Task,  # with Celery(task_cls=CachedTask), too
    "shared": False,
    "acks_late": True,
    "reject_on_worker_lost": True,
    "autoretry_for": (StoreUnavailable,),
    "max_retries": None,
    "retry_backoff": True,
    "retry_backoff_max": 60,
    "retry_jitter": True,
}


def register(
    app: Celery,
    end: Callable[[tuple[str, ...], tuple[str, ...]], None],
    runtime: Callable[[], Runtime],
) -> None:
    """Give an app these tasks.

    Args:
        app: The app.
        end: Sets marks and drops the entries of keys.
        runtime: The cache of this process.
    """

    @app.task(name=INVALIDATE, **_PERSISTENT)
    def invalidate(names: list[str], keys: list[str]) -> None:
        """Set marks; retried until that is acknowledged (promise I4)."""
        end(tuple(names), tuple(keys))

    @app.task(name=SWEEP, bind=True, ignore_result=True, **_PERSISTENT)
    def sweep(self: Task, so_far: dict[str, Any] | None = None) -> None:
        """Go on with a sweep for a while, then send the rest as another message."""
        cache, now = runtime(), Sweeping(**(so_far or {}))
        until = monotonic() + SLICE
        while not now.is_over and monotonic() < until:
            now = cache.run(sweeping.batch(cache.engine, now))
        if not now.is_over:
            self.apply_async((asdict(now),))
