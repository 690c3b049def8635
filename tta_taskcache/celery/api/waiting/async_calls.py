"""``task.cache`` from asyncio: stored results, or what a worker computes, without blocking."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from typing import Any

from celery import Celery
from celery.result import AsyncResult

from ....cache.event_loops.async_cache import AsyncCache
from ....cache.outcome import Hit, Miss
from ....cache.runs.current_run import depend_on_hit
from ....core.events import Fault, Lookup
from ....stores.loop_local import LoopLocal
from ...calls import hot_calls
from ...calls.cacheable_task import CacheableTask
from ...calls.call_request import CallRequest
from ...calls.identification import request_of_caller
from ...calls.lookup_result import DIRECT
from ...lookup.background_refresh import schedule_refresh
from ...lookup.lookup import unanswerable
from ...lookup.semantic_lookup import neighbour_request
from ...patches.internals import guards_subscriptions
from .result_waiter import ResultWaiter


async def look_up_in_loop(
    cache: AsyncCache, call_request: CallRequest, *, is_last: bool
) -> Hit | None:
    """Look for the answer to a direct call, as ``look_up`` does. Faults of the cache are misses.

    Args:
        cache: The cache, for loops.
        call_request: The call.
        is_last: Whether nothing else looks: then a neighbour may answer (``cache_semantic``).
    """
    runtime, call = call_request.runtime, call_request.call
    reason = unanswerable(call_request, None)
    if call is None or reason:
        key = call.key if call else None
        runtime.observe(Lookup(call_request.task.name, key, DIRECT, None, reason or "uncacheable"))
        return None
    try:
        found: Hit | Miss = await cache.run(runtime.engine.look(call, DIRECT))
        request = neighbour_request(call_request, call) if is_last else None
        if request is not None and isinstance(found, Miss) and found.position is not None:
            found = (await cache.run(runtime.neighbours.look(request))).hit or found
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a call (promise F1)
        runtime.observe(Fault(call_request.task.name, "look", error))
        return None
    hot_calls.record_hot_call(call_request, call)
    if isinstance(found, Miss):
        return None
    depend_on_hit(call, found, runtime.engine.parts.log)
    if found.refresh:
        cache.begin(asyncio.to_thread(schedule_refresh, call_request, call), call.task)
    return found


class AsyncCalls:
    """The calls that the loops of a process have sent and wait for: equal ones are sent once.

    Args:
        app: Their app.
    """

    def __init__(self, app: Celery) -> None:
        self._waiter = ResultWaiter(app)
        self._sent: LoopLocal[dict[str, asyncio.Task[AsyncResult]]] = LoopLocal(dict)

    async def result_of(
        self, task: CacheableTask, key: str | None, args: Any, kwargs: Any
    ) -> AsyncResult:
        """Send a call to a worker, unless an equal one is on its way, and wait for its result."""
        if key is None:
            return await self._send(task, args, kwargs)
        sent = self._sent.get()
        on_its_way = sent.get(key)
        if on_its_way is None:
            on_its_way = asyncio.create_task(self._send(task, args, kwargs))
            sent[key] = on_its_way
            on_its_way.add_done_callback(lambda _: sent.pop(key, None))
        # Who is cancelled takes nothing from the others.
        return await asyncio.shield(on_its_way)

    async def _send(self, task: CacheableTask, args: Any, kwargs: Any) -> AsyncResult:
        # Sending, and reading a result, are Celery's, and block: in a thread, with this context.
        result = await asyncio.to_thread(_apply, task, args, kwargs)
        await self._waiter.wait(result)
        return result


def request_in_loop(task: CacheableTask, args: Any, kwargs: Any) -> CallRequest:
    """The request for a direct call; it isn't run to be verified."""
    return replace(request_of_caller(task, args, kwargs), is_verified=False)


def _apply(task: CacheableTask, args: Any, kwargs: Any) -> AsyncResult:
    if guards_subscriptions(task.app.backend):
        return task.apply_async(args, kwargs)
    with _sending:
        return task.apply_async(args, kwargs)


_sending = threading.Lock()


def _renew_lock() -> None:
    global _sending  # noqa: PLW0603 - a thread of the parent may hold the old one
    _sending = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
