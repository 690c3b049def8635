"""The request of a failure that the worker's main process reports (Celery up to 5.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.request import Request

from .consumer_hooks import unwrap_callbacks, wrap_callbacks

_CALLBACK = "on_failure"


def expose_on_failure(request: Request) -> None:
    """Let receivers of ``task_failure`` read ``sender.request`` when a pool process has died.

    Celery does so since 5.7; doing it twice harms nothing.
    """

    def with_request(on_failure: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            stack = request.task.request_stack
            stack.push(request._context)
            try:
                return on_failure(*args, **kwargs)
            finally:
                stack.pop()
                unwrap_callbacks(request, (_CALLBACK,))  # or it refers to itself for ever

        return wrapped

    wrap_callbacks(request, {_CALLBACK: with_request})
