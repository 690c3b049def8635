"""``TaskCache``: the cache of a Celery app."""

from __future__ import annotations

import asyncio
import atexit
import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from datetime import date
from typing import Any, Self
from weakref import WeakSet

from celery import Celery, Task, signals
from celery.canvas import Signature
from celery.result import AsyncResult

from ...cache.async_cache import AsyncCache
from ...core import glob, marks
from ...core.warm_policy import IN_FLIGHT, Sending
from ...errors import StoreUnavailable
from ...observability.counters import Counters, Stats, read_stats, sum_up
from ...observability.logs import log_fields
from ..calls import context
from ..calls.invalidation_marks import read_marks
from ..canvas import map_tasks, signature_calls
from ..config.async_runtime import build_async_cache
from ..config.options import read_keyer
from ..config.runtime import Runtime, build
from ..config.serializers import CODECS, EXACT_CODECS
from ..config.settings import Settings, check_keywords, read_settings
from ..maintenance import maintenance_tasks
from ..patches.hidden_settings import hide_url
from ..patches.publishing import mark_publishes
from ..warming import warm_task
from ..warming.schedules import Invalidate, Schedule
from ..warming.warm_progress import WarmReport
from .async_calls import AsyncCalls

logger = logging.getLogger("tta_taskcache")

_ATTRIBUTE = "_taskcache"

_RUNTIME = "runtime"

#: Before any app is asked for its configuration, which may be before its tasks are bound.
hide_url()


