"""Completion of hits in the worker's main process, without a pool slot and off its loop (S2).

Celery's own ``Request`` begins and ends each completion in the event loop: revocation,
acknowledgement, events and state are Celery's. Celery's tracer runs in a thread in between, with
the stored result in place of the task's body. Handlers, signals, callbacks, the next step of a
chain, the count of a chord and the result backend therefore don't block the loop (promise F4).
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Celery
from celery.exceptions import TaskRevokedError
from celery.worker.request import Request

from ....cache.outcome import Hit
from ....core.events import CircuitChanged, Fault
from ....observability.logs import log_fields
from ....stores.wrappers.breaker import Breaker
from ...calls import context
from ...calls.lookup_handoff import FOUND
from ...patches.results.backend_timeouts import shorten_timeouts
from ...patches.results.result_batches import can_batch, results_together
from ...patches.tracing.trace_effects import forget_termination, only_stores
from ...sites.task_events import send_consumer_event
from .batches import has_loop, make_batches
from .captured_runs import CapturedRun, captured
from .lookahead import Lookahead
from .loop_posts import LoopPosts

logger = logging.getLogger("tta_taskcache")

#: Seconds after which a completion counts as failed: the result backend or the broker is in
#: trouble, and hits go through the pool for a while.
SLOW = 1.0

#: Most seconds that a hit with handlers, callbacks or a workflow waits for the thread. A hit that
#: would wait longer goes through the pool, which has many processes.
LATE = 0.5

#: Seconds that such a completion usually takes, before any was measured; and the weight of each
#: measurement in the moving average.
USUAL = 0.05
WEIGHT = 0.25


@dataclass(slots=True, eq=False)
class _Completion:
    """A hit to be completed.

    Attributes:
        request: The request.
        hit: The stored result.
        own: Returns a copy of the hit, when other requests share it.
        run: What Celery's request would have the pool run.
        connection: Number of the broker connection that delivered the request.
        is_plain: Whether the completion only stores the result, and so may be repeated.
        has_ended: Whether its end was posted to the loop.
    """

    request: Request
    hit: Hit
    own: Callable[[], Hit] | None
    run: CapturedRun
    connection: int
    is_plain: bool
    has_ended: bool = False


class Completions:
    """Completes hits in the main process, unless completions have just failed.

    Args:
        consumer: Celery's consumer.
        posts: Steps for the event loop.
        lookahead: Fetches more messages during completions.
        to_pool: Sends a request to the pool.
    """

    def __init__(
        self,
        consumer: Any,
        posts: LoopPosts,
        lookahead: Lookahead,
        to_pool: Callable[[Request], None],
    ) -> None:
        self._app: Celery = consumer.app
        self._posts = posts
        self._lookahead = lookahead
        self._to_pool = to_pool
        self._breaker = Breaker(_log_change)
        self._batches = make_batches(consumer, "taskcache-completions", self._work)
        self._connection = 0
        self._has_thread = has_loop(consumer)
        self._shortens = False
        self._usual = USUAL
        #: Number of completions in progress, and how many of them aren't plain.
        self.pending = 0
        self._others = 0

    def shorten_timeouts(self) -> None:
        """Shorten the result backend's timeouts in this process; no task runs in it."""
        self._shortens = True
        shorten_timeouts(self._app.backend, SLOW)

    def complete(self, request: Request, hit: Hit, own: Callable[[], Hit] | None = None) -> bool:
        """Complete a request; False when it has to go through the pool. Never raises.

        Args:
            request: The request.
            hit: The stored result.
            own: Returns a copy of the hit, when other requests share it; called in the thread.
        """
        if self._begin(request, hit, own):
            return True
        _let_pool_answer(request)
        return False

    def _begin(self, request: Request, hit: Hit, own: Callable[[], Hit] | None) -> bool:
        try:
            is_plain = not hit.entry.is_failure and only_stores(request)
            if self._is_late(is_plain=is_plain) or not self._breaker.allows():
                return False
            run = captured(request)
        except TaskRevokedError:  # Celery has acknowledged it and reported the revocation
            return True
        except Exception as error:  # noqa: BLE001 - nothing may end the worker's loop (promise F1)
            self._fault(request, error)
            return False
        if not is_plain and not self._acknowledge(request):
            return True
        completion = _Completion(request, hit, own, run, self._connection, is_plain)
        self.pending += 1
        self._others += not is_plain
        self._lookahead.begin_completion(request)
        self._batches.put(completion)
        return True

    def drop(self) -> None:
        """Note that the broker connection was lost: it redelivers unacknowledged messages."""
        self._connection += 1

    def settle(self, seconds: float) -> None:
        """Finish the completions in progress, within so many seconds; at the worker's shutdown."""
        if not self._batches.settle(seconds):
            logger.warning("hits are still being completed")

    def _is_late(self, *, is_plain: bool) -> bool:
        waited = self._batches.waited()
        if is_plain:
            return waited > SLOW
        return waited > LATE or self._others * self._usual > LATE

    def _acknowledge(self, request: Request) -> bool:
        """Acknowledge a message before its completion, as Celery does without ``acks_late``.

        The acknowledgement isn't left to the loop's next turn: a connection lost until then would
        bring the message again, and its callbacks would be called twice.

        Returns:
            Whether to go on; False when the broker will redeliver the message.
        """
        if request.task.acks_late or request.acknowledged:
            return True
        try:
            request.message.ack()
        except Exception as error:  # noqa: BLE001 - the broker redelivers the message
            self._fault(request, error)
            return False
        request.acknowledged = True
        return True

    # In the thread

    def _work(self, completions: list[_Completion]) -> None:
        """Do a batch; plain completions that arrive meanwhile go before those with handlers."""
        begun = list(completions)
        try:
            if self._shortens:
                shorten_timeouts(self._app.backend, SLOW)  # each thread has a backend of its own
            together = self._has_thread and can_batch(self._app)
            one_by_one: deque[_Completion] = deque()
            while completions or one_by_one:
                plain = [one for one in completions if one.is_plain and together]
                one_by_one.extend(one for one in completions if not (one.is_plain and together))
                if plain:
                    self._store_together(plain)
                if one_by_one:
                    self._batches.give_way()
                    self._do_alone(one_by_one.popleft())
                completions = self._batches.more()
                begun += completions
        except Exception as error:  # noqa: BLE001 - each completion has to be ended
            self._give_up([one for one in begun if not one.has_ended], error)

    def _store_together(self, completions: list[_Completion]) -> None:
        started = monotonic()
        ids = [one.request.id for one in completions if not one.request.ignore_result]
        try:
            with results_together(self._app, ids):
                traced = [(one, *_trace(one)) for one in completions]
        except Exception as error:  # noqa: BLE001 - nothing may end the thread
            self._give_up(completions, error)
            return
        self._took(monotonic() - started)
        for one, started_at, outcome in traced:
            self._post(one, partial(self._finish, one, started_at, outcome))

    def _do_alone(self, completion: _Completion) -> None:
        started = monotonic()
        try:
            started_at, outcome = _trace(completion)
        except Exception as error:  # noqa: BLE001 - nothing may end the thread
            self._give_up([completion], error)
            return
        took = monotonic() - started
        if not completion.is_plain:
            self._usual += WEIGHT * (took - self._usual)
        self._took(took)
        self._post(completion, partial(self._finish, completion, started_at, outcome))

    def _give_up(self, completions: Sequence[_Completion], error: Exception) -> None:
        """End failed completions: plain ones go to the pool, the others fail."""
        self._breaker.failed(f"completing a hit failed: {error!r}")
        info = ExceptionInfo()
        for one in completions:
            self._fault(one.request, error)
            end = self._back_to_pool if one.is_plain else partial(self._fail, info=info)
            self._post(one, partial(end, one))

    def _took(self, seconds: float) -> None:
        if seconds > SLOW:
            self._breaker.failed(f"completing a hit took more than {SLOW} s")
        else:
            self._breaker.succeeded()

    def _post(self, completion: _Completion, step: Callable[[], None]) -> None:
        completion.has_ended = True

        def end() -> None:
            self.pending -= 1
            self._others -= not completion.is_plain
            self._lookahead.end_completion(completion.request)
            step()

        self._posts.post(end)

    # In the event loop

    def _finish(self, completion: _Completion, started: float, outcome: Any) -> None:
        """Do Celery's bookkeeping for a completed request: accepted, then succeeded or failed."""
        request = completion.request
        forget_termination(request)
        request.on_accepted(os.getpid(), started)
        if isinstance(outcome, ExceptionInfo):
            request.on_failure(outcome)
        else:
            request.on_success(outcome)
        send_consumer_event(request, completion.hit)

    def _fail(self, completion: _Completion, info: ExceptionInfo) -> None:
        # The pool would send callbacks twice that were sent already. The failure is reported as a
        # pool process reports one.
        with suppress(Exception):
            completion.request.on_accepted(os.getpid(), monotonic())
            completion.request.on_failure(info)

    def _back_to_pool(self, completion: _Completion) -> None:
        if completion.connection == self._connection:  # else the broker redelivers it
            _let_pool_answer(completion.request)
            self._to_pool(completion.request)

    def _fault(self, request: Request, error: Exception) -> None:
        request.task.cache_runtime.observe(Fault(request.task.name, "complete", error))


def _trace(completion: _Completion) -> tuple[float, Any]:
    """Run Celery's tracer; return its start time and its outcome."""
    if completion.own is not None:
        completion.hit = completion.own()
    started = monotonic()
    return started, completion.run.answered_with(completion.hit)


def _let_pool_answer(request: Request) -> None:
    """Let the pool answer a request with the hit, also where ``cache_sites`` leaves it out."""
    context.add_to_cache_header(request.request_dict, {FOUND: True})


def _log_change(event: object) -> None:
    match event:
        case CircuitChanged(open=True, cause=cause):
            about = log_fields("InlineChanged", open=True, cause=cause)
            logger.warning("hits go through the pool for a while: %s", cause, extra=about)
        case CircuitChanged():
            about = log_fields("InlineChanged", open=False, cause="")
            logger.warning("hits are answered in the main process again", extra=about)
