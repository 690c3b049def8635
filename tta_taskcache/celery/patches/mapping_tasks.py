"""``celery.map`` and ``celery.starmap``: the bodies of these tasks, for each app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery, Task

#: Makes the new body of a task: is given the app, the task and its own body.
Replace = Callable[[Celery, Task, Callable[..., Any]], Callable[..., Any]]


def replace_bodies(app: Celery, names: tuple[str, ...], replace: Replace) -> None:
    """Replace the bodies of built-in tasks, now or when the app is finalized. Once for each."""

    def put_in_place(**_: Any) -> None:
        for name in names:
            # Celery's tasks may be about to be registered, and this called again. Not by
            # ``app.tasks``: who first asks for that holds its lock, and waits for ours.
            task = app._tasks.get(name)
            if task is not None and not hasattr(task.run, "_taskcache_replaced"):
                body = replace(app, task, task.run)
                body._taskcache_replaced = True  # type: ignore[attr-defined]
                task.run = body

    app.on_after_finalize.connect(put_in_place, weak=False)
    if app.finalized:
        put_in_place()
