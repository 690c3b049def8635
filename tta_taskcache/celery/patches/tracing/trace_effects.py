"""Effects of a traced run beside its stored result: callbacks, handlers, signals, the log."""

from __future__ import annotations

import logging
from types import FunctionType
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

from celery import Task, signals
from celery.app import trace
from celery.app.trace import task_has_custom
from celery.loaders.base import BaseLoader
from celery.utils.dispatch import Signal
from celery.utils.saferepr import saferepr

if TYPE_CHECKING:
    from celery.worker.request import Request

#: The signals that a successful run sends.
_SIGNALS: tuple[Signal, ...] = (signals.task_prerun, signals.task_postrun, signals.task_success)

#: The methods of a task that such a run calls.
_HANDLERS = ("before_start", "on_success", "after_return")

#: These, and the method that names a call.
_SEEN_BY_TASK = (*_HANDLERS, "shadow_name")

#: The module of these, where they aren't overridden.
_CELERYS = "celery.app.task"

#: Modules whose receivers may be called twice without harm.
_HARMLESS = ("celery.", "tta_taskcache.")

#: Attribute of a receiver that may miss the hits at the producer.
UNHEARD = "taskcache_unheard"


def only_stores(request: Request) -> bool:
    """Whether a successful run does nothing but store its result: no user code, no message."""
    embedded: dict[str, Any] = request._payload[2] or {}
    if embedded.get("callbacks") or embedded.get("chain") or embedded.get("chord"):
        return False
    if any(task_has_custom(request.task, name) for name in _HANDLERS):
        return False
    return not any(_is_heard(signal) for signal in _SIGNALS)


def is_watched(task: Task) -> bool:
    """Whether anything but the result backend and this library learns of a run that succeeds.

    Asked anew for each call: a receiver or an instrumentation may come at any time.
    """
    kind = type(task)
    loader = type(task.app.loader)
    if any(getattr(kind, name).__module__ != _CELERYS for name in _SEEN_BY_TASK):
        return True
    return bool(
        any(_is_heard(signal) for signal in _SIGNALS)
        # What replaces it wraps the tracer, or the task.
        or type(trace.build_tracer) is not FunctionType
        or trace.build_tracer.__globals__ is not vars(trace)
        or loader.on_task_init is not BaseLoader.on_task_init
        or loader.on_process_cleanup is not BaseLoader.on_process_cleanup
    )


def logs_success() -> bool:
    """Whether Celery's line of a run that has succeeded is logged."""
    return bool(trace.logger.isEnabledFor(logging.INFO))


def log_success(
    task: Task, task_id: str, name: str, value: Any, *, seconds: float, args: str, kwargs: str
) -> None:
    """Log Celery's line of a run that has succeeded.

    Args:
        task: The task.
        task_id: The call's id.
        name: The name that it is shown with.
        value: What it returned.
        seconds: Seconds that it took.
        args: How its positional arguments are shown.
        kwargs: How its keyword arguments are shown.
    """
    trace.info(
        trace.LOG_SUCCESS,
        {
            "id": task_id,
            "name": name,
            "return_value": saferepr(value, task.resultrepr_maxsize),
            "runtime": seconds,
            "args": args,
            "kwargs": kwargs,
        },
    )


def forget_termination(request: Request) -> None:
    """Drop the termination that waits for a request to begin: the request has ended."""
    request._terminate_on_ack = None


def _is_heard(signal: Signal) -> bool:
    """Whether a user's receiver is connected."""
    for _, receiver in signal.receivers or ():
        function = receiver() if isinstance(receiver, ReferenceType) else receiver
        module = getattr(function, "__module__", "") or ""
        is_unheard = module.startswith(_HARMLESS) or getattr(function, UNHEARD, False)
        if function is not None and not is_unheard:
            return True
    return False
