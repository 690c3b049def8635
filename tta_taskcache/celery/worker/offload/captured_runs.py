"""What Celery's request would have the pool run, and the run of it here, answered with a hit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery.concurrency.base import apply_target
from celery.worker.request import Request

from ....cache.outcome import Hit
from ....cache.runs.hit_value import answering
from ....core.options.option_values import Site
from ....core.record import record


@record
class CapturedRun:
    """A run that a request would have sent to the pool.

    Attributes:
        request: The request.
        target: Celery's function that runs a task.
        args: Its arguments.
    """

    request: Request
    target: Any
    args: Sequence[Any]

    def answered_with(self, hit: Hit) -> Any:
        """Run it in this thread, with a hit in place of the task's body; return its outcome."""
        outcomes: list[Any] = []
        observe = self.request.task.cache_runtime.engine.parts.observe
        with answering(self.request.id, hit, Site.CONSUMER, observe):
            apply_target(self.target, self.args, callback=outcomes.append)
        return outcomes[0]


class _Capture:
    """A pool that records the function it is asked to run, and runs nothing."""

    def __init__(self) -> None:
        self.target: Any = None
        self.args: Sequence[Any] = ()

    def apply_async(self, target: Any, args: Sequence[Any] = (), **_: Any) -> None:
        """Record the function and its arguments."""
        self.target, self.args = target, args


def captured(request: Request) -> CapturedRun:
    """Begin a request as for the pool, and return what the pool would run.

    Raises:
        TaskRevokedError: The request is revoked; Celery has acknowledged and reported it.
    """
    pool = _Capture()
    # The base class's method: the task's own request class is bound to the real pool.
    Request.execute_using_pool(request, pool)
    return CapturedRun(request, pool.target, pool.args)
