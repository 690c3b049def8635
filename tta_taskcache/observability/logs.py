"""Log lines: changes of state once, what repeats at DEBUG."""

from __future__ import annotations

import logging

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


class LogObserver:
    """Writes events to the logger ``tta_taskcache``."""

    def __init__(self) -> None:
        self._said: set[tuple[str, ...]] = set()

    def __call__(self, event: Event) -> None:  # noqa: C901 - a case each
        """Log an event."""
        match event:
            case CircuitChanged(open=True):
                logger.warning(
                    "cache unavailable, tasks run uncached until it is back: %s", event.cause
                )
            case CircuitChanged():
                logger.warning("cache available again")
            case Fault():
                self._once(
                    ("fault", event.task, event.operation, type(event.error).__name__),
                    "cache fault in %s of task %s; the task is not affected: %r",
                    event.operation,
                    event.task,
                    event.error,
                )
            case Refused():
                self._once(
                    ("refused", event.command),
                    "the cache's store refuses to %s, tasks run uncached: %s",
                    event.command,
                    event.cause,
                )
            case Filled(reason="unserializable"):
                self._once(
                    ("unserializable", event.task),
                    "a result of task %s can't be carried by its cache serializer: not cached",
                    event.task,
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
                )
            case Verified(outcome="failed"):
                logger.warning(
                    "verification of task %s: the run has failed; what is stored was served (%s)",
                    event.task,
                    event.key,
                )
            case Lookup(layer=str()):
                logger.debug(
                    "%s: hit in %s at %s, %.1f s old, computed by task %s",
                    event.key,
                    event.layer,
                    event.site,
                    event.age,
                    event.computed_by,
                )
            case Lookup():
                logger.debug("%s: %s at %s", event.key or event.task, event.reason, event.site)
            case Invalidated():
                logger.info("invalidated %s as number %d", ", ".join(event.marks), event.sequence)
            case _:
                pass

    def _once(self, what: tuple[str, ...], message: str, *args: object) -> None:
        level = logging.DEBUG if what in self._said else logging.WARNING
        self._said.add(what)
        logger.log(level, message, *args)
