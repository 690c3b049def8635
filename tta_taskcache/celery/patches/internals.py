"""Private parts of Celery that are read, and not replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery, Task
from celery._state import get_current_worker_task
from celery.canvas import Signature
from celery.canvas import _chain as Chain  # noqa: N812 - chain() is a function that makes one
from celery.result import AsyncResult

__all__ = ["Chain", "ask_workers", "event_dispatcher", "merge", "remember", "running_task"]


def running_task() -> Task | None:
    """The task that runs in this thread; None outside of a run."""
    return get_current_worker_task()


def event_dispatcher(request: Any) -> Any:
    """What sends the events of a request in a worker's main process; None without events."""
    return request._eventer


def remember(result: AsyncResult, meta: dict[str, Any], *, in_group: bool) -> None:
    """Let a result hold its outcome, as if its backend had just told it.

    Args:
        result: The result.
        meta: What the backend would tell.
        in_group: Whether a group's result counts it: it does when the backend tells of it, so not
            now as well.
    """
    if in_group:
        result._set_cache(meta)
    else:
        result._maybe_set_cache(meta)


def merge(
    signature: Signature, given: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Arguments and options of a signature that is applied with further ones."""
    more = {name: given[name] for name in given if name not in ("args", "kwargs")}
    args, kwargs, options = signature._merge(
        given.get("args") or (), given.get("kwargs") or {}, more
    )
    return args, kwargs, options


def ask_workers(app: Celery, command: str, *, timeout: float, limit: int) -> dict[str, Any]:
    """What workers answer to an inspect command, by name.

    Args:
        app: The app.
        command: The command, for which ``inspect`` has no method.
        timeout: Seconds that they may take.
        limit: How many answers to wait for.
    """
    return app.control.inspect(timeout=timeout, limit=limit)._request(command) or {}
