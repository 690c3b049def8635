"""``task.cache``: the cache as seen from one task."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...cache.outcome import Call, Hit, Miss
from ...cache.runs.hit_value import value_of
from ...core.entries import marks
from ...core.record import record
from ...core.results.missing import MISSING
from ...errors import BatchArgumentError, StoreUnavailable, UncacheableCall
from ..batches.batch_answer import read_batch_through
from ..batches.item_run import BatchRun
from ..batches.stored_items import get_items, marks_of_items, set_items
from ..calls import context
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import CallRequest, is_enabled
from ..calls.identification import request_of_caller
from ..calls.lookup_result import LookupResult
from ..lookup import read_through
from ..lookup.lookup import look_up
from ..lookup.nearest_entry import NearestSearch, find_nearest
from ..lookup.semantic_lookup import add_neighbour, explain_neighbours, semantic_call
from .explanation import REASONS, Explanation, describe
from .task_cache import cache_of
from .waiting.async_calls import look_up_in_loop, request_in_loop

if TYPE_CHECKING:
    from ..config.runtime import Runtime
    from ..warming.warm_progress import WarmReport


@record
class TaskHandle:
    """The cache bound to one task. Its methods take the arguments that the task takes.

    The context is that of the calling code: ``cache.context(…)``, or the running task's.
    """

    task: CacheableTask

    @property
    def _runtime(self) -> Runtime:
        return self.task.cache_runtime

    def _call_request(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallRequest:
        return request_of_caller(self.task, args, kwargs, is_identified=True)

    def key(self, /, *args: Any, **kwargs: Any) -> str:
        """Return the key of a call: ``task:label:digest``; with ``cache_each``, of a single item.

        Raises:
            BatchArgumentError: With ``cache_each``, the list hasn't one item.
            WrongArguments: The arguments don't fit the task.
            UncacheableCall: The call has no key: a header is missing, or an argument has no
                canonical form.
        """
        call_request = self._call_request(args, kwargs)
        if self._is_batch:
            calls = call_request.identified_batch().calls
            if len(calls) != 1:
                raise BatchArgumentError(
                    f"task {self.task.name!r}: {len(calls):,} items; each has a key of its own: "
                    "give a list of one"
                )
            return calls[0].key
        return call_request.identified().key

    @property
    def _is_batch(self) -> bool:
        """Whether each item of a list has an entry of its own (``cache_each``)."""
        return self.task.cache_policy.each is not None

    def get(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of a call, or ``MISSING``; never runs the task.

        With ``cache_each``: a list with that of each item.

        Raises:
            Exception: The exception of the run, if that is remembered (``cache_errors``).
        """
        call_request = request_of_caller(self.task, args, kwargs)
        if self._is_batch:
            return get_items(call_request)
        if call_request.is_verified:
            call_request = replace(call_request, is_verified=False)
        found = look_up(call_request, None)
        if found.hit is None:
            return MISSING
        return value_of(call_request.policy, found.hit)

    async def aget(self, /, *args: Any, **kwargs: Any) -> Any:
        """As ``get``, without blocking the event loop."""
        if self._is_batch:
            return await asyncio.to_thread(self.get, *args, **kwargs)
        cache = cache_of(self.task.app).async_cache
        hit = await look_up_in_loop(cache, request_in_loop(self.task, args, kwargs), is_last=True)
        return MISSING if hit is None else value_of(self.task.cache_policy, hit)

    async def acall(self, /, *args: Any, **kwargs: Any) -> Any:
        """The stored result; or the call is sent to a worker, and its result awaited.

        Never blocks the event loop. Equal calls of one loop are sent once; those of others coalesce
        in the workers.

        Raises:
            Exception: What the run has raised.
        """
        cache = cache_of(self.task.app)
        if self._is_batch:
            stored = await self.aget(*args, **kwargs)
            if all(value is not MISSING for value in stored):
                return stored
            result = await cache.async_calls.result_of(self.task, None, args, kwargs)
            return await asyncio.to_thread(result.get, disable_sync_subtasks=False)
        call_request = request_in_loop(self.task, args, kwargs)
        hit = await look_up_in_loop(cache.async_cache, call_request, is_last=False)
        if hit is not None:
            return value_of(self.task.cache_policy, hit)
        key = call_request.call.key if call_request.call is not None else None
        result = await cache.async_calls.result_of(self.task, key, args, kwargs)
        return await asyncio.to_thread(result.get, disable_sync_subtasks=False)

    def set(self, value: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store a result for a call, as if it had just run.

        Args:
            value: The result; with ``cache_each``, a list with that of each item, or a dict by
                item.
            *args: Positional arguments of the call.
            **kwargs: Keyword arguments of the call.

        Returns:
            Whether it was stored: not while caching is off or Redis can't be reached, nor against
            ``cache_if``, ``cache_max_bytes`` or the serializer.

        Raises:
            WrongArguments: The arguments don't fit the task.
            UncacheableCall: The call has no key.
            BatchResultError: With ``cache_each``, there isn't a result for each item.
        """
        call_request = self._call_request(args, kwargs)
        if self._is_batch:
            return set_items(call_request, value)
        call = call_request.with_traits(call_request.identified())
        if not is_enabled(self.task):
            return False
        position = self._runtime.run(self._runtime.engine.writer.position(call))
        fill = self._runtime.engine.writer.fill(
            call, position, value, run_seconds=0.0, task_id=None, replaces=True
        )
        is_stored = self._runtime.run(fill)
        if is_stored and call.policy.semantic is not None:
            add_neighbour(call_request, LookupResult(call), semantic_call(call_request))
        return is_stored

    def call(self, /, *args: Any, **kwargs: Any) -> Any:
        """Read through: return the stored result, or run the task here and store its result.

        Equal calls in flight run once, in this process and others: this one waits for the leader.

        Raises:
            Exception: The exception of the run, or a remembered one (``cache_errors``).
        """
        call_request = request_of_caller(self.task, args, kwargs)
        if self._is_batch:
            is_keyed = call_request.batch is not None
            got_args, got_kwargs = call_request.received() if is_keyed else (args, kwargs)
            return read_batch_through(
                BatchRun(
                    call_request=call_request,
                    body=lambda args, kwargs: self.task(*args, **kwargs),
                    args=got_args,
                    kwargs=got_kwargs,
                    site=None,
                    task_id=None,
                )
            )

        def run() -> Any:
            if call_request.call is None:
                return self.task(*args, **kwargs)
            got_args, got_kwargs = call_request.received()
            return self.task(*got_args, **got_kwargs)

        return read_through.read_through(call_request, None, run, None)

    def invalidate(self, /, *args: Any, **kwargs: Any) -> None:
        """End the entry of one call, or of each item of one, in all processes, now.

        Raises:
            UncacheableCall: The call has no key.
            StoreUnavailable: Redis has not acknowledged it.
        """
        cache = cache_of(self.task.app)
        if not self._is_batch:
            cache.invalidate(key=self.key(*args, **kwargs))
        elif (ended := marks_of_items(self._call_request(args, kwargs)))[0]:
            cache.end(*ended)

    def clear(self) -> None:
        """End all entries of this task, in all processes, now.

        Raises:
            StoreUnavailable: Redis has not acknowledged it.
        """
        cache_of(self.task.app).invalidate(task=self.task)

    def warm(self, calls: Any = None, **options: Any) -> WarmReport:
        """Make calls of this task ahead of demand, as ``TaskCache.warm`` does.

        Args:
            calls: The calls.
            **options: The other arguments of ``TaskCache.warm``.

        Raises:
            Exception: As ``TaskCache.warm``.
        """
        return cache_of(self.task.app).warm(self.task, calls, **options)

    def explain(self, /, *args: Any, **kwargs: Any) -> Explanation:
        """Explain whether the cache would answer a call, and why. Changes and runs nothing.

        A call without an entry is compared with up to 1,000 stored calls of the task: each entry
        keeps short digests of its arguments.

        Raises:
            WrongArguments: The arguments don't fit the task.
        """
        keyer, headers = self.task.cache_keyer, context.of_new_call(None)
        about = Explanation(
            task=self.task.name,
            status="bypass",
            reason="caching is off for this task, this app or this block",
            arguments=keyer.binder.arguments(args, kwargs),
            vary={name: headers.get(name) for name in keyer.policy.vary},
        )
        if context.is_disabled() or not is_enabled(self.task):
            return about
        if self._is_batch:
            return self._explain_items(about, args, kwargs)
        try:
            call_request = self._call_request(args, kwargs)
            call = call_request.with_traits(call_request.identified())
        except UncacheableCall as error:
            return replace(about, reason=str(error))
        found = self._runtime.run(self._runtime.engine.reader.find(call))
        return self._explain(about, call_request, call, found)

    def _explain_items(
        self, about: Explanation, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Explanation:
        """Explain a batch: by how many of its items are stored, and each of them."""
        try:
            call_request = self._call_request(args, kwargs)
            calls = call_request.identified_batch().calls
        except UncacheableCall as error:
            return replace(about, reason=str(error))
        find = self._runtime.engine.reader.find_many(calls, [None] * len(calls))
        outcomes = self._runtime.run(find)
        explained = []
        for item, call, found in zip(call_request.items, calls, outcomes, strict=True):
            one = call_request.of_item(item, call)
            arguments = self.task.cache_keyer.binder.arguments(one.args, one.kwargs)
            own = replace(about, arguments=arguments)
            explained.append(self._explain(own, one, call, found))
        hits = sum(one.status == "hit" for one in explained)
        return replace(
            about,
            status="hit" if hits == len(explained) else "miss",
            reason=f"{hits:,} of {len(explained):,} items are stored",
            items=tuple(explained),
        )

    def _explain(
        self, about: Explanation, call_request: CallRequest, call: Call, found: Hit | Miss
    ) -> Explanation:
        if isinstance(found, Miss):
            reason = REASONS.get(found.reason, found.reason)
            # Not for each item of a list: it takes long.
            is_searched = found.reason == "absent" and not self._is_batch
            nearest = self._search(call) if is_searched else None
            missed = replace(about, status="miss", reason=reason, key=call.key, search=nearest)
            return self._with_neighbours(missed, call_request, call)
        return replace(
            about,
            status="hit",
            reason=describe(found),
            key=call.key,
            layer=found.layer,
            age=found.age,
            remaining=found.remaining,
            task_id=found.entry.task_id,
            stale=found.verdict.is_stale,
            made_from=tuple(marks.other_keys(found.entry)),
        )

    def _with_neighbours(
        self, missed: Explanation, call_request: CallRequest, call: Call
    ) -> Explanation:
        """Add what a call's neighbours say to its explanation."""
        search = explain_neighbours(call_request, call)
        if search.hit is None:
            return replace(missed, neighbours=search.judged)
        hit = search.hit
        return replace(
            missed,
            status="hit",
            reason=f"a neighbour answers: {describe(hit)}",
            layer=hit.layer,
            age=hit.age,
            remaining=hit.remaining,
            task_id=hit.entry.task_id,
            neighbours=search.judged,
        )

    def _search(self, call: Call) -> NearestSearch | None:
        """Find the nearest stored call; None when the store can't be read."""
        subjects = self.task.cache_keyer.subjects
        try:
            return find_nearest(self._runtime, self.task.name, subjects, call.traits)
        except StoreUnavailable:
            return None
