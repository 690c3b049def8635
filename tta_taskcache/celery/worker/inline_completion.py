"""Inline completion: completing a hit in the worker's main process, without a pool slot (S2).

Celery's own ``Request`` executes it as in a solo pool, with the answer in place of the body:
acknowledgement, revocation, events, state, and the rest of its chain or chord are Celery's.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from time import monotonic
from types import SimpleNamespace

from billiard.einfo import ExceptionInfo
from celery.concurrency.base import apply_target
from celery.exceptions import TaskRevokedError
from celery.worker.request import Request

from ...cache.outcome import Hit
from ...core.events import CircuitChanged, Fault
from ...core.option_values import Site
from ...observability.logs import log_fields
from ...stores.breaker import Breaker
from ..sites.completion import answering
from ..sites.task_events import send_consumer_event

logger = logging.getLogger("tta_taskcache")

#: Seconds of a completion beyond which the result backend or the broker is in trouble. The main
#: process has heartbeats to send, so hits go through the pool for a while.
SLOW = 1.0

#: A pool that runs its target at once, in this process.
_INLINE_POOL = SimpleNamespace(apply_async=apply_target)


class InlineCompletion:
    """Completes hits, behind a circuit breaker."""

    def __init__(self) -> None:
        self._breaker = Breaker(_log_change)

    def complete(self, request: Request, hit: Hit) -> bool:
        """Complete a request: False when it has to go through the pool. Never raises."""
        if not self._breaker.allows():
            return False
        started = monotonic()
        try:
            _complete(request, hit)
        except Exception as error:  # noqa: BLE001 - nothing may end the worker's loop (promise F1)
            # The pool meets the same trouble where Celery knows what to do about it.
            request.task.cache_runtime.observe(Fault(request.task.name, "complete", error))
            self._breaker.failed(f"completing a hit failed: {error!r}")
            if request.time_start is None:
                return False
            # The request was accepted, and its callbacks may be out: the pool would send them
            # twice. A pool process would report the failure like this.
            with suppress(Exception):
                request.on_failure(ExceptionInfo())
            return True
        if monotonic() - started > SLOW:
            self._breaker.failed(f"completing a hit took more than {SLOW} s")
        else:
            self._breaker.succeeded()
        return True


def _complete(request: Request, hit: Hit) -> None:
    # revoked() acknowledges and announces a revoked request, as on its way to the pool.
    with answering(request.id, hit, Site.CONSUMER), suppress(TaskRevokedError):
        # The base class' method: the one of this task's own class is bound to the real pool.
        Request.execute_using_pool(request, _INLINE_POOL)
        send_consumer_event(request, hit)


def _log_change(event: object) -> None:
    match event:
        case CircuitChanged(open=True, cause=cause):
            about = log_fields("InlineChanged", open=True, cause=cause)
            logger.warning("hits go through the pool for a while: %s", cause, extra=about)
        case CircuitChanged():
            about = log_fields("InlineChanged", open=False, cause="")
            logger.warning("hits are answered in the main process again", extra=about)
