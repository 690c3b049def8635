"""Private parts of Celery and kombu that are read and not replaced.

``running_task`` returns the task that runs in this thread; None outside of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from celery import Celery, Task, states
from celery._state import get_current_app as current_app
from celery._state import get_current_worker_task as running_task
from celery.app.task import Context
from celery.canvas import Signature
from celery.canvas import _chain as Chain  # noqa: N812 - chain() is a function that makes one
from celery.result import AsyncResult
from celery.utils.functional import _regen
from kombu import compression, serialization

__all__ = [
    "Chain",
    "ask_workers",
    "compressor_names",
    "config_source",
    "current_app",
    "event_dispatcher",
    "execution_options",
    "fulfil",
    "guards_subscriptions",
    "is_lazy",
    "merge",
    "remember",
    "running_task",
    "serializer_encoding",
    "serializer_names",
    "success_meta",
    "validated_body",
]


def execution_options(task: Task) -> dict[str, Any]:
    """Return the message options that a task has as attributes."""
    options: dict[str, Any] = task._get_exec_options()
    return options


def event_dispatcher(request: Any) -> Any:
    """Return the event dispatcher of a request in a worker's main process; None without events."""
    return request._eventer


def remember(result: AsyncResult, meta: dict[str, Any], *, in_group: bool) -> None:
    """Let a result hold its meta data, as if its backend had just returned them.

    Args:
        result: The result.
        meta: The meta data.
        in_group: Whether a group's result counts it: the backend's news will count it, so this
            doesn't.
    """
    if in_group:
        result._set_cache(meta)
    else:
        result._maybe_set_cache(meta)


def fulfil(result: AsyncResult, meta: dict[str, Any]) -> None:
    """Let a result hold its meta data, and be ready for all who wait for it.

    Celery would subscribe to the news of each member of a group, and of this one there are none.
    """
    result._set_cache(meta)
    result.on_ready(result)
    ready = result.on_ready

    def then(callback: Any, on_error: Any = None, **_: Any) -> Any:
        return ready.then(callback, on_error)

    result.then = then


def guards_subscriptions(backend: Any) -> bool:
    """Whether threads may send calls at once: a Redis backend subscribes to each result.

    Since Celery 5.7 under a lock; before, threads read each other's replies.
    """
    return hasattr(getattr(backend, "result_consumer", None), "_pubsub_lock")


def success_meta(backend: Any, value: Any, request: Mapping[str, Any]) -> dict[str, Any]:
    """What a backend tells of a call that has succeeded."""
    meta: dict[str, Any] = backend._get_result_meta(value, states.SUCCESS, None, Context(request))
    return meta


def merge(
    signature: Signature, given: Mapping[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]:
    """Return arguments and options of a signature that is applied with further ones."""
    more = {name: given[name] for name in given if name not in ("args", "kwargs")}
    args, kwargs, options = signature._merge(
        given.get("args") or (), given.get("kwargs") or {}, more
    )
    return args, kwargs, options


def ask_workers(app: Celery, command: str, *, timeout: float, limit: int) -> dict[str, Any]:
    """Return the workers' replies to an inspect command, by worker.

    Args:
        app: The app.
        command: The command, for which ``inspect`` has no method.
        timeout: Seconds to wait for replies.
        limit: Number of replies to wait for.
    """
    return app.control.inspect(timeout=timeout, limit=limit)._request(command) or {}


def is_lazy(members: Any) -> bool:
    """Whether a generator has yet to make members of a group."""
    return isinstance(members, _regen) and not members._regen__done


def serializer_names() -> Collection[str]:
    """Return the names of the serializers that are registered now."""
    names: Collection[str] = serialization.registry._encoders.keys()
    return names


def serializer_encoding(name: str) -> str:
    """Return the content encoding of a serializer's bytes.

    Raises:
        KeyError: There is no such serializer.
    """
    encoding: str = serialization.registry._encoders[name][1]
    return encoding


def config_source(app: Celery) -> str:
    """Return the name of what an app's settings are read from; empty where they are its own."""
    source: Any = app._config_source
    if source is None or isinstance(source, str):
        return source or ""
    name = getattr(source, "__name__", "") or type(source).__name__
    module = getattr(source, "__module__", "") or ""
    return f"{module}.{name}" if module and module != "builtins" else str(name)


def compressor_names() -> Collection[str]:
    """Return the names and aliases of the compressors that are registered now."""
    names: Collection[str] = compression._aliases.keys()
    return names


def validated_body(run: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return the function whose arguments Celery validates before the call; None for no such."""
    function: Any = run
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is not None and code.co_qualname.startswith("pydantic_wrapper."):
            body: Callable[..., Any] = inner
            return body
        function = inner
    return None
