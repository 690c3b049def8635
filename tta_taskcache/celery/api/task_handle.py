"""``task.cache``: the cache as seen from one task."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...cache.outcome import Call, Hit, Miss
from ...cache.runs.hit_value import value_of
from ...core.entries import marks
from ...core.entries.decide import Verdict
from ...core.results.missing import MISSING
from ...errors import StoreUnavailable, UncacheableCall
from ...semantic.neighbours import JudgedNeighbour
from ..calls import context
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import CallRequest, is_enabled, request_of_caller
from ..calls.lookup_result import LookupResult
from ..lookup import read_through
from ..lookup.lookup import look_up
from ..lookup.nearest_entry import NearestSearch, find_nearest
from ..lookup.semantic_lookup import add_neighbour, explain_neighbours, semantic_call
from .task_cache import cache_of
from .waiting.async_calls import look_up_in_loop, request_in_loop

if TYPE_CHECKING:
    from ..config.runtime import Runtime
    from ..warming.warm_progress import WarmReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Explanation of one call: whether the cache would answer it, and why.

    Attributes:
        task: The task's name.
        status: ``"hit"``, ``"miss"`` or ``"bypass"``.
        reason: The reason, in a sentence.
        key: The call's key; None when it has none.
        arguments: The call's arguments by name, with defaults.
        vary: The context headers in its key, with their values.
        layer: Of a hit: layer of the entry, ``"l1"`` or ``"l2"``; else None.
        age: Of a hit: seconds since the entry was stored; else None.
        remaining: Of a hit: seconds until it expires; else None.
        task_id: Of a hit: id of the task that computed it; None for ``task.cache``.
        stale: Whether a hit is past its ttl (RFC 5861).
        made_from: Of a hit: the keys of the entries that it was made from (promise D1), up to 64.
        search: For a call without an entry: the nearest stored call (``Nearest``).
        neighbours: For such a call of a task with ``cache_semantic``: the nearest texts, each with
            its similarity and the reason why it doesn't answer (``JudgedNeighbour``).
    """

    task: str
    status: str
    reason: str
    key: str | None = None
    arguments: dict[str, Any] = field(default_factory=dict)
    vary: dict[str, Any] = field(default_factory=dict)
    layer: str | None = None
    age: float | None = None
    remaining: float | None = None
    task_id: str | None = None
    stale: bool = False
    made_from: tuple[str, ...] = ()
    search: NearestSearch | None = None
    neighbours: tuple[JudgedNeighbour, ...] = ()

    def __str__(self) -> str:
        why = f"{self.reason}; {self.search}" if self.search is not None else self.reason
        near = "".join(f"\n  {neighbour}" for neighbour in self.neighbours)
        return f"{self.task}: {self.status}: {why}{near}"


_REASONS = {
    "ended": "it is stale: it only stands in for a run that fails",
    "invalid": "the task's cache_validate refuses the stored result",
    "validate-failed": "the task's cache_validate has raised an exception",
    "absent": "nothing is stored: it was never run, it has expired, or it was evicted",
    "expired": "the entry has just expired",
    "invalidated": "an invalidation has ended the entry",
    "serializer": "the entry was stored with another serializer or compression",
    "corrupt": "the bytes stored under this key are no entry",
    "format": "the entry was stored by another version of this library",
    "signature": "the entry's signature doesn't fit its bytes, its key and the secret",
    "log-lost": "Redis has lost the invalidation log: a new one is being started",
    "unavailable": "the store can't be reached",
    "too-large": "what is stored has more bytes than cache_max_bytes allows",
    "unknown-error": "a failure is remembered that this process can't raise as it was",
}


def _describe(hit: Hit) -> str:
    what = "a failure, remembered" if hit.entry.is_failure else "stored"
    kind = "" if hit.verdict is Verdict.FRESH else f" ({hit.verdict.value})"
    return f"{what} {hit.age:.1f} s ago, for another {hit.remaining:.1f} s{kind}"


@dataclass(frozen=True, slots=True)
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
        """Return the key of a call: ``task:label:digest``.

        Raises:
            WrongArguments: The arguments don't fit the task.
            UncacheableCall: The call has no key: a header is missing, or an argument has no
                canonical form.
        """
        return self._call_request(args, kwargs).identified().key

    def get(self, /, *args: Any, **kwargs: Any) -> Any:
        """Return the stored result of a call, or ``MISSING``; never runs the task.

        Raises:
            Exception: The exception of the run, if that is remembered (``cache_errors``).
        """
        call_request = request_of_caller(self.task, args, kwargs)
        if call_request.is_verified:
            call_request = replace(call_request, is_verified=False)
        found = look_up(call_request, None)
        if found.hit is None:
            return MISSING
        return value_of(call_request.policy, found.hit)

    async def aget(self, /, *args: Any, **kwargs: Any) -> Any:
        """As ``get``, without blocking the event loop."""
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
        call_request = request_in_loop(self.task, args, kwargs)
        cache = cache_of(self.task.app)
        hit = await look_up_in_loop(cache.async_cache, call_request, is_last=False)
        if hit is not None:
            return value_of(self.task.cache_policy, hit)
        key = call_request.call.key if call_request.call is not None else None
        result = await cache.async_calls.result_of(self.task, key, args, kwargs)
        return await asyncio.to_thread(result.get, disable_sync_subtasks=False)

    def set(self, value: Any, /, *args: Any, **kwargs: Any) -> bool:
        """Store a result for a call, as if it had just run.

        Args:
            value: The result.
            *args: Positional arguments of the call.
            **kwargs: Keyword arguments of the call.

        Returns:
            Whether it was stored: not while caching is off or Redis can't be reached, nor against
            ``cache_if``, ``cache_max_bytes`` or the serializer.

        Raises:
            WrongArguments: The arguments don't fit the task.
            UncacheableCall: The call has no key.
        """
        call_request = self._call_request(args, kwargs)
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

        def run() -> Any:
            if call_request.call is None:
                return self.task(*args, **kwargs)
            got_args, got_kwargs = call_request.received()
            return self.task(*got_args, **got_kwargs)

        return read_through.read_through(call_request, None, run, None)

    def invalidate(self, /, *args: Any, **kwargs: Any) -> None:
        """End the entry of one call, in all processes, now.

        Raises:
            UncacheableCall: The call has no key.
            StoreUnavailable: Redis has not acknowledged it.
        """
        cache_of(self.task.app).invalidate(key=self.key(*args, **kwargs))

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
        try:
            call_request = self._call_request(args, kwargs)
            call = call_request.with_traits(call_request.identified())
        except UncacheableCall as error:
            return replace(about, reason=str(error))
        found = self._runtime.run(self._runtime.engine.reader.find(call))
        if isinstance(found, Miss):
            reason = _REASONS.get(found.reason, found.reason)
            nearest = self._search(call) if found.reason == "absent" else None
            missed = replace(about, status="miss", reason=reason, key=call.key, search=nearest)
            return self._with_neighbours(missed, call_request, call)
        return replace(
            about,
            status="hit",
            reason=_describe(found),
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
            reason=f"a neighbour answers: {_describe(hit)}",
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
