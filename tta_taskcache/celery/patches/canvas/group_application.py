"""``group._apply_tasks``, with which Celery applies a group's prepared signatures one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from celery import Celery
from celery.canvas import group
from celery.result import AsyncResult

#: Celery's own function that applies prepared signatures.
ApplyPrepared = Callable[[Iterable[Any]], Iterator[AsyncResult]]

#: Applies a group, given the app, the group, its prepared signatures, the options that each is
#: applied with, and Celery's own function. A generator, as Celery's own is.
Apply = Callable[
    [Celery, group, Iterable[Any], Mapping[str, Any], ApplyPrepared], Iterator[AsyncResult]
]

_apply_tasks = group._apply_tasks


def install(apply: Apply) -> None:
    """Let groups be applied by this function."""

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
