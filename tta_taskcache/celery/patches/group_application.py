"""``group._apply_tasks``: Celery applies a group's prepared signatures with it, one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from celery import Celery
from celery.canvas import group
from celery.result import AsyncResult

#: Celery's own way to apply what it has prepared.
ApplyPrepared = Callable[[Iterable[Any]], Iterator[AsyncResult]]

#: Is given an app, a group, what Celery has prepared of it, the options it applies each with, and
#: Celery's own way to do so. A generator, as Celery's own is.
Apply = Callable[
    [Celery, group, Iterable[Any], Mapping[str, Any], ApplyPrepared], Iterator[AsyncResult]
]

_apply_tasks = group._apply_tasks


def install(apply: Apply) -> None:
    """Let groups be applied like this."""

    def applied(
        self: group, tasks: Any, producer: Any = None, app: Any = None, *args: Any, **options: Any
    ) -> Iterator[AsyncResult]:
        app = app or self.app

        def as_ever(prepared: Iterable[Any]) -> Iterator[AsyncResult]:
            results: Iterator[AsyncResult] = _apply_tasks(
                self, prepared, producer, app, *args, **options
            )
            return results

        return apply(app, self, tasks, options, as_ever)

    group._apply_tasks = applied
