"""``cache_warm``: the calls of a task that are kept warm, their schedule and their pace."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from ..errors import ConfigurationError
from .record import record

#: Default of ``in_flight``.
IN_FLIGHT = 100

#: Most calls that are learnt from traffic for one task.
MAX_HOT = 1_000

MAX_PRIORITY = 255


@record(kw_only=True)
class Sending:
    """Options of sending calls.

    Attributes:
        rate: Most calls a second (more than 0); None for no bound.
        in_flight: Most calls that were sent and aren't done (1 or more).
        queue: Queue of the calls; None for the task's own.
        priority: Priority of their messages (0 to 255); None for the task's own.
        refresh: Whether calls are made whose entries are fresh, too.
    """

    rate: float | None = None
    in_flight: int = IN_FLIGHT
    queue: str | None = None
    priority: int | None = None
    refresh: bool = False

    def __post_init__(self) -> None:
        if self.rate is not None and not _is_positive(self.rate):
            raise ConfigurationError(f"rate={self.rate!r}: must be calls a second, more than 0")
        if not _is_whole(self.in_flight, 1, math.inf):
            raise ConfigurationError(
                f"in_flight={self.in_flight!r}: must be a number of calls, 1 or more"
            )
        if self.queue is not None and not is_name(self.queue):
            raise ConfigurationError(f"queue={self.queue!r}: must be the name of a queue")
        if self.priority is not None and not _is_whole(self.priority, 0, MAX_PRIORITY):
            raise ConfigurationError(f"priority={self.priority!r}: must be 0 to {MAX_PRIORITY}")
        if not isinstance(self.refresh, bool):
            raise ConfigurationError(f"refresh={self.refresh!r}: must be True or False")


@record(kw_only=True)
class Warm:
    """The calls of a task to keep warm on beat's schedule, for ``cache_warm``.

    Each turn runs the calls whose entries are missing, stale, or would be before the next turn.

    Attributes:
        every: Its times: seconds between two turns, a timedelta, or a schedule of Celery's, such as
            ``crontab(minute=0)``.
        calls: The calls: the path of a file of JSON lines, a list, or a function without arguments
            that returns an iterable of them. The worker that warms reads them.
        hot: Instead of ``calls``: number of the most requested calls, learnt from traffic (1 to
            1,000).
        rate: Most calls a second; None for no bound.
        in_flight: Most calls that were sent and aren't done.
        queue: Queue of the calls; None for the task's own.
        priority: Priority of their messages (0 to 255); None for the task's own.

    Raises:
        ConfigurationError: A field is wrong; the message says what is allowed.
    """

    every: Any
    calls: str | os.PathLike[str] | Sequence[Any] | Callable[[], Any] | None = None
    hot: int | None = None
    rate: float | None = None
    in_flight: int = IN_FLIGHT
    queue: str | None = None
    priority: int | None = None

    def __post_init__(self) -> None:
        check_every(self.every, "Warm")
        if (self.calls is None) == (self.hot is None):
            raise ConfigurationError("Warm(): give either calls= or hot=")
        calls = self.calls
        is_source = isinstance(calls, (str, os.PathLike, list, tuple)) or callable(calls)
        if calls is not None and not (is_source and calls != ""):
            raise ConfigurationError(
                f"Warm(calls={calls!r}): must be a path, a list of calls, or a function that "
                "returns them (an iterator would be used up after the first time)"
            )
        if self.hot is not None:
            check_hot(self.hot, "Warm")
        try:
            _ = self.sending
        except ConfigurationError as error:
            raise ConfigurationError(f"Warm({error.args[0]})") from None

    @property
    def sending(self) -> Sending:
        """Options of sending its calls."""
        return Sending(
            rate=self.rate, in_flight=self.in_flight, queue=self.queue, priority=self.priority
        )


def check_hot(hot: Any, where: str) -> None:
    """Check a number of hot calls.

    Raises:
        ConfigurationError: The number is wrong; the message says what is allowed.
    """
    if not _is_whole(hot, 1, MAX_HOT):
        raise ConfigurationError(f"{where}(hot={hot!r}): must be a whole number, 1 to {MAX_HOT}")


def check_every(every: Any, where: str) -> None:
    """Check the times of a schedule.

    Raises:
        ConfigurationError: The value is wrong; the message says what is allowed.
    """
    seconds = every.total_seconds() if isinstance(every, timedelta) else every
    if _is_positive(seconds):
        return
    if _is_number(seconds):
        raise ConfigurationError(f"{where}(every={every!r}): must be more than 0 seconds")
    # Any schedule of Celery's, by its method: the core doesn't know Celery.
    if isinstance(every, type) or not callable(getattr(every, "is_due", None)):
        raise ConfigurationError(
            f"{where}(every={every!r}): must be seconds, a timedelta or a schedule of Celery's"
        )


def is_name(value: Any) -> bool:
    """Whether a value is a string, and not empty."""
    return isinstance(value, str) and bool(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and 0 < value < math.inf


def _is_whole(value: Any, least: int, most: float) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
