"""``TaskCache``: the cache of a Celery app."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from datetime import date, timedelta
from functools import partial
from time import monotonic
from typing import Any, Self

from celery import Celery, Task, signals
from celery.canvas import Signature
from celery.result import AsyncResult

from ...cache.event_loops.async_cache import AsyncCache
from ...core.entries import glob, marks
from ...core.entries.invalidation_marks import read_marks
from ...core.warm_policy import IN_FLIGHT, Sending
from ...errors import StoreUnavailable
from ...observability.counters import Stats, read_stats, sum_up
from ..calls import context
from ..calls.call_request import PublicMode, read_max_age, read_mode
from ..canvas import map_tasks, signature_calls
from ..config.async_runtime import build_async_cache
from ..config.runtime import Runtime
from ..config.settings import Settings
from ..patches.app.hidden_settings import hide_url
from ..patches.app.publishing import mark_publishes
from ..warming import maintenance_tasks, warm_task
from ..warming.schedules import Invalidate, Schedule
from ..warming.warm_progress import WarmReport
from .runtime_provider import RuntimeProvider
from .waiting.async_calls import AsyncCalls
from .waiting.commits import when_committed

_ATTRIBUTE = "_taskcache"

#: Before any app is asked for its configuration, which may be before its tasks are bound.
hide_url()


class TaskCache:
    """The result cache of an app.

    A second call for the same app returns the same object; later keywords override earlier ones.
    ``CachedTask`` makes one for its app, so it is only needed for keywords and methods.

    Args:
        app: The Celery app.
        url: URL of the cache's Redis. Without it: the result backend's, if that is Redis; else each
            process caches in its own memory, and logs a warning once.
        **settings: Settings (``Settings``) by their names without ``taskcache_``; they override
            ``app.conf``.

    Raises:
        ConfigurationError: A setting is unknown, or its value isn't allowed.
    """

    app: Celery
    _schedule: Schedule
    _provider: RuntimeProvider
    _in_loops: tuple[Runtime, AsyncCache] | None
    #: The calls that event loops of this process wait for.
    async_calls: AsyncCalls

    def __new__(cls, app: Celery, url: str | None = None, **settings: Any) -> Self:
        existing = app.__dict__.get(_ATTRIBUTE)
        self: Self = existing if existing is not None else super().__new__(cls)
        if existing is None:
            self.app, self._schedule = app, Schedule(app)
            self._provider = RuntimeProvider(app, self._schedule)
            self.async_calls, self._in_loops = AsyncCalls(app), None
            self._install()
        self._provider.configure(settings if url is None else {**settings, "url": url})
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

    def context(self, /, **headers: str | float) -> AbstractContextManager[None]:
        """Put context headers in force for the calls made inside, and for their child tasks.

        Args:
            **headers: Names (as in ``cache_vary``) and values.

        Raises:
            TypeError: A value isn't a string, number or bool.
        """
        return context.ambient(headers)

    def disabled(self) -> AbstractContextManager[None]:
        """Let the calls made inside bypass the cache: they run, and nothing is stored."""
        return context.disabled_block()

    def mode(
        self, mode: PublicMode | None = None, *, max_age: float | timedelta | None = None
    ) -> AbstractContextManager[None]:
        """Let the calls made inside ask this of the cache: ``with cache.mode("refresh"): …``.

        What a call says itself comes first, and so does ``disabled()``. ``task.cache`` goes by it,
        too; the child tasks of what runs elsewhere don't.

        Args:
            mode: As ``cache`` of ``apply_async``; None leaves it as it is.
            max_age: As ``cache_max_age`` of ``apply_async``; None leaves it as it is.

        Raises:
            ValueError: The mode is unknown, or the age is none.
        """
        if mode is not None:
            read_mode(mode)
        return context.mode_block(mode, read_max_age(max_age))

    def invalidate(
        self,
        *,
        key: str | None = None,
        task: str | Task | None = None,
        tags: Collection[str] | None = None,
        pattern: str | None = None,
        soft: bool = False,
        queue: bool = False,
        on_commit: bool = False,
    ) -> AsyncResult | None:
        """End the entries that any of the arguments names, in all processes, now.

        When it returns, Redis has acknowledged the invalidation, unless it is queued or waits for
        a commit. The memory of a process answers for at most ``taskcache_l1_max_staleness`` seconds
        longer.

        Args:
            key: Ends the entry of this key.
            task: Ends all entries of this task, given itself or by name.
            tags: Ends all entries with any of these tags.
            pattern: Ends all entries whose keys (``task:label:digest``) match this glob of Redis'
                ``MATCH``, of at most 1,000 characters.
            soft: Make the entries stale instead: where a task has ``cache_stale_while_revalidate``,
                they are served while one refresh runs, until the end of the time that they had; one
                with ``cache_stale_if_error`` alone stands in for a run that fails; others end.
            queue: Leave the invalidation to a Celery task, which is retried until Redis
                acknowledges it.
            on_commit: In a Django project: invalidate when the current transaction of the default
                database is committed, and not if it is rolled back; without a transaction, now.
                Errors then come out of the commit.

        Returns:
            None; with ``queue`` and without ``on_commit``, the result of the Celery task.

        Raises:
            ValueError: No argument names anything, or one is too long.
            TypeError: ``tags`` isn't a collection of strings, or another argument no string.
            StoreUnavailable: Redis has not acknowledged it: it may or may not have happened.
            NotReplicated: Too few replicas have acknowledged it (``taskcache_wait_replicas``).
            OperationalError: The broker didn't take the Celery task.
            ConfigurationError: ``on_commit`` without Django.
        """
        names = read_marks(key, task, tags, pattern)
        keys = () if key is None or soft else (key,)
        if soft:
            names = tuple(map(marks.soft, names))
        if queue:
            act = partial(maintenance_tasks.queue_invalidation, self.app, names, keys)
        else:
            act = partial(self.end, names, keys)
        if on_commit:
            when_committed(act)
            return None
        return act()

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

    def clear(self, *, soft: bool = False) -> None:
        """End all entries of this namespace, in all processes, now.

        Args:
            soft: Make them stale instead, as with ``invalidate``.

        Raises:
            StoreUnavailable: Redis has not acknowledged it.
        """
        self.end((marks.soft(marks.EVERYTHING) if soft else marks.EVERYTHING,), ())

    def end(self, names: tuple[str, ...], keys: tuple[str, ...]) -> None:
        """Set marks, and drop the entries of keys.

        Raises:
            StoreUnavailable: Redis has not acknowledged it.
        """
        self.runtime.run(self.runtime.engine.invalidate(names, keys))
        self._reclaim(names)

    def _reclaim(self, names: tuple[str, ...]) -> None:
        """Have the memory given back of what marks have ended."""
        if any(marks.is_wide(name) for name in names):
            maintenance_tasks.request_sweep(self.app, self.runtime)

    def prefetch(self, signatures: Signature | Iterable[Signature]) -> int:
        """Read the entries of calls into this process's memory, in one round trip per node.

        Groups, chords and chunks prefetch their own calls. It is worth its trip before calls that
        are made one by one within ``taskcache_l1_max_staleness`` seconds; later ones poll the log.

        Args:
            signatures: A signature or several. Of a group or a chord's header all calls count, of a
                chain the first; tasks that aren't cached are left out.

        Returns:
            The number of calls that could be answered now.
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
        refresh: bool = False,
    ) -> WarmReport:
        """Have workers make the calls of a task that aren't fresh, and wait until all are done.

        The Celery task ``tta_taskcache.warm`` does the same in a worker, with the same arguments.

        Args:
            task: The task, given itself or by name.
            calls: An iterable of calls, each a list of arguments, a dict of keyword arguments,
                ``{"args": […], "kwargs": {…}, "context": {…}}`` or a signature; a function
                returning one; or the path of a file of JSON lines.
            hot: Instead of ``calls``: number of the most requested calls (1 to 1,000), if the
                task's ``cache_warm`` learns them.
            rate: Most calls sent a second; None for no bound.
            in_flight: Most calls that were sent and aren't done.
            queue: Queue of the calls; None for the task's own.
            priority: Priority of their messages (0 to 255); None for the task's own.
            refresh: Make the calls whose entries are fresh, too, and replace these.

        Returns:
            The numbers of calls by outcome.

        Raises:
            ConfigurationError: An argument is wrong, or the task has no cache that workers share.
            TypeError: ``calls`` is none of these.
            ValueError: A call can't be read, or doesn't fit the task; the message says which.
            StoreUnavailable: Redis can't be reached.
            OperationalError: The broker can't be reached.
        """
        sending = Sending(
            rate=rate, in_flight=in_flight, queue=queue, priority=priority, refresh=refresh
        )
        return warm_task.warm(warm_task.find_task(self.app, task), calls, hot, sending)

    def schedule(self, *invalidations: Invalidate) -> None:
        """Have ``celery beat`` invalidate on schedule, beside the entries of ``beat_schedule``.

        Args:
            *invalidations: The invalidations, each with its times.

        Raises:
            TypeError: An argument is no ``Invalidate``.
            ConfigurationError: An equal invalidation is scheduled already, at other times.
        """
        self._schedule.invalidate(invalidations)

    def keys(self, pattern: str = "*") -> list[str]:
        """Return the sorted keys (``task:label:digest``) of all valid entries that match a glob.

        Reads the whole namespace in batches (SCAN): for people, not for hot paths.

        Args:
            pattern: A glob of Redis' ``MATCH``, of at most 1,000 characters.

        Raises:
            StoreUnavailable: Redis can't be read.
            ValueError: The glob is too long.
        """
        glob.check(pattern)
        return sorted(item.entry.key for item in self.runtime.entries(pattern))

    def stats(self, *, since: date | None = None) -> Stats:
        """Return the totals of all processes, by task.

        Processes hand their counts over once a second, while they use the cache. Without ``since``,
        the totals are those of this process when Redis can't be reached.

        Args:
            since: First day of the totals (UTC), of the last 400 days; None for all time.

        Raises:
            StoreUnavailable: With ``since``, Redis can't be reached.
        """
        if since is not None:
            days = self.runtime.run(self.runtime.engine.days(since))
            return read_stats(sum_up(days.values()))
        try:
            return read_stats(self.runtime.run(self.runtime.engine.totals()))
        except StoreUnavailable:
            return read_stats(self.runtime.engine.parts.counters.totals())

    def hand_over_counts(self) -> None:
        """Add this process's counts to the shared totals, before it ends."""
        self._provider.hand_over_counts()


def cache_of(app: Celery) -> TaskCache:
    """Return the app's cache; make one if it has none."""
    existing: TaskCache | None = app.__dict__.get(_ATTRIBUTE)
    return existing if existing is not None else TaskCache(app)
