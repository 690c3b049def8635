"""``Celery.send_task``: marks the app of a message, for receivers of ``before_task_publish``."""

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
    """Let ``publishing_app`` return this app while it sends a message."""
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
    """Return the marked app that is sending a message in this context; None for any other."""
    return _publishing.get()
