"""Putting the library's replacements in Celery in place, once a process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from celery import Celery

from ..canvas.group_prefetch import Prepared, prefetch_group
from ..patches import group_application, task_decorator
from .task_cache import cache_of
from .task_definition import check_definition


def _prefetch(
    app: Celery, prepared: Iterable[Prepared], options: Mapping[str, Any]
) -> Iterator[Prepared]:
    return prefetch_group(app, prepared, options, cache_of(app).runtime.observe)


@cache
def install() -> None:
    """Put everything in place that is for all apps; what is for one, its ``TaskCache`` does."""
    task_decorator.install(check_definition)
    group_application.install(_prefetch)
