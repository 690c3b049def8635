"""The request of a failure that the worker's main process reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from celery.worker.request import Request


def expose_on_failure(request: Request) -> None:
    """Let receivers of ``task_failure`` read ``sender.request`` when a pool process has died.

    Celery does so since 5.7; doing it twice harms nothing.
    """
    on_failure = request.on_failure

    def with_request(*args: Any, **kwargs: Any) -> Any:
        stack = request.task.request_stack
        stack.push(request._context)
        try:
            return on_failure(*args, **kwargs)
        finally:
            stack.pop()
            request.__dict__.pop("on_failure", None)  # or the request refers to itself for ever

    request.on_failure = with_request
