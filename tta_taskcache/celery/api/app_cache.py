"""The cache of an app as the modules of this library use it: installed once, settings, runtime."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from time import monotonic
from typing import Any, Self

from celery import Celery, Task, signals

from ...cache.event_loops.async_cache import AsyncCache
from ...core.entries import marks
from ..calls import context
from ..canvas import map_tasks
from ..config.async_runtime import build_async_cache
from ..config.runtime import Runtime
from ..config.settings import Settings
from ..patches.app.hidden_settings import hide_url
from ..patches.app.publishing import mark_publishes
from ..warming import maintenance_tasks
from ..warming.schedules import Schedule
from .runtime_provider import RuntimeProvider
from .waiting.async_calls import AsyncCalls

#: Attribute of an app that holds its cache.
ATTRIBUTE = "_taskcache"

#: Before any app is asked for its configuration, which may be before its tasks are bound.
hide_url()


class AppCache:
    """The cache of an app, one object for each; users have a ``TaskCache``, with more methods."""

    app: Celery
    _schedule: Schedule
    _provider: RuntimeProvider
    _in_loops: tuple[Runtime, AsyncCache] | None
    #: The calls that event loops of this process wait for.
    async_calls: AsyncCalls

    def __new__(cls, app: Celery, url: str | None = None, **settings: Any) -> Self:
        existing = app.__dict__.get(ATTRIBUTE)
        self: Self = existing if existing is not None else super().__new__(cls)
        if existing is None:
            self.app, self._schedule = app, Schedule(app)
            self._provider = RuntimeProvider(app, self._schedule)
            self.async_calls, self._in_loops = AsyncCalls(app), None
            self._install()
        self._provider.configure(settings if url is None else {**settings, "url": url})
        return self

    def _install(self) -> None:
        self.app.__dict__[ATTRIBUTE] = self
        # By name: a web process needs nothing of Celery's worker.
        self.app.steps["consumer"].add("tta_taskcache.celery.worker.consumer_site:ConsumerSite")
        self.app.steps["worker"].add("tta_taskcache.celery.worker.metrics_step:MetricsStep")
        signals.before_task_publish.connect(context.on_publish, dispatch_uid="tta_taskcache")
        maintenance_tasks.register(self.app, self.end, lambda: self.runtime)
        map_tasks.install(self.app)
        mark_publishes(self.app)

    @property
    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            ConfigurationError: A setting is wrong.
        """
        return self._provider.settings

    @property
    def async_cache(self) -> AsyncCache:
        """The cache of this process, for event loops."""
        runtime, known = self.runtime, self._in_loops
        if known is None or known[0] is not runtime:
            known = self._in_loops = (runtime, build_async_cache(runtime))
        return known[1]

    @property
    def runtime(self) -> Runtime:
        """The cache of this process, built from the settings when it is first used.

        Raises:
            ConfigurationError: A setting, or an option of a task, is wrong.
        """
        return self._provider.runtime

    def substituted(
        self, settings: Settings, clock: Callable[[], float] = monotonic
    ) -> AbstractContextManager[Runtime]:
        """Give this process another cache inside a block, for tests: empty, unless it is in Redis.

        Args:
            settings: Its settings.
            clock: Monotonic seconds, for a cache in memory.
        """
        return self._provider.substituted(settings, clock)

    def adopt(self, task: type[Task]) -> None:
        """Validate a task's options with the settings in force, when it is bound to the app.

        Raises:
            ConfigurationError: An option is wrong; the message names task, option and what is
                allowed.
        """
        self._provider.adopt(task)

    def end(self, names: tuple[str, ...], keys: tuple[str, ...]) -> None:
        """Set marks, and drop the entries of keys.

        Raises:
            StoreUnavailable: Redis has not acknowledged it.
        """
        self.runtime.run(self.runtime.engine.invalidate(names, keys))
        self.reclaim(names)

    def reclaim(self, names: tuple[str, ...]) -> None:
        """Have the memory given back of what marks have ended."""
        if any(marks.is_wide(name) for name in names):
            maintenance_tasks.request_sweep(self.app, self.runtime)

    def hand_over_counts(self) -> None:
        """Add this process's counts to the shared totals, before it ends."""
        self._provider.hand_over_counts()
