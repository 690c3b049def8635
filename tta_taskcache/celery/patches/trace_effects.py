"""Effects of a traced run beside its stored result: callbacks, handlers, signals."""

from __future__ import annotations

from typing import Any
from weakref import ReferenceType

from celery import signals
from celery.app.trace import task_has_custom
from celery.utils.dispatch import Signal
from celery.worker.request import Request

#: The signals that a successful run sends.
_SIGNALS: tuple[Signal, ...] = (signals.task_prerun, signals.task_postrun, signals.task_success)

#: The methods of a task that such a run calls.
_HANDLERS = ("before_start", "on_success", "after_return")

#: Modules whose receivers may be called twice without harm.
_HARMLESS = ("celery.", "tta_taskcache.")


def only_stores(request: Request) -> bool:
    """Whether a successful run does nothing but store its result: no user code, no message."""
    embedded: dict[str, Any] = request._payload[2] or {}
    if embedded.get("callbacks") or embedded.get("chain") or embedded.get("chord"):
        return False
    if any(task_has_custom(request.task, name) for name in _HANDLERS):
        return False
    return not any(_is_heard(signal) for signal in _SIGNALS)


def forget_termination(request: Request) -> None:
    """Drop the termination that waits for a request to begin: the request has ended."""
    request._terminate_on_ack = None


def _is_heard(signal: Signal) -> bool:
    """Whether a user's receiver is connected."""
    for _, receiver in signal.receivers or ():
        function = receiver() if isinstance(receiver, ReferenceType) else receiver
        module = getattr(function, "__module__", "") or ""
        if function is not None and not module.startswith(_HARMLESS):
            return True
    return False
