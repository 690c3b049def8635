"""Schedules: the library's entries of beat. With several beats, each turn is still taken once."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import field
from datetime import datetime, timedelta, tzinfo
from hashlib import blake2b
from logging import Logger
from typing import TYPE_CHECKING, Any

from celery import Celery, Task, signals
from celery.schedules import crontab
from celery.utils.log import get_logger

from ...core.entries.invalidation_marks import read_marks
from ...core.entries.marks import soft
from ...core.record import record
from ...core.warm_policy import Warm, check_every
from ...errors import ConfigurationError

if TYPE_CHECKING:
    from ..config.runtime import Runtime

logger: Logger = get_logger("tta_taskcache")

INVALIDATE = "tta_taskcache.invalidate"
WARM = "tta_taskcache.warm"

#: Header of a message: when it was sent (Unix seconds).
SENT = "taskcache_sent"

#: Two messages closer than this share of the interval are for the same turn.
SAME_TURN = 0.9

#: Seconds, likewise, of a crontab, whose unit is the minute, and of other schedules.
SAME_MINUTE = 50.0

#: Hours of a crontab that names none.
ALL_HOURS = 24

#: Longer names of entries become a digest: a scheduler's database may keep 200 characters only.
MAX_NAME = 150


@record(kw_only=True)
class Invalidate:
    """An invalidation on schedule, for ``TaskCache.schedule``, of what any of its fields names.

    Attributes:
        every: Its times: seconds between two turns, a timedelta, or a schedule of Celery's, such as
            ``crontab(hour=4)``.
        key: Ends the entry of this key.
        task: Ends all entries of this task, given itself or by name.
        tags: Ends all entries with any of these tags.
        pattern: Ends all entries whose keys (``task:label:digest``) match this glob of Redis'
            ``MATCH``, of at most 1,000 characters.
        soft: Makes them stale instead, as ``TaskCache.invalidate`` does.
        marks: The marks that it sets (computed).

    Raises:
        ConfigurationError: A field is wrong, or none names anything; the message says what is
            allowed.
    """

    every: Any
    key: str | None = None
    task: str | Task | None = None
    tags: Collection[str] | None = None
    pattern: str | None = None
    soft: bool = False
    marks: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_every(self.every, "Invalidate")
        if self.key is not None and not isinstance(self.key, str):
            raise ConfigurationError(f"Invalidate(key={self.key!r}): must be a key, a string")
        if not isinstance(self.task, (str, Task, type(None))):
            raise ConfigurationError(f"Invalidate(task={self.task!r}): must be a task or its name")
        try:
            names = read_marks(self.key, self.task, self.tags, self.pattern)
        except (TypeError, ValueError) as error:
            message = str(error).replace("invalidate(", "Invalidate(").partition("; clear()")[0]
            raise ConfigurationError(message) from None
        if not isinstance(self.soft, bool):
            raise ConfigurationError(f"Invalidate(soft={self.soft!r}): must be True or False")
        marks = tuple(map(soft, names)) if self.soft else names
        object.__setattr__(self, "marks", marks)

    @property
    def name(self) -> str:
        """The name of its entry of beat."""
        what = ",".join(self.marks)
        if len(what) > MAX_NAME:
            what = blake2b(what.encode(), digest_size=16).hexdigest()
        return f"{INVALIDATE}:{what}"

    def entry(self) -> dict[str, Any]:
        """Return its entry of beat."""
        keys = [] if self.key is None or self.soft else [self.key]
        turn = turn_of(self.name, self.every)
        return _entry(INVALIDATE, self.every, [list(self.marks), keys], {"turn": turn})


def _entry(task: str, every: Any, args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    # Only JSON: some schedulers keep entries in a database.
    entry: dict[str, Any] = {"task": task, "schedule": every, "args": args, "kwargs": kwargs}
    if (expires := interval(every)) is not None:
        # Messages that pile up while no worker runs expire, all but the newest.
        entry["options"] = {"expires": max(1.0, expires)}
    return entry


class Schedule:
    """The library's entries on an app's schedule, beside the app's own.

    Args:
        app: The app.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app
        self._entries: dict[str, dict[str, Any]] = {}
        # After finalizing, the app's own entries are there, from whatever source. Not weakly: the
        # finalizer that Celery makes for a weak receiver keeps signal and app for ever.
        app.on_after_finalize.connect(self._apply, weak=False)

    def warm(self, task: str, warm: Warm) -> None:
        """Add the warming of a task's calls."""
        name = f"{WARM}:{task}"
        self._put(name, _entry(WARM, warm.every, [task], {"turn": turn_of(name, warm.every)}))

    def invalidate(self, invalidations: Iterable[Invalidate]) -> None:
        """Add invalidations.

        Raises:
            TypeError: An argument is no ``Invalidate``.
            ConfigurationError: An equal invalidation is scheduled already, at other times.
        """
        for each in invalidations:
            if not isinstance(each, Invalidate):
                raise TypeError(f"schedule({each!r}): must be an Invalidate(…)")
            entry = each.entry()
            before = self._entries.get(each.name, entry)
            if before["schedule"] != entry["schedule"]:
                raise ConfigurationError(
                    f"schedule({each!r}): it is scheduled already, every={before['schedule']!r}"
                )
            self._put(each.name, entry)

    def _put(self, name: str, entry: dict[str, Any]) -> None:
        self._entries[name] = entry
        if self._app.finalized:
            self._apply()

    def _apply(self, **_: Any) -> None:
        if self._entries:
            self._app.conf.beat_schedule = {**self._app.conf.beat_schedule, **self._entries}


