"""The consumer site (promise S2): hits are completed in the worker's main process.

Every request passes ``consumer.on_task_request`` on its way to the pool, ETA tasks included. One
that is cached by now takes no pool slot and doesn't wait for one. It is executed by Celery's own
``Request``, as a solo pool would do it, with the answer in place of the body: acknowledgement,
revocation, events and state are Celery's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import SimpleNamespace
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import bootsteps, signals
from celery.concurrency.base import apply_target
from celery.concurrency.solo import TaskPool as SoloPool
from celery.exceptions import TaskRevokedError
from celery.worker.request import Request

from ..cache.outcome import Hit
from ..core.events import CircuitChanged, Fault
from ..core.policy import Site
from ..stores.breaker import Breaker
from . import context
from .calls import Asked, hand_over, look, take_over
from .completion import answering
from .task import CachedTask

logger = logging.getLogger("tta_taskcache")

#: A completion that takes longer than this (s) has met a result backend or broker in trouble. The
#: main process has heartbeats to send: hits go through the pool for a while.
SLOW = 1.0

#: Runs what it is given at once, in this process.
_INLINE = SimpleNamespace(apply_async=apply_target)


class ConsumerSite(bootsteps.StartStopStep):
    """Bootstep of the worker's consumer: puts itself in front of the pool."""

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._to_pool: Callable[[Request], None] = consumer.on_task_request
        self._breaker = Breaker(_log_change)
        # Before the consumer's strategies are made: each keeps a reference to this.
        consumer.on_task_request = self.on_task_request

    def start(self, consumer: Any) -> None:
        """Let the result backend give up in time in this process, whose tasks run in others."""
        if consumer.pool is not None and not isinstance(consumer.pool, SoloPool):
            _be_impatient(consumer.app.backend)

    def on_task_request(self, request: Request) -> None:
        """Answer a request from the cache, or send it on to the pool."""
        task = request.task
        if not (isinstance(task, CachedTask) and self._answer(task, request)):
            self._to_pool(request)

    def _answer(self, task: CachedTask, request: Request) -> bool:
        started = monotonic()
        try:
            hit = _look(task, request)
            if hit is None or not self._breaker.allows():
                return False
            _complete(request, hit)
        except Exception as error:  # noqa: BLE001 - nothing may end the worker's loop (promise F1)
            # The pool meets the same trouble where Celery knows what to do about it.
            task.taskcache().runtime.observe(Fault(task.name, "complete", error))
            self._breaker.failed(f"completing a hit failed: {error!r}")
            if request.time_start is None:
                return False
            # It was accepted, and callbacks may have been sent: done again in the pool, they
            # would be sent twice. A pool's process would report it like this.
            with suppress(Exception):
                request.on_failure(ExceptionInfo())
            return True
        if monotonic() - started > SLOW:
            self._breaker.failed(f"completing a hit took more than {SLOW} s")
        else:
            self._breaker.succeeded()
        return True


#: What Celery's Redis backend connects with, and what it was before this process changed it.
_parameters: list[tuple[dict[str, Any], dict[str, Any]]] = []


def _be_impatient(backend: Any) -> None:
    """Bound the timeouts of a Redis backend (120 s by default): a hung one would stop this loop."""
    parameters = getattr(backend, "connparams", None)
    if not isinstance(parameters, dict) or any(parameters is known for known, _ in _parameters):
        return
    _parameters.append((parameters, dict(parameters)))
    for name in ("socket_timeout", "socket_connect_timeout"):
        parameters[name] = min(parameters.get(name) or SLOW, SLOW)


@signals.worker_process_init.connect
def _be_patient_again(**_: Any) -> None:
    """In a pool process, which was forked from this one, the user's timeouts count."""
    while _parameters:
        parameters, before = _parameters.pop()
        parameters.clear()
        parameters.update(before)


def _complete(request: Request, hit: Hit) -> None:
    # revoked() has acknowledged a revoked one and told everybody, as on its way to the pool.
    with answering(request.id, hit), suppress(TaskRevokedError):
        # The base class' method: the one of this task's own class is bound to the real pool.
        Request.execute_using_pool(request, _INLINE)


def _look(task: CachedTask, request: Request) -> Hit | None:
    """Look for the answer; a miss is noted in the request, for the pool."""
    headers = request.request_dict
    stamp = context.stamp_of(headers)
    if stamp.get("mode", "use") != "use":
        return None
    recent = take_over(stamp)
    asked = Asked(task, request.args, request.kwargs, context.of_message(headers))
    seen = look(asked, Site.CONSUMER, recent)
    if noted := hand_over(seen):
        headers[context.HEADER] = {**stamp, "seen": noted}
    return seen.hit


def _log_change(event: object) -> None:
    match event:
        case CircuitChanged(open=True, cause=cause):
            logger.warning("hits go through the pool for a while: %s", cause)
        case CircuitChanged():
            logger.warning("hits are answered in the main process again")