class TaskCache:
    """The result cache of an app.

    Calling it again for the same app returns the same object; later keywords override earlier
    ones. ``CachedTask`` calls it by itself, so it is only needed for keywords and methods.

    Args:
        app: The Celery app.
        url: URL of the cache's Redis. Without one it is the result backend's, if that is Redis;
            else each process caches in its own memory, and says so once.
        **settings: Settings by their names without ``taskcache_``; they override ``app.conf``.

    Raises:
        ConfigurationError: An unknown setting, or a value that isn't allowed.
    """

    app: Celery
    _overrides: dict[str, Any]
    _tasks: dict[str, type[Task]]
    _built: dict[str, Runtime]
    _schedule: Schedule
    _counters: Counters
    _in_loops: tuple[Runtime, AsyncCache] | None
    #: The calls that event loops of this process wait for.
    async_calls: AsyncCalls

    def __new__(cls, app: Celery, url: str | None = None, **settings: Any) -> Self:
        existing = app.__dict__.get(_ATTRIBUTE)
        self: Self = existing if existing is not None else super().__new__(cls)
        if existing is None:
            self.app, self._overrides, self._tasks, self._built = app, {}, {}, {}
            self._schedule, self._counters = Schedule(app), Counters()
            self.async_calls, self._in_loops = AsyncCalls(app), None
            self._install()
        self._configure(settings if url is None else {**settings, "url": url})
        return self

    def _install(self) -> None:
        self.app.__dict__[_ATTRIBUTE] = self
        # By name: a web process needs nothing of Celery's worker.
        self.app.steps["consumer"].add("tta_taskcache.celery.worker.consumer_site:ConsumerSite")
        self.app.steps["worker"].add("tta_taskcache.celery.worker.metrics_step:MetricsStep")
        signals.before_task_publish.connect(context.on_publish, dispatch_uid="tta_taskcache")
        maintenance_tasks.register(self.app, self.end, lambda: self.runtime)
        map_tasks.install(self.app)
        mark_publishes(self.app)
        _caches.add(self)

    def _configure(self, settings: Mapping[str, Any]) -> None:
        if all(
            name in self._overrides and self._overrides[name] == settings[name] for name in settings
        ):
            return
        check_keywords(settings)
        self._overrides.update(settings)
        built = self._built.get(_RUNTIME)
        # What is in use goes on, with its memory and connections, unless something is new.
        if built is None or built.settings != self.settings:
            self._built = {}

    @property
    def settings(self) -> Settings:
        """The settings in force.

        Raises:
            ConfigurationError: One of them is wrong.
        """
        return read_settings(self.app, self._overrides)

    @property
    def async_cache(self) -> AsyncCache:
        """The cache of this process, for event loops."""
        runtime, known = self.runtime, self._in_loops
        if known is None or known[0] is not runtime:
            known = self._in_loops = (runtime, build_async_cache(runtime))
        return known[1]

    @property
    def runtime(self) -> Runtime:
        """The cache of this process, made from the settings when it is first used."""
        built = self._built
        if not built:
            exact = self.app.conf.result_serializer != "json"
            settings = self.settings
            # The settings may have changed since the tasks were bound.
            for task in list(self._tasks.values()):
                self.adopt(task)
            mine = build(settings, EXACT_CODECS if exact else CODECS, self._counters)
            # Of threads that come at once all get the first one's (without a lock: see F3).
            if built.setdefault(_RUNTIME, mine) is mine and settings.url is None:
                logger.warning(
                    "no taskcache_url, and the result backend isn't Redis: "
                    "caching in the memory of each process only",
                    extra=log_fields("MemoryOnly"),
                )
        return built[_RUNTIME]

    def adopt(self, task: type[Task]) -> None:
        """Validate a task's options with the settings in force, when it is bound to the app.

        Raises:
            ConfigurationError: Naming task, option and what is allowed.
        """
        settings = self.settings
        keyer = read_keyer(task, settings.default_ttl, settings.secret)
        task._cache_keyer = keyer
        self._tasks[keyer.task] = task
        context.declared.update(keyer.policy.vary)
        if keyer.policy.warm is not None:
            self._schedule.warm(keyer.task, keyer.policy.warm)

    def context(self, /, **headers: str | float) -> AbstractContextManager[None]:
        """Put context headers in force for the calls made inside, and what they lead to.

        Raises:
            TypeError: A value isn't a string, number or bool.
        """
        return context.ambient(headers)

    def disabled(self) -> AbstractContextManager[None]:
        """Let the calls made inside pass the cache by."""
        return context.disabled_block()

    def invalidate(
        self,
        *,
        key: str | None = None,
        task: str | Task | None = None,
        tags: Collection[str] | None = None,
        pattern: str | None = None,
        queue: bool = False,
    ) -> AsyncResult | None:
        """End entries, everywhere, now: all that any of the arguments names.

        Acknowledged when it returns, unless it is queued.

        Args:
            key: The entry of this key.
            task: All entries of this task, given itself or by name.
            tags: All entries with any of these tags.
            pattern: All entries whose keys (``task:label:digest``) match this glob, as Redis'
                ``MATCH`` has it.
            queue: Leave it to a Celery task, which is retried until Redis acknowledges it.

        Returns:
            None; the result of the task, when it is queued.

        Raises:
            ValueError: Nothing was named.
            TypeError: ``tags`` isn't a collection of strings, or ``pattern`` no string.
            StoreUnavailable: It was not acknowledged: it may or may not have happened.
            OperationalError: The broker didn't take the task.
        """
        names = read_marks(key, task, tags, pattern)
        keys = () if key is None else (key,)
        if queue:
            return maintenance_tasks.queue_invalidation(self.app, names, keys)
        self.end(names, keys)
        return None

    async def aclose(self) -> None:
        """Close the cache's connections of the event loop that runs here, before it ends."""
        await self.async_cache.aclose()

    async def ainvalidate(
        self,
        *,
        key: str | None = None,
        task: str | Task | None = None,
        tags: Collection[str] | None = None,
        pattern: str | None = None,
    ) -> None:
        """As ``invalidate``, without blocking the event loop.

        Raises:
            ValueError: Nothing was named.
            TypeError: ``tags`` isn't a collection of strings, or ``pattern`` no string.
            StoreUnavailable: It was not acknowledged: it may or may not have happened.
        """
        names = read_marks(key, task, tags, pattern)
        keys = () if key is None else (key,)
        await self.async_cache.run(self.runtime.engine.invalidate(names, keys))
        await asyncio.to_thread(self._reclaim, names)

    def clear(self) -> None:
        """End all entries of this namespace, everywhere, now.

        Raises:
            StoreUnavailable: It was not acknowledged.
        """
        self.end((marks.EVERYTHING,), ())

    def end(self, names: tuple[str, ...], keys: tuple[str, ...]) -> None:
        """Set marks, and drop the entries of keys.

        Raises:
            StoreUnavailable: It was not acknowledged.
        """
        self.runtime.run(self.runtime.engine.invalidate(names, keys))
        self._reclaim(names)

    def _reclaim(self, names: tuple[str, ...]) -> None:
        """Have the memory given back of what marks have ended."""
        if any(marks.is_wide(name) for name in names):
            maintenance_tasks.request_sweep(self.app, self.runtime)

    def prefetch(self, signatures: Signature | Iterable[Signature]) -> int:
        """Read what is stored for calls into this process's memory: one round trip per node.

        Groups, chords and chunks do it by themselves. Worth it before calls that are made one by
        one within ``taskcache_l1_max_staleness``; later ones poll the log first.

        Args:
            signatures: A signature or several. Of a group and a chord's header all calls count, of
                a chain the first; tasks that aren't cached are left out.

        Returns:
            How many of them could be answered now.
        """
        return signature_calls.prefetch(self.app, signatures)

    def warm(
        self,
        task: str | Task,
        calls: Any = None,
        *,
        hot: int | None = None,
        rate: float | None = None,
        in_flight: int = IN_FLIGHT,
        queue: str | None = None,
        priority: int | None = None,
    ) -> WarmReport:
        """Have workers make calls of a task, but those that are fresh, and wait until all are done.

        The Celery task ``tta_taskcache.warm`` does the same, with the same arguments.

        Args:
            task: The task, given itself or by name.
            calls: An iterable of calls, each a list of arguments, a dict of keyword arguments,
                ``{"args": […], "kwargs": {…}, "context": {…}}`` or a signature; a function
                returning one; or the path of a file of JSON lines.
            hot: Instead: that many of the most requested ones, if ``cache_warm`` learns them.
            rate: At most so many calls a second.
            in_flight: At most so many calls that aren't done.
            queue: Queue that they are sent to; else the task's own.
            priority: Priority of their messages; else the task's own.

        Raises:
            ConfigurationError: An argument is wrong, or the task has no cache that workers share.
            TypeError: ``calls`` can't be read from.
            ValueError: A call is none, or doesn't fit the task; it says which, or in which line.
            StoreUnavailable: Redis can't be reached; as OperationalError is for the broker.
        """
        sending = Sending(rate=rate, in_flight=in_flight, queue=queue, priority=priority)
        return warm_task.warm(warm_task.find_task(self.app, task), calls, hot, sending)

    def schedule(self, *invalidations: Invalidate) -> None:
        """Have ``celery beat`` invalidate on schedule, beside what ``beat_schedule`` has."""
        self._schedule.invalidate(invalidations)

    def keys(self, pattern: str = "*") -> list[str]:
        """The keys (``task:label:digest``) of all valid entries that match a glob.

        Reads through the whole namespace in batches: for people, not for hot paths.

        Raises:
            StoreUnavailable: Redis can't be read.
            ValueError: The glob is longer than ``MAX_PATTERN``.
        """
        glob.check(pattern)
        return sorted(item.entry.key for item in self.runtime.entries(pattern))

    def stats(self, *, since: date | None = None) -> Stats:
        """What the cache did: totals of all processes, by task.

        Other processes hand over what they counted once a second, while they use the cache. When
        Redis can't be reached, the totals are those of this process.

        Args:
            since: Only from this day on (UTC), of the last 400.
        """
        if since is not None:
            days = self.runtime.run(self.runtime.engine.days(since))
            return read_stats(sum_up(days.values()))
        try:
            return read_stats(self.runtime.run(self.runtime.engine.totals()))
        except StoreUnavailable:
            return read_stats(self.runtime.engine.parts.counters.totals())

    def hand_over_counts(self) -> None:
        """Add what was counted here to the shared totals, before the process ends."""
        if self._built and self.runtime.is_reachable:
            self.runtime.hot_calls.flush()
            self.runtime.hand_over_counts()


#: The caches of all apps of this process.
_caches: WeakSet[TaskCache] = WeakSet()


@signals.worker_process_shutdown.connect
def _hand_over(**_: Any) -> None:
    for cache in list(_caches):
        cache.hand_over_counts()


atexit.register(_hand_over)


def cache_of(app: Celery) -> TaskCache:
    """The app's cache, made if there is none yet."""
    existing: TaskCache | None = app.__dict__.get(_ATTRIBUTE)
    return existing if existing is not None else TaskCache(app)
