"""The pool site (promise S3): the last lookup before a task runs, and the fill after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ...cache.runs.hit_value import answer_to, record_answer, value_of
from ...cache.runs.led_keys import leading, within
from ...cache.runs.request_directives import Mode
from ...core.entries.lease import Claim, Stage
from ...core.events import Missed
from ...core.options.option_values import Site
from ..batches.batch_answer import Record, answer_batch_in_pool, read_batch_through
from ..batches.item_run import BatchRun
from ..calls import context, hot_calls
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import MAX_AGE, CallRequest
from ..calls.carried_text import read_carried
from ..calls.identification import request_of_message
from ..calls.lookup_handoff import FOUND, MISSED, QUEUED_FOR, is_recent, read_handoff
from ..calls.lookup_result import LookupResult
from ..lookup import read_through
from ..lookup.lookup import LookupHints, look_up
from ..lookup.run_and_store import run_and_store
from . import task_events

#: Attribute of a request whose result isn't to be stored: the reason.
UNSTORED = "taskcache_unstored"


def answer_or_run(
    task: CacheableTask,
    run: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Any:
    """Return the stored result of the task's current request, or run it and store its result.

    Args:
        task: The task, with its request on the stack.
        run: The task's body.
        args: Positional arguments.
        kwargs: Keyword arguments.
    """
    request = task.request
    answer = answer_to(request.id)
    if answer is not None:  # the call is being completed with it
        hit, site, observe = answer
        record_answer(observe, task.name, request.id, hit, site)
        return value_of(task.cache_policy, hit) if hit.entry.is_failure else hit.value
    headers = request.headers
    cache_header = context.cache_header_of(headers)
    mode: Mode = cache_header.get("mode", "use")
    is_request = hot_calls.is_request(headers, request.retries)
    in_force = context.of_new_call(headers) if request.is_eager else None
    call_request = request_of_message(
        task,
        args,
        kwargs,
        headers,
        mode,
        is_request=is_request,
        is_eager=bool(request.is_eager),
        context=in_force,
    ).with_max_age(cache_header.get(MAX_AGE))
    observe = call_request.runtime.observe

    def record(lookup: LookupResult) -> None:
        if lookup.hit is not None:
            record_answer(observe, task.name, request.id, lookup.hit, Site.POOL)
        context.record_eager_status(request.id, lookup.status(Site.POOL))

    if call_request.policy.each is not None:
        batch_run = BatchRun(
            call_request=call_request,
            body=lambda args, kwargs: run(*args, **kwargs),
            args=args,
            kwargs=kwargs,
            site=Site.POOL,
            task_id=request.id,
            refused=lambda: request.get(UNSTORED) or "",
        )
        return _answer_batch(batch_run, cache_header, record, is_eager=bool(request.is_eager))
    if request.is_eager:
        return read_through.read_through(
            call_request,
            Site.POOL,
            lambda: run(*args, **kwargs),
            request.id,
            record,
            carried=read_carried(cache_header),
        )
    lookup = _last_look(call_request, cache_header)
    _record_miss(call_request, lookup, cache_header.get(MISSED))
    if lookup.hit is not None:
        record_answer(observe, task.name, request.id, lookup.hit, Site.POOL)
        if cache_header.get(task_events.WANTED):
            task_events.send_pool_event(task, lookup.hit)
        return value_of(call_request.policy, lookup.hit)

    def run_here() -> Any:
        return run_and_store(
            call_request,
            lookup,
            lambda: run(*args, **kwargs),
            request.id,
            site=Site.POOL,
            refused=lambda: request.get(UNSTORED) or "",
        )

    if lookup.call is None or not lookup.owner:
        return run_here()
    with leading(lookup.call.key, request.id, within(cache_header)):
        return run_here()


def _answer_batch(
    batch_run: BatchRun, cache_header: Mapping[str, Any], record: Record, *, is_eager: bool
) -> Any:
    """Answer a call with ``cache_each``."""
    if is_eager:
        return read_batch_through(batch_run, record)
    task, missed = batch_run.call_request.task, cache_header.get(MISSED)

    def found(lookup: LookupResult) -> None:
        _record_miss(batch_run.call_request, lookup, missed)
        if lookup.hit is None:
            return
        record(lookup)
        if cache_header.get(task_events.WANTED):
            task_events.send_pool_event(task, lookup.hit)

    handoff = read_handoff(cache_header)
    token = handoff.owner if handoff is not None else ""
    return answer_batch_in_pool(batch_run, token, within(cache_header), found)


def _last_look(call_request: CallRequest, cache_header: Mapping[str, Any]) -> LookupResult:
    """What the main process has found; or, where that was a while ago, what there is by now.

    A leader that has waited for the pool for long may have been overtaken: its lease is its own
    again only if nobody else leads, and there is no result yet (C8). A hit that the consumer
    couldn't complete in time is answered here, for the consumer.
    """
    carried = read_carried(cache_header)
    if cache_header.get(FOUND) is True and Site.POOL not in call_request.policy.sites:
        return look_up(call_request, Site.CONSUMER, LookupHints(carried=carried))
    handoff = read_handoff(cache_header)
    if handoff is None or not handoff.owner or is_recent(handoff, QUEUED_FOR):
        return look_up(call_request, Site.POOL, LookupHints(handoff=handoff, carried=carried))
    leases = call_request.runtime.leases
    claim = Claim(owner=handoff.owner, stage=Stage.RUNNING, ttl=leases.ttl)
    again = look_up(call_request, Site.POOL, LookupHints(claim=claim, carried=carried))
    if again.hit is None and again.position is None and again.call is not None:
        return replace(handoff, call=again.call)  # nothing could be learned
    return again


def _record_miss(call_request: CallRequest, lookup: LookupResult, missed: object) -> None:
    """Tell the observers of the consumer's miss, now that the task's context is in force."""
    match missed:
        case [str() as reason, float() as seconds]:
            key = lookup.call.key if lookup.call is not None else None
            miss = Missed(call_request.task.name, key, Site.CONSUMER.value, reason, seconds)
            call_request.runtime.observe(miss)
