"""Watching a request that leads: how far it is, and when it ends in whatever way (promise C3)."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum
from typing import Any

from billiard.exceptions import Terminated, WorkerLostError
from celery.worker import state
from celery.worker.request import Request

from ...core.lease import Stage
from ..patches.consumer_hooks import unwrap_callbacks, wrap_callbacks


class End(Enum):
    """How a run has ended."""

    #: It has returned a value, and has stored it or said why not.
    RESULT = "result"
    #: It has failed, retries, was replaced, ignored or rejected: there is nothing to share (C6).
    NO_RESULT = "no result"
    #: Its process is gone, by no fault of the call as far as is known: the next one leads (C3).
    LOST = "lost"


#: Told once, how the request has ended.
Ended = Callable[[End], None]

#: The callbacks that tell of a request's way.
_CALLBACKS = ("on_accepted", "on_success", "on_failure", "on_timeout")


class LeaderWatch:
    """A request on its way through the pool, whose callbacks tell when it ends.

    Celery overrides ``Request`` per task, so the callbacks are wrapped on the request itself.

    Args:
        request: The request.
        begun: Told when it begins to run.
        ended: Told when it has ended.
        in_process: Whether a process of the pool runs it, whose number the request will have. With
            other pools that is a thread's or a greenlet's.
    """

    def __init__(
        self, request: Request, begun: Callable[[], None], ended: Ended, *, in_process: bool
    ) -> None:
        self._request: Request | None = request
        self._begun = begun
        self._ended = ended
        self._in_process = in_process
        wrappers = {name: getattr(self, f"_{name}") for name in _CALLBACKS}
        wrap_callbacks(request, wrappers)

    def progress(self) -> Stage | None:
        """How far it is; None when it will not end by itself: its process is dead or stopped."""
        request = self._request
        # Celery forgets what was lost on the way to the pool, with the broker's connection say. One
        # that runs isn't found by its id, when its message, to be acknowledged late, comes again.
        if request is None or not (
            request in state.active_requests or state.requests.get(request.id) is request
        ):
            return None
        if request.time_start is None:
            return Stage.QUEUED
        if self._in_process and not _runs(request.worker_pid):
            return None
        return Stage.RUNNING

    def end(self, end: End) -> None:
        """Tell that it has ended, the first time."""
        request, self._request = self._request, None
        if request is not None:
            unwrap_callbacks(request, _CALLBACKS)
            self._ended(end)

    def _on_accepted(self, on_accepted: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return on_accepted(*args, **kwargs)
            finally:
                self._begun()

        return wrapped

    def _on_success(self, on_success: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(outcome: Any, **kwargs: Any) -> Any:
            try:
                return on_success(outcome, **kwargs)
            finally:
                self.end(End.NO_RESULT if outcome[0] else End.RESULT)

        return wrapped

    def _on_failure(self, on_failure: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(exc_info: Any, *args: Any, **kwargs: Any) -> Any:
            try:
                return on_failure(exc_info, *args, **kwargs)
            finally:
                # Its type: billiard wraps the exception itself.
                lost = issubclass(exc_info.type, (Terminated, WorkerLostError))
                self.end(End.LOST if lost else End.NO_RESULT)

        return wrapped

    def _on_timeout(self, on_timeout: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(soft: bool, timeout: float) -> Any:
            try:
                return on_timeout(soft, timeout)
            finally:
                if not soft:
                    self.end(End.NO_RESULT)

        return wrapped


def has_free_slot(consumer: Any, following: int) -> bool:
    """Whether a message that is sent to the pool now would run at once.

    Args:
        consumer: Celery's consumer.
        following: How many of its messages wait for equal calls, and aren't in the pool.
    """
    in_pool: int = len(state.reserved_requests) - following
    return in_pool < int(consumer.pool.num_processes)


def _runs(pid: int | None) -> bool:
    """Whether a process of the pool is there and not stopped."""
    if pid is None or not hasattr(os, "waitid"):
        return True
    try:
        # WNOWAIT: the pool is told, too.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return ended is None
