"""The watch over a leading request: its stage, and its end of whatever kind (promise C3)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from celery.worker import state
from celery.worker.request import Request

from ...core.lease import Stage
from ..patches.consumer_hooks import unwrap_callbacks, wrap_callbacks

#: Called once, with whether the task has returned a value.
Ended = Callable[[bool], None]


#: The callbacks of a request's end.
_CALLBACKS = ("on_success", "on_failure", "on_timeout")


class LeaderWatch:
    """The watch over a request that leads, by its callbacks and its pool process.

    Celery overrides ``Request`` per task, so the callbacks are wrapped on the request itself.

    Args:
        request: The request.
        ended: Called when it has ended.
        in_process: Whether a pool process runs it, with the process id as the request's
            ``worker_pid``; in other pools that is the id of a thread or greenlet.
    """

    def __init__(self, request: Request, ended: Ended, *, in_process: bool) -> None:
        self._request: Request | None = request
        self._ended = ended
        self._in_process = in_process
        wrappers = {name: getattr(self, f"_{name}") for name in _CALLBACKS}
        wrap_callbacks(request, wrappers)

    def progress(self) -> Stage | None:
        """Return the request's stage; None when its process is dead or stopped, or it is lost."""
        request = self._request
        # Celery forgets a request that is lost on its way to the pool, with the broker's connection
        # for instance. A running one isn't found by its id once its message has come again.
        if request is None or not (
            request in state.active_requests or state.requests.get(request.id) is request
        ):
            return None
        if request.time_start is None:
            return Stage.QUEUED
        if self._in_process and not _runs(request.worker_pid):
            return None
        return Stage.RUNNING

    def end(self, succeeded: bool) -> None:
        """Call ``ended``, the first time."""
        request, self._request = self._request, None
        if request is not None:
            unwrap_callbacks(request, _CALLBACKS)
            self._ended(succeeded)

    def _on_success(self, on_success: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(outcome: Any, **kwargs: Any) -> Any:
            try:
                return on_success(outcome, **kwargs)
            finally:
                self.end(not outcome[0])

        return wrapped

    def _on_failure(self, on_failure: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            try:
                return on_failure(*args, **kwargs)
            finally:
                self.end(False)

        return wrapped

    def _on_timeout(self, on_timeout: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(soft: bool, timeout: float) -> Any:
            try:
                return on_timeout(soft, timeout)
            finally:
                if not soft:
                    self.end(False)

        return wrapped


def _runs(pid: int | None) -> bool:
    """Whether a pool process is alive and not stopped."""
    if pid is None or not hasattr(os, "waitid"):
        return True
    try:
        # WNOWAIT leaves the news to the pool, too.
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return ended is None
