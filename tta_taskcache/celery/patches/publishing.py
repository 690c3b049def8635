"""``Celery.send_task``: marks the app of a message, for receivers of ``before_task_publish``."""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import Any

from celery import Celery

_publishing: ContextVar[Celery | None] = ContextVar("taskcache_publishing", default=None)


def mark_publishes(app: Celery) -> None:
    """Let ``publishing_app`` return this app while it sends a message."""
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
    """Return the marked app that is sending a message in this context; None for any other."""
    return _publishing.get()
