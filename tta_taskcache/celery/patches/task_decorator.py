"""Wrong options fail where the task is defined, not where it is first used.

Celery makes a task of a decorated function lazily, when the app is finalized: in a worker at boot,
in a web process at the first call. So ``app.task`` is wrapped to look at the options of cached
tasks right away. ``shared_task`` knows no app yet; its tasks are checked when Celery makes them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from celery import Celery

from ..api.cached_task import CachedTask
from ..config.options import PREFIX

_celery_task = Celery.task


def check(app: Celery, fun: Callable[..., Any], options: dict[str, Any]) -> None:
    """Check the options of a decorated function, as making the task will.

    Raises:
        ConfigurationError: Naming task, option and what is allowed.
    """
    own = {name: value for name, value in options.items() if name.startswith(PREFIX)}
    name = options.get("name") or app.gen_task_name(fun.__name__, fun.__module__)
    run = fun if options.get("bind") else staticmethod(fun)
    # Making the class checks them; nothing registers it.
    type(fun.__name__, (options["base"],), {"name": name, "run": run, **own})


@functools.wraps(_celery_task)
def task(app: Celery, *args: Any, **options: Any) -> Any:
    """``Celery.task``, which checks the options of cached tasks first."""
    base = options.get("base")
    if not (isinstance(base, type) and issubclass(base, CachedTask)):
        return _celery_task(app, *args, **options)
    if args:
        check(app, args[0], options)
        return _celery_task(app, *args, **options)
    decorate = _celery_task(app, **options)

    def checked(fun: Callable[..., Any]) -> Any:
        check(app, fun, options)
        return decorate(fun)

    return checked


def install() -> None:
    """Put the check in front of Celery's decorator, once."""
    Celery.task = task
