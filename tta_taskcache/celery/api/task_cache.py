"""``TaskCache``: the cache of a Celery app."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from datetime import date, timedelta
from functools import partial
from typing import Any

from celery import Celery, Task
from celery.canvas import Signature
from celery.result import AsyncResult

from ...cache.runs.request_directives import PublicMode, mode_block
from ...core.entries import glob, marks
from ...core.entries.invalidation_marks import read_marks
from ...core.warm_policy import IN_FLIGHT, Sending
from ...errors import StoreUnavailable
from ...observability.counters import Stats, read_stats, sum_up
from ..calls import context
from ..canvas import signature_calls
from ..warming import maintenance_tasks, warm_task
from ..warming.schedules import Invalidate
from ..warming.warm_progress import WarmReport
from .app_cache import ATTRIBUTE, AppCache
from .waiting.commits import when_committed


class TaskCache(AppCache):
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
        return mode_block(mode, max_age)

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
        await asyncio.to_thread(self.reclaim, names)

    def clear(self, *, soft: bool = False) -> None:
        """End all entries of this namespace, in all processes, now.

        Args:
            soft: Make them stale instead, as with ``invalidate``.

        Raises:
            StoreUnavailable: Redis has not acknowledged it.
        """
        self.end((marks.soft(marks.EVERYTHING) if soft else marks.EVERYTHING,), ())

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


def cache_of(app: Celery) -> TaskCache:
    """Return the app's cache; make one if it has none."""
    existing: TaskCache | None = app.__dict__.get(ATTRIBUTE)
    return existing if existing is not None else TaskCache(app)
