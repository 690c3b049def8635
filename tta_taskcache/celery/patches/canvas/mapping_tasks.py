"""The bodies of Celery's tasks ``celery.map`` and ``celery.starmap``, of each app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, Task

#: Returns the new body of a task, given the app, the task and its own body.
Replace = Callable[[Celery, Task, Callable[..., Any]], Callable[..., Any]]


def replace_bodies(app: Celery, names: tuple[str, ...], replace: Replace) -> None:
    """Replace the bodies of built-in tasks once, now or when the app is finalized."""

    def put_in_place(**_: Any) -> None:
        for name in names:
            # Celery's tasks may be about to be registered, and this called again. ``app.tasks``
            # would wait for the lock of the thread that finalizes the app.
            task = app._tasks.get(name)
            if task is not None and not hasattr(task.run, "_taskcache_replaced"):
                body = replace(app, task, task.run)
                body._taskcache_replaced = True  # type: ignore[attr-defined]
                task.run = body

    app.on_after_finalize.connect(put_in_place, weak=False)
    if app.finalized:
        put_in_place()
