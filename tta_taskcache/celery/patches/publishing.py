"""``Celery.send_task``: which app a message is of that ``before_task_publish`` tells about."""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any

from celery import Celery

_publishing: ContextVar[Celery | None] = ContextVar("taskcache_publishing", default=None)


def mark_publishes(app: Celery) -> None:
    """Let ``publishing_app`` tell of this app while it sends a message."""
    send_task = app.send_task

    @functools.wraps(send_task)
    def marked(*args: Any, **kwargs: Any) -> Any:
        token = _publishing.set(app)
        try:
            return send_task(*args, **kwargs)
        finally:
            _publishing.reset(token)

    app.send_task = marked


def publishing_app() -> Celery | None:
    """The app whose message is being sent in this context, if publishes of it are marked."""
    return _publishing.get()
