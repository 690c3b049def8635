"""A cache of a test's own, and what it asks of it: ``tta_taskcache.testing``'s fixture."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Final

from celery import Celery, Task

from ....core.events import CircuitChanged, Event, Fault, Filled, Lookup, Refused, Verified
from ....core.options.option_values import seconds
from ....observability.counters import TaskStats
from ..task_cache import TaskCache, cache_of

#: What a test may ask for.
MODES: Final = ("off", "shadow", "strict")

#: Why a call isn't cached or a result isn't stored without anybody's having asked for that.
_UNWANTED: Final = frozenset({
    "missing-context", "conflicting-context", "wrong-arguments", "unkeyable-argument",
    "too-many-tags", "uncacheable", "corrupt", "format", "signature", "serializer", "unknown-error",
    "validate-failed", "unserializable", "too-large", "too-late", "cache-if-failed", "unavailable",
    "fault",
})  # fmt: skip


class CacheUnderTest:
    """The cache of one test.

    Attributes:
        cache: The app's ``TaskCache``.
        complaints: What went wrong in the cache, or kept it from caching, and failed no task.
    """

    def __init__(self, cache: TaskCache, *, is_shared: bool) -> None:
        self.cache = cache
        self.complaints: list[str] = []
        self._is_shared = is_shared
        self._travelled = 0.0
        self._before: dict[str, TaskStats] = {}

    def begin(self) -> None:
        """Count from here on."""
        self._before = self.cache.stats().tasks

    def hits(self, task: str | Task) -> int:
        """How many calls of a task were answered in this test.

        Raises:
            LookupError: The app has no such task.
        """
        now, before = self._stats(task)
        return sum(now.hits.values()) - sum(before.hits.values())

    def runs(self, task: str | Task) -> int:
        """How often a task ran in this test and returned.

        Raises:
            LookupError: The app has no such task.
        """
        now, before = self._stats(task)
        return now.runs - before.runs

    def travel(self, by: float) -> None:
        """Let entries and refreshes be so many seconds older.

        Raises:
            ValueError: It isn't a number of seconds above 0.
            RuntimeError: The cache is in Redis, which has a clock of its own.
        """
        if self._is_shared:
            raise RuntimeError("travel() moves the clock of a cache in memory, and not Redis'")
        self._travelled += seconds(by)

    def clock(self) -> float:
        """Monotonic seconds, as far as the test has travelled."""
        return monotonic() + self._travelled

    def observe(self, event: Event) -> None:
        """Take note of what nobody would see otherwise."""
        match event:
            case Lookup(layer=None, reason=reason) | Filled(reason=reason):
                if reason in _UNWANTED:
                    self.complaints.append(f"{event.task}: {reason}")
            case Fault() | Refused() | CircuitChanged(open=True) | Verified(outcome="different"):
                self.complaints.append(str(event))
            case _:
                pass

    def _stats(self, task: str | Task) -> tuple[TaskStats, TaskStats]:
        name = task if isinstance(task, str) else task.name
        if name not in self.cache.app.tasks:
            raise LookupError(f"the app {self.cache.app.main!r} has no task {name!r}")
        nothing = TaskStats()
        return self.cache.stats().tasks.get(name, nothing), self._before.get(name, nothing)


@contextmanager
def isolated(
    app: Celery, modes: Collection[str] = (), *, shared: bool = False
) -> Iterator[CacheUnderTest]:
    """Give an app another cache: in memory and empty.

    Args:
        app: The app.
        modes: Of ``MODES``: ``off``: every call runs; ``shadow``: calls are looked up and run;
            ``strict``: what went wrong is complained of.
        shared: Use the cache that the settings name, and clear it: for workers in other processes.
    """
    cache = cache_of(app)
    tested = CacheUnderTest(cache, is_shared=shared and cache.settings.url is not None)
    settings = replace(
        cache.settings,
        enabled=cache.settings.enabled and "off" not in modes,
        shadow=cache.settings.shadow or "shadow" in modes,
        l1_max_staleness=0.0,
        observers=(*cache.settings.observers, tested.observe),
    )
    if not shared:
        settings = replace(settings, url=None)
    with cache.substituted(settings, tested.clock):
        if shared:
            cache.clear()
        tested.begin()
        yield tested
