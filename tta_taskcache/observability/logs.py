"""The log observer: a line for each change of state; repetitions at DEBUG.

Records have the event as attributes, too, for log processors: ``cache_event``, its kind, and its
fields, all with ``cache_`` in front (``LogRecord`` and Celery use the plain names).
"""

from __future__ import annotations

import logging
from dataclasses import fields
from typing import Any

from ..core.events import (
    CircuitChanged,
    Event,
    Fault,
    Filled,
    Invalidated,
    Lookup,
    Refused,
    Verified,
)

logger = logging.getLogger("tta_taskcache")


def extra(event: Event) -> dict[str, Any]:
    """Return an event as the ``extra`` of a log record."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return log_fields(type(event).__name__, **values)


def log_fields(kind: str, **values: Any) -> dict[str, Any]:
    """Return values as the ``extra`` of a log record, exceptions as text."""
    plain = {n: repr(v) if isinstance(v, BaseException) else v for n, v in values.items()}
    return {"cache_event": kind, **{f"cache_{name}": value for name, value in plain.items()}}


class LogObserver:
    """Writes events to the logger ``tta_taskcache``."""

    def __init__(self) -> None:
        self._said: set[tuple[str, ...]] = set()

    def __call__(self, event: Event) -> None:  # noqa: C901, PLR0912 - a case each
        """Log an event."""
        match event:
            case CircuitChanged(open=True):
                logger.warning(
                    "cache unavailable, tasks run uncached until it is back: %s",
                    event.cause,
                    extra=extra(event),
                )
            case CircuitChanged():
                logger.warning("cache available again", extra=extra(event))
            case Fault():
                self._once(
                    event,
                    ("fault", event.task, event.operation, type(event.error).__name__),
                    "cache fault in %s of task %s; the task is not affected: %r",
                    event.operation,
                    event.task,
                    event.error,
                )
            case Refused():
                self._once(
                    event,
                    ("refused", event.command),
                    "the cache's store refuses to %s, tasks run uncached: %s",
                    event.command,
                    event.cause,
                )
            case Filled(reason="unserializable"):
                self._once(
                    event,
                    ("unserializable", event.task),
                    "a result of task %s can't be carried by its cache serializer: not cached",
                    event.task,
                )
            case Filled(reason="too-large"):
                self._once(
                    event,
                    ("too-large", event.task),
                    "a result of task %s has %d bytes, more than its cache_max_bytes: not cached",
                    event.task,
                    event.size,
                )
            case Verified(outcome="different"):
                logger.warning(
                    "verification of task %s: a run returned something else than is stored for "
                    "equal arguments (%s, computed by task %s); is it impure, or does its key lack "
                    "something? %s",
                    event.task,
                    event.key,
                    event.computed_by,
                    "; ".join(event.differences),
                    extra=extra(event),
                )
            case Verified(outcome="failed"):
                logger.warning(
                    "verification of task %s: the run has failed; what is stored was served (%s)",
                    event.task,
                    event.key,
                    extra=extra(event),
                )
            case Lookup() if not logger.isEnabledFor(logging.DEBUG):
                pass  # hits are frequent: no line is made that isn't logged
            case Lookup(layer=str()):
                logger.debug(
                    "%s: hit in %s at %s, %.1f s old, computed by task %s",
                    event.key,
                    event.layer,
                    event.site,
                    event.age,
                    event.computed_by,
                    extra=extra(event),
                )
            case Lookup():
                name = event.key or event.task
                logger.debug("%s: %s at %s", name, event.reason, event.site, extra=extra(event))
            case Invalidated():
                marks = ", ".join(event.marks)
                logger.info(
                    "invalidated %s as number %d", marks, event.sequence, extra=extra(event)
                )
            case _:
                pass

    def _once(self, event: Event, what: tuple[str, ...], message: str, *args: object) -> None:
        level = logging.DEBUG if what in self._said else logging.WARNING
        self._said.add(what)
        logger.log(level, message, *args, extra=extra(event))
