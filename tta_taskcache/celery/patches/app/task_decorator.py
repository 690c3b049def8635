"""``Celery.task``: the decorator, which makes the task later, when the app is finalized."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from celery import Celery

#: Checks the decorator's options for a function of an app; raises ``ConfigurationError``.
Check = Callable[[Celery, Callable[..., Any], dict[str, Any]], None]

#: Returns whether the decorator's options make a cached task.
Concerns = Callable[[Celery, dict[str, Any]], bool]

_celery_task = Celery.task


def install(check: Check, concerns: Concerns) -> None:
    """Check the options of a decorated function first, if they make a cached task."""

    @functools.wraps(_celery_task)
    def task(app: Celery, *args: Any, **options: Any) -> Any:
        if not concerns(app, options):
            return _celery_task(app, *args, **options)
        if args:
            check(app, args[0], options)
            return _celery_task(app, *args, **options)
        decorate = _celery_task(app, **options)

        def checked(fun: Callable[..., Any]) -> Any:
            check(app, fun, options)
            return decorate(fun)

        return checked

    Celery.task = task
