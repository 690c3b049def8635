"""Validation of options where a task is defined, not where it is first used.

Celery makes a task of a decorated function lazily, when the app is finalized: in a worker at boot,
in a web process at the first call. ``shared_task`` knows no app yet; its tasks are checked when
Celery makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Celery

from ..config.options import PREFIX, attributes, make_keyer
from .cached_task import CachedTask


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
