"""The cache's own Celery tasks, registered on every app that has a cache."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from time import monotonic
from typing import Any

from celery import Celery, Task
from celery.result import AsyncResult
from kombu.exceptions import OperationalError

from ...cache.engine import sweeping
from ...errors import StoreUnavailable
from ...observability.logs import log_fields
from ...stores.sweep_commands import SweepProgress
from ..config.runtime import Runtime
from . import schedules, warm_outcomes, warm_task

logger = logging.getLogger("tta_taskcache")

INVALIDATE = schedules.INVALIDATE
SWEEP = "tta_taskcache.sweep"

#: Seconds of sweeping for one message: other tasks have their turn in between.
SLICE = 2.0

#: Options of tasks that aren't lost with their worker, and are retried until Redis answers.
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
    """Register the tasks on an app.

    Args:
        app: The app.
        end: Function that sets marks and drops the entries of keys.
        runtime: Returns the cache of this process.
    """
    warm_outcomes.connect()
    schedules.connect()
    warm_task.register(app, runtime, _PERSISTENT)

    @app.task(name=INVALIDATE, bind=True, **_PERSISTENT)
    def invalidate(
        self: Task, names: list[str], keys: list[str], turn: list[Any] | None = None
    ) -> None:
        """Set marks; retried until that is acknowledged (promise I4)."""
        if schedules.is_my_turn(self, runtime(), turn):
            end(tuple(names), tuple(keys))

    @app.task(name=SWEEP, bind=True, ignore_result=True, **_PERSISTENT)
    def sweep(self: Task, so_far: dict[str, Any] | None = None) -> None:
        """Go on with a sweep for a while, then send the rest as another message."""
        cache, now = runtime(), SweepProgress(**(so_far or {}))
        until = monotonic() + SLICE
        while not now.is_over and monotonic() < until:
            now = cache.run(sweeping.batch(cache.engine, now))
        if not now.is_over:
            self.apply_async((asdict(now),))


def queue_invalidation(app: Celery, names: tuple[str, ...], keys: tuple[str, ...]) -> AsyncResult:
    """Send an invalidation to a worker, as a Celery task.

    Raises:
        OperationalError: The broker didn't take the message.
    """
    task = app.tasks[INVALIDATE]
    try:
        return task.apply_async((names, keys))
    except RuntimeError:
        # Celery raises this before it sends, when a result backend on Redis is down. The
        # invalidation matters, not that its caller can wait for it.
        return task.apply_async((names, keys), ignore_result=True)


def request_sweep(app: Celery, runtime: Runtime) -> None:
    """Have a worker free the memory of ended entries."""
    try:
        if runtime.run(sweeping.request()):
            _send_sweep(app, runtime)
    except (StoreUnavailable, OperationalError) as error:
        message = "what was invalidated keeps its memory until it expires: %s"
        logger.warning(message, error, extra=log_fields("NoSweep", cause=error))


def _send_sweep(app: Celery, runtime: Runtime) -> None:
    try:
        app.tasks[SWEEP].apply_async(retry=False)
    except OperationalError:
        runtime.run(sweeping.withdraw())  # else later requests would wait for this sweep
        raise
