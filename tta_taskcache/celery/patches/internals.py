"""Private parts of Celery and kombu that are read, and not replaced."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from celery import Celery, Task
from celery._state import get_current_app, get_current_worker_task
from celery.canvas import Signature
from celery.canvas import _chain as Chain  # noqa: N812 - chain() is a function that makes one
from celery.result import AsyncResult
from celery.utils.functional import _regen
from kombu import compression, serialization

__all__ = [
    "Chain",
    "ask_workers",
    "compressor_names",
    "current_app",
    "event_dispatcher",
    "execution_options",
    "is_lazy",
    "merge",
    "remember",
    "running_task",
    "serializer_encoding",
    "serializer_names",
    "validated_body",
]


def current_app() -> Celery:
    """The current app itself, and not a proxy of it."""
    return get_current_app()


def running_task() -> Task | None:
    """The task that runs in this thread; None outside of a run."""
    return get_current_worker_task()


def execution_options(task: Task) -> dict[str, Any]:
    """The options of messages that are a task's attributes."""
    options: dict[str, Any] = task._get_exec_options()
    return options


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


def is_lazy(members: Any) -> bool:
    """Whether members of a group are yet to be generated."""
    return isinstance(members, _regen) and not members._regen__done


def serializer_names() -> Collection[str]:
    """Names of the serializers that are registered now."""
    names: Collection[str] = serialization.registry._encoders.keys()
    return names


def serializer_encoding(name: str) -> str:
    """The content encoding of a serializer's bytes.

    Raises:
        KeyError: There is no such serializer.
    """
    encoding: str = serialization.registry._encoders[name][1]
    return encoding


def compressor_names() -> Collection[str]:
    """Names and aliases of the compressors that are registered now."""
    names: Collection[str] = compression._aliases.keys()
    return names


def validated_body(run: Callable[..., Any]) -> Callable[..., Any] | None:
    """The function whose arguments Celery validates before it calls it; None if it does not."""
    function: Any = run
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is not None and code.co_qualname.startswith("pydantic_wrapper."):
            body: Callable[..., Any] = inner
            return body
        function = inner
    return None
