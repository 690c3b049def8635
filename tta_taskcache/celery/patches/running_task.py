"""Private parts of Celery that tell about the run in progress."""

from __future__ import annotations

from typing import Any

from celery import Task
from celery._state import get_current_worker_task
from celery.worker.request import Request


def running_task() -> Task | None:
    """The task that runs in this thread; None outside of a run."""
    return get_current_worker_task()


def event_dispatcher(request: Request) -> Any:
    """What sends the events of a request in a worker's main process; None without events."""
    return request._eventer
