"""Definition of cached tasks: the decorator, and validation of options where a task is defined.

Celery makes a task of a decorated function lazily, when the app is finalized: in a worker at boot,
in a web process at the first call. ``shared_task`` knows no app yet; its tasks are checked when
Celery makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery, shared_task

from ...errors import ConfigurationError
from ..config.options import PREFIX, attributes, make_keyer
from .cached_task import CachedTask


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


def is_of_cached_task(app: Celery, options: dict[str, Any]) -> bool:
    """Whether these options of the decorator make a cached task."""
    base = options.get("base") or app.task_cls
    return isinstance(base, type) and issubclass(base, CachedTask)


def check_definition(app: Celery, fun: Callable[..., Any], options: dict[str, Any]) -> None:
    """Check the options of a decorated function that becomes a cached task.

    Raises:
        ConfigurationError: An option is wrong; the message names task, option and what is allowed.
    """
    if not hasattr(fun, "__name__"):
        return  # Celery knows what to make of it, or says what is wrong
    base = options.get("base") or app.task_cls
    name = options.get("name") or app.gen_task_name(fun.__name__, fun.__module__)
    check_function(name, base, fun, options)


def check_function(
    name: str, base: type[CachedTask], fun: Callable[..., Any], options: dict[str, Any]
) -> None:
    """Check the options of a function that becomes a task of this name and base class.

    Raises:
        ConfigurationError: Naming task, option and what is allowed.
    """
    own = {name.removeprefix(PREFIX): options[name] for name in options if name.startswith(PREFIX)}
    function = partial(fun, None) if options.get("bind") else fun
    make_keyer(name, {**attributes(base), **own}, fun, function, default_ttl=1.0)
