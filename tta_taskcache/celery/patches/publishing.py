"""``Celery.send_task``: which app a message is of that ``before_task_publish`` tells about."""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet

from celery import Celery

_publishing: ContextVar[Celery | None] = ContextVar("taskcache_publishing", default=None)

_marked: WeakSet[Celery] = WeakSet()

_celery_send_task = Celery.send_task


def mark_publishes(app: Celery) -> None:
    """Let ``publishing_app`` tell of this app while it sends a message."""
    _marked.add(app)


def install() -> None:
    """Let messages of apps that are marked be told from others.

    In the class: what a test or an application puts in the place of one app's method is left alone.
    """

    @functools.wraps(_celery_send_task)
    def send_task(app: Celery, *args: Any, **kwargs: Any) -> Any:
        if app not in _marked:
            return _celery_send_task(app, *args, **kwargs)
        token = _publishing.set(app)
        try:
            return _celery_send_task(app, *args, **kwargs)
        finally:
            _publishing.reset(token)

    Celery.send_task = send_task


def publishing_app() -> Celery | None:
    """The app whose message is being sent in this context, if publishes of it are marked."""
    return _publishing.get()
