"""``Celery.task``: the decorator, which makes a task when the app is finalized, and not at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from celery import Celery

#: Is given an app, a function and the decorator's options; raises what is wrong with them.
Check = Callable[[Celery, Callable[..., Any], dict[str, Any]], None]

_celery_task = Celery.task


def install(check: Check) -> None:
    """Let the options of a decorated function pass a check first."""

    @functools.wraps(_celery_task)
    def task(app: Celery, *args: Any, **options: Any) -> Any:
        if args:
            check(app, args[0], options)
            return _celery_task(app, *args, **options)
        decorate = _celery_task(app, **options)

        def checked(fun: Callable[..., Any]) -> Any:
            check(app, fun, options)
            return decorate(fun)

        return checked

    Celery.task = task