def interval(every: Any) -> float | None:
    """Return the seconds between two turns; None for a schedule whose turns vary."""
    if isinstance(every, (int, float)):
        return float(every)
    # Celery's schedule of an interval has ``run_every``.
    run_every = every if isinstance(every, timedelta) else getattr(every, "run_every", None)
    return run_every.total_seconds() if isinstance(run_every, timedelta) else None


def until_next(every: Any) -> float:
    """Return the seconds from a turn now to the next one."""
    steady = interval(every)
    if steady is not None:
        return steady
    left: timedelta = every.remaining_estimate(every.now())
    return max(0.0, left.total_seconds())


def gap(every: Any) -> float:
    """Return the least seconds between two turns."""
    steady = interval(every)
    return SAME_MINUTE if steady is None else SAME_TURN * steady


def turn_of(name: str, every: Any) -> list[Any]:
    """What a message says of its turn: name, least seconds to the next one, and whether hours are
    named: what is due at half past two is due once on the day on which it is that twice.
    """
    return [name, gap(every), isinstance(every, crontab) and len(every.hour) < ALL_HOURS]


def _first_time(at: float, zone: tzinfo) -> float:
    """When clocks first showed what they show then: earlier in an hour that comes twice (s)."""
    return datetime.fromtimestamp(at, zone).replace(fold=0).timestamp()


def connect() -> None:
    """Connect the signal that stamps messages of scheduled tasks with their time."""
    for task in (INVALIDATE, WARM):
        name = f"tta_taskcache.sent.{task}"
        signals.before_task_publish.connect(_on_publish, sender=task, dispatch_uid=name)


def _on_publish(headers: dict[str, Any] | None = None, **_: Any) -> None:
    if headers is not None:
        headers.setdefault(SENT, time.time())


def is_my_turn(task: Task, runtime: Runtime, turn: list[Any] | None) -> bool:
    """Whether a message takes its turn: it is of no schedule, or the first for its turn.

    Args:
        task: The task that runs.
        runtime: The cache.
        turn: The turn, as ``turn_of`` returns it; None for no schedule.

    Raises:
        StoreUnavailable: Redis can't be reached.
    """
    store = runtime.warming_store
    if turn is None or store is None:
        return True
    name, least, *names_hours = turn  # databases of schedulers may have those of before
    sent = (task.request.headers or {}).get(SENT, time.time())
    first = _first_time(sent, task.app.timezone) if names_hours == [True] else sent
    taken = store.take_turn(name, sent, least, task.request.id, first)
    if taken.late > least:
        logger.warning(
            "schedule %s: a message was sent %.0f s before the one that came before it. If none "
            "was held up, the clocks of two beats disagree by as much, and its work is done twice: "
            "synchronize them (NTP), or run one beat",
            name,
            taken.late,
        )
    return taken.is_taken
