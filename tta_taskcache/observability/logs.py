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
    Compared,
    Event,
    Fault,
    Filled,
    Invalidated,
    Lookup,
    Refused,
    Verified,
)
from ..core.record import record

logger = logging.getLogger("tta_taskcache")


def extra(event: Event) -> dict[str, Any]:
    """Return an event as the ``extra`` of a log record."""
    values = {field.name: getattr(event, field.name) for field in fields(event)}
    return log_fields(type(event).__name__, **values)


def log_fields(kind: str, **values: Any) -> dict[str, Any]:
    """Return values as the ``extra`` of a log record, exceptions as text."""
    plain = {n: repr(v) if isinstance(v, BaseException) else v for n, v in values.items()}
    return {"cache_event": kind, **{f"cache_{name}": value for name, value in plain.items()}}


@record
class LogLine:
    """What is logged of an event.

    Attributes:
        level: The level.
        message: The message.
        args: Its arguments.
        once: Of what is equal here, all but the first are logged at DEBUG.
    """

    level: int
    message: str
    args: tuple[object, ...] = ()
    once: tuple[str, ...] = ()


def line_of(event: Event) -> LogLine | None:  # noqa: C901, PLR0911, PLR0912 - a case each
    """What is logged of an event, if anything."""
    match event:
        case CircuitChanged(open=True):
            return LogLine(
                logging.WARNING,
                "cache unavailable, tasks run uncached until it is back: %s",
                (event.cause,),
            )
        case CircuitChanged():
            return LogLine(logging.WARNING, "cache available again")
        case Fault():
            return LogLine(
                logging.WARNING,
                "cache fault in %s of task %s; the task is not affected: %r",
                (event.operation, event.task, event.error),
                ("fault", event.task, event.operation, type(event.error).__name__),
            )
        case Refused():
            return LogLine(
                logging.WARNING,
                "the cache's store refuses to %s, tasks run uncached: %s",
                (event.command, event.cause),
                ("refused", event.command),
            )
        case Filled(reason="unserializable"):
            return LogLine(
                logging.WARNING,
                "a result of task %s can't be carried by its cache serializer: not cached",
                (event.task,),
                ("unserializable", event.task),
            )
        case Filled(reason="too-large"):
            return LogLine(
                logging.WARNING,
                "a result of task %s has %d bytes, more than its cache_max_bytes: not cached",
                (event.task, event.size),
                ("too-large", event.task),
            )
        case Verified(outcome="different", similarity=float()):
            return LogLine(
                logging.WARNING,
                "verification of task %s: a run returned something else than a neighbour's result "
                "at similarity %.4f (%s, computed by task %s) %s",
                (
                    event.task,
                    event.similarity,
                    event.key,
                    event.computed_by,
                    "; ".join(event.differences),
                ),
            )
        case Verified(outcome="different"):
            return LogLine(
                logging.WARNING,
                "verification of task %s: a run returned something else than is stored for "
                "equal arguments (%s, computed by task %s); is it impure, or does its key lack "
                "something? %s",
                (event.task, event.key, event.computed_by, "; ".join(event.differences)),
            )
        case Verified(outcome="failed"):
            return LogLine(
                logging.WARNING,
                "verification of task %s: the run has failed; what is stored was served (%s)",
                (event.task, event.key),
            )
        case Lookup(layer=str(), similarity=float()):
            return LogLine(
                logging.DEBUG,
                "%s: hit of the neighbour %s at similarity %.4f in %s at %s, %.1f s old, computed "
                "by task %s",
                (
                    event.key,
                    event.neighbour,
                    event.similarity,
                    event.layer,
                    event.site,
                    event.age,
                    event.computed_by,
                ),
            )
        case Compared():
            return LogLine(
                logging.DEBUG,
                "%s: nearest is %s at similarity %.4f: %s at %s",
                (event.key, event.neighbour, event.similarity, event.outcome, event.site),
            )
        case Lookup(layer=str()):
            return LogLine(
                logging.DEBUG,
                "%s: hit in %s at %s, %.1f s old, computed by task %s",
                (event.key, event.layer, event.site, event.age, event.computed_by),
            )
        case Lookup():
            about = (event.key or event.task, event.reason, event.site)
            return LogLine(logging.DEBUG, "%s: %s at %s", about)
        case Invalidated():
            marks = ", ".join(event.marks)
            return LogLine(logging.INFO, "invalidated %s as number %d", (marks, event.sequence))
    return None


class LogLines:
    """Reads events as lines: of those that repeat, the first is a warning, the others DEBUG."""

    def __init__(self) -> None:
        self._said: set[tuple[str, ...]] = set()

    def read(self, event: Event) -> tuple[int, LogLine] | None:
        """The level and the line of an event, if it has one."""
        line = line_of(event)
        if line is None:
            return None
        if not line.once:
            return line.level, line
        level = logging.DEBUG if line.once in self._said else line.level
        self._said.add(line.once)
        return level, line


class LogObserver:
    """Writes events to the logger ``tta_taskcache``."""

    def __init__(self) -> None:
        self._lines = LogLines()

    def __call__(self, event: Event) -> None:
        """Log an event."""
        # Hits are many: nothing is made for a line that nobody reads.
        if isinstance(event, Lookup) and not logger.isEnabledFor(logging.DEBUG):
            return
        if (read := self._lines.read(event)) is not None:
            level, line = read
            logger.log(level, line.message, *line.args, extra=extra(event))
