"""The pool site (promise S3): the last look before a task runs, and the fill after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...cache.outcome import Hit
from ...core.events import Answered
from ...core.option_values import Site
from ..calls import context, hot_calls
from ..calls.cacheable_task import CacheableTask
from ..calls.cached_errors import value_of
from ..calls.call_request import Mode, request_of_message
from ..calls.lookup_handoff import read_handoff
from ..calls.lookup_result import LookupResult
from ..lookup import read_through
from ..lookup.lookup import LookupHints, look_up
from ..lookup.run_and_store import run_and_store
from . import task_events
from .completion import answer_to

#: Set on a request whose result isn't to be stored, with the reason.
UNSTORED = "taskcache_unstored"


def answer_or_run(
    task: CacheableTask,
    run: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Return the stored result of the task's current request, or run it and store what it returns.

    Args:
        task: The task, with its request on the stack.
        run: Its body.
        args: Positional arguments.
        kwargs: Keyword arguments.
    """
    request = task.request
    answer = answer_to(request.id)
    policy = task.cache_policy
    if answer is not None:  # another site has found it and is completing the call
        hit, site = answer
        _record_answer(task, request.id, hit, site)
        return value_of(policy, hit)
    headers = request.headers
    cache_header = context.cache_header_of(headers)
    mode: Mode = cache_header.get("mode", "use")
    is_request = hot_calls.is_request(headers, request.retries)
    in_force = context.of_new_call(headers) if request.is_eager else None
    call_request = request_of_message(
        task, args, kwargs, headers, mode, is_request=is_request, context=in_force
    )
    if request.is_eager:

        def record(lookup: LookupResult) -> None:
            if lookup.hit is not None:
                _record_answer(task, request.id, lookup.hit, Site.POOL)
            context.record_eager_status(request.id, lookup.status(Site.POOL))

        return read_through.read_through(
            call_request, Site.POOL, lambda: run(*args, **kwargs), request.id, record
        )
    lookup = look_up(call_request, Site.POOL, LookupHints(handoff=read_handoff(cache_header)))
    if lookup.hit is not None:
        _record_answer(task, request.id, lookup.hit, Site.POOL)
        if cache_header.get(task_events.WANTED):
            task_events.send_pool_event(task, lookup.hit)
        return value_of(policy, lookup.hit)
    return run_and_store(
        call_request,
        lookup,
        lambda: run(*args, **kwargs),
        request.id,
        site=Site.POOL,
        refused=lambda: request.get(UNSTORED) or "",
    )


def _record_answer(task: CacheableTask, task_id: str | None, hit: Hit, site: Site) -> None:
    """Tell the observers that a stored result takes the place of a run."""
    entry = hit.entry
    task.cache_runtime.observe(
        Answered(
            task.name,
            task_id,
            entry.key,
            site.value,
            hit.layer,
            age=hit.age,
            computed_by=entry.task_id,
            freshness=hit.verdict.value,
            size=len(entry.payload),
        )
    )
