"""``cached_task``: the decorator that makes a cached task, with its types."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery, shared_task

from ...errors import ConfigurationError
from .cached_task import CachedTask
from .task_definition import check_function


def cached_task(
    function: Callable[..., Any] | None = None,
    *,
    app: Celery | None = None,
    base: type[CachedTask] = CachedTask,
    **options: Any,
) -> Any:
    """Make a cached task of a function: ``@cached_task(cache_ttl=3600)``.

    It is ``@shared_task(base=CachedTask, …)``, or with an app ``@app.task(base=CachedTask, …)``,
    and keeps the types of parameters and result for type checkers. Wrong options fail here,
    those of shared tasks too.

    Args:
        function: The function, when the decorator is used without options.
        app: The app; else it is a shared task, of every app.
        base: ``CachedTask`` or a class derived from it.
        **options: As of Celery's decorator, and ``cache_*``.

    Raises:
        ConfigurationError: Naming task, option and what is allowed; or ``base`` isn't derived
            from ``CachedTask``.
    """
    if function is None:
        return partial(cached_task, app=app, base=base, **options)
    if not issubclass(base, CachedTask):
        raise ConfigurationError(
            f"task {function.__name__!r}: base={base!r} isn't derived from CachedTask"
        )
    options["base"] = base
    if app is not None:
        return app.task(**options)(function)
    name = options.get("name") or f"{function.__module__}.{function.__name__}"
    check_function(name, base, function, options)
    return shared_task(**options)(function)
