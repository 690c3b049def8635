"""The current app of a thread, as Celery keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celery import Celery, _state


@contextmanager
def as_current_app(app: Celery) -> Iterator[None]:
    """Make an app this thread's current one, as it is in its worker; put the other back at the end.

    Up to 5.5, Celery's Redis backend looks for a chord's header in the current app's backend. A
    producer may have another current app: one with ``set_as_current=False``, or any app in a thread
    other than the one that made it.
    """
    before = _state._tls.current_app
    app.set_current()
    try:
        yield
    finally:
        _state._set_current_app(before)
