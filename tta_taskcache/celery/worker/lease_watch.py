"""The watch over a leading request: its stage, and its end of whatever kind (promise C3)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from enum import Enum
from time import monotonic
from typing import Any

from billiard.exceptions import Terminated, WorkerLostError
from celery.worker import state
from celery.worker.request import Request

from ...cache.engine.writer import unshared_for
from ...cache.leases.held_leases import RENEWALS
from ...core.entries.lease import Stage
from ..calls.lookup_handoff import QUEUED_FOR
from ..patches.worker.consumer_hooks import unwrap_callbacks, wrap_callbacks


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

#: What the pool reports for a process that is gone, and a process that is told to go.
_DEATHS = (Terminated, WorkerLostError, SystemExit, KeyboardInterrupt)

#: The callbacks of a request's stages.
_CALLBACKS = ("on_accepted", "on_success", "on_failure", "on_timeout")


class LeaderWatch:
    """The watch over a request that leads, by its callbacks and its pool process.

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
                # Its exception may be wrapped to carry a traceback.
                self.end(End.LOST if issubclass(exc_info.type, _DEATHS) else End.NO_RESULT)

        return wrapped

    def _on_timeout(self, on_timeout: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(soft: bool, timeout: float) -> Any:
            try:
                return on_timeout(soft, timeout)
            finally:
                if not soft:
                    self.end(End.NO_RESULT)

        return wrapped


def watch_leases(
    request: Request,
    led: Sequence[tuple[str, str]],
    *,
    in_process: bool,
    has_ended: Callable[[Sequence[str]], None],
) -> None:
    """Renew the leases of a request for as long as that is on its way.

    Args:
        request: The request.
        led: Key and owner of each lease.
        in_process: As of ``LeaderWatch``.
        has_ended: Told the keys when the request has ended.
    """
    leases = request.task.cache_runtime.leases
    owners = [owner for _, owner in led]

    def begun() -> None:
        if monotonic() - since > QUEUED_FOR / 2:  # it was said that it is queued
            leases.renew_now(*owners)

    def ended(end: End) -> None:
        # What has returned has filled, and ended the leases with that.
        if end is End.RESULT:
            leases.let_go(*owners)
        else:
            unshared = unshared_for(monotonic() - since) if end is End.NO_RESULT else 0.0
            leases.end_all(led, unshared)
        has_ended([key for key, _ in led])

    since = monotonic()
    # Others take over what is queued for long: they are told in time that it runs.
    renew_in = min(QUEUED_FOR / 2, leases.ttl / RENEWALS)
    leader = LeaderWatch(request, begun, ended, in_process=in_process)
    leases.hold_all(led, leader.progress, renew_in=renew_in)


def has_free_slot(consumer: Any, held: int) -> bool:
    """Whether a message that is sent to the pool now would run at once.

    Args:
        consumer: Celery's consumer.
        held: How many of the requests that it counts as reserved aren't in the pool.
    """
    in_pool: int = len(state.reserved_requests) - held
    return in_pool < int(consumer.pool.num_processes)


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
