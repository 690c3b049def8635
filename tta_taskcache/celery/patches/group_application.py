"""``group._apply_tasks``: Celery applies a group's prepared signatures with it, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from celery import Celery
from celery.canvas import group

#: Is given an app, what Celery has prepared and the options it applies each with; yields as much.
Prefetch = Callable[[Celery, Iterable[Any], Mapping[str, Any]], Iterable[Any]]

_apply_tasks = group._apply_tasks


def install(prefetch: Prefetch) -> None:
    """Let prepared signatures pass through ``prefetch`` before Celery applies them."""

    def apply_prefetched(
        self: group, tasks: Any, producer: Any = None, app: Any = None, *args: Any, **options: Any
    ) -> Any:
        app = app or self.app
        return _apply_tasks(self, prefetch(app, tasks, options), producer, app, *args, **options)

    group._apply_tasks = apply_prefetched
