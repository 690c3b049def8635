"""The producer site (promise S1): a hit is completed in the calling process; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from celery import Celery, uuid
from celery.result import AsyncResult
from celery.utils.time import maybe_make_aware

from ...cache.cache_status import CacheStatus
from ...cache.engine.lookup_record import VERIFY
from ...cache.outcome import Hit
from ...cache.runs.request_directives import Mode, read_max_age, read_mode
from ...core.entries.lease import Claim, Stage
from ...core.options.option_values import Site
from ...errors import CacheMiss
from ..batches.item_lookup import look_up_batch
from ..calls import context, hot_calls, message_form
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import MAX_AGE, Caching, CallRequest, check_list
from ..calls.carried_text import NOTHING, SEMANTIC, CarriedText, read_asked, read_carried, to_header
from ..calls.identification import request_of_sender
from ..calls.lookup_handoff import SEEN, to_handoff
from ..calls.lookup_result import NEVER_LEADS, SLOW, LookupResult
from ..lookup.lookup import LookupHints, look_up
from ..patches.internals import execution_options
from ..patches.tracing import trace_effects
from ..patches.worker import revocations
from . import short_way
from .completion import complete_with, request_for
from .group_calls import GroupPrefetch, prefetched_calls
from .task_events import send_producer_event

Send = Callable[..., AsyncResult]
Options = dict[str, Any]

#: The header that Celery's beat marks its calls with.
BEAT_HEADER = "celery_beat_task"


def apply_cached(
    task: CacheableTask,
    args: Any,
    kwargs: Any,
    *,
    caching: Caching,
    mode: Mode | None,
    semantic: float | bool | None,
    send: Send,
    options: Options,
) -> AsyncResult:
    """``CachedTask.apply_async``: answer the call, or send it.

    Args:
        task: The task.
        args: Positional arguments, as they were given.
        kwargs: Keyword arguments, likewise.
        caching: Runtime and keyer of the task.
        mode: What the call asks of the cache; None for ``"use"``.
        semantic: The threshold that it asks for; False for none, None for the task's.
        send: Celery's own ``apply_async``, bound to the arguments as they were given.
        options: All other options of the call.

    Raises:
        CacheMiss: The mode is ``"only"``, and no entry answers the call.
        ValueError: The mode is unknown, or the threshold isn't allowed.
    """
    carried = _carried(caching, semantic, options)
    given_id: str = options.get("task_id") or ""
    prefetched = prefetched_calls.get(None) if given_id else None
    group_prefetch = prefetched.pop(given_id, None) if prefetched else None
    # An eager call gets its answer at the pool site, in this process.
    eager = task.app.conf.task_always_eager and mode != "only"
    # Nobody can have revoked a call whose id is new, unless by its stamps.
    is_known = bool(given_id or options.get("stamped_headers"))
    revoked = is_known and not eager and revocations.is_revoked(options)
    answerable = not eager and not revoked and may_answer(options, task.app)
    call_request = read_call_request(
        task, args, kwargs, mode, options, is_answerable=answerable, caching=caching
    )
    options.pop(MAX_AGE, None)
    cache_header = _cache_header(call_request)
    # A revoked call is for the worker to refuse.
    lookup = LookupResult(None, reason="revoked" if revoked else "later")
    if carried.asked is not None:
        cache_header[SEMANTIC] = to_header(carried)
    if answerable:
        known = group_prefetch.lookup if group_prefetch is not None else None
        claim = claim_reservation(call_request, options)
        hints = LookupHints(known=known, claim=claim, carried=carried)
        lookup = (
            look_up_batch(call_request, Site.PRODUCER)
            if call_request.batch is not None
            else look_up(call_request, Site.PRODUCER, hints)
        )
        if lookup.hit is not None:
            return _answer(
                call_request,
                cache_header,
                options,
                lookup.hit,
                lookup.status(Site.PRODUCER),
                group_prefetch=group_prefetch,
                is_new=not given_id,
            )
        if lookup.reason == VERIFY:
            cache_header["mode"] = VERIFY
        _hand_off(call_request, cache_header, lookup)
    if lookup.vector is not None or carried is not NOTHING:
        _carry(cache_header, replace(carried, vector=lookup.vector or carried.vector))
    if call_request.mode == "only":
        raise CacheMiss(f"task {task.name!r}: nothing to answer with ({lookup.reason})")
    own = options.get("headers") or {}
    # A call without a context is sent as plain Celery's.
    if headers := context.message_headers(call_request.context, own, cache_header):
        options["headers"] = headers
    if eager:
        with context.eager_status(options) as recorded:
            result = send(**options)
        status = recorded.status
    else:
        result, status = send(**options), None
    result.cache_status = status or lookup.status(Site.PRODUCER)
    if group_prefetch is not None:
        group_prefetch.result.cache_status = result.cache_status
    return result


def read_call_request(
    task: CacheableTask,
    args: Any,
    kwargs: Any,
    mode: Mode | None,
    options: Options,
    *,
    is_answerable: bool = True,
    caching: Caching | None = None,
) -> CallRequest:
    """Read the request for a call out of what ``apply_async`` was given.

    A retry keeps the mode of its first message.

    Args:
        task: The task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        mode: The option ``cache``.
        options: The other options.
        is_answerable: Whether the producer may answer it; else it needs no key here.
        caching: Runtime and keyer of the task; None: the task is asked for them.

    Raises:
        ValueError: The mode is unknown, or the age is none.
        BatchArgumentError: The argument of ``cache_each`` is no list.
    """
    headers, retries = options.get("headers"), options.get("retries")
    # Only of a retry: a task may pass its own headers on to other calls, too.
    first = context.cache_header_of(headers) if retries else {}
    kept = first.get("mode")
    if kept == SLOW:
        kept = None
    is_request = not headers or hot_calls.is_request(headers, retries)
    in_force = context.in_force(headers)
    max_age = options.get(MAX_AGE, first.get(MAX_AGE, in_force.max_age))
    request = request_of_sender(
        task,
        args,
        kwargs,
        headers,
        read_mode(mode or kept or in_force.mode or "use"),
        serializer=options.get("serializer"),
        is_request=is_request,
        is_identified=None if is_answerable else False,
        caching=caching,
        in_force=in_force,
    )
    if not is_answerable and request.policy.each is not None and not request.bypass:
        check_list(request)
    return request if max_age is None else request.with_max_age(read_max_age(max_age))


def claim_reservation(call_request: CallRequest, options: Options) -> Claim | None:
    """Return the claim that reserves the lease for the message of a miss; None for no claim."""
    if call_request.mode in NEVER_LEADS or not call_request.runtime.is_shared:
        return None
    task_id = options["task_id"] = options.get("task_id") or uuid()
    reserved_for = call_request.runtime.leases.reserved_for
    return Claim(owner=task_id, stage=Stage.RESERVED, ttl=reserved_for)


def _hand_off(
    call_request: CallRequest, cache_header: context.CacheHeader, lookup: LookupResult
) -> None:
    """Note a miss for the next site."""
    # Without Redis each process has a log of its own, whose positions mean nothing elsewhere.
    if call_request.runtime.is_shared and (noted := to_handoff(lookup)):
        cache_header[SEEN] = noted


def _carry(cache_header: context.CacheHeader, carried: CarriedText) -> None:
    """Note for the next sites what is known of the call's text."""
    if noted := to_header(carried):
        cache_header[SEMANTIC] = noted


def _carried(caching: Caching, semantic: float | bool | None, options: Options) -> CarriedText:
    """What a call says of its text; a retry says what its first message said.

    Raises:
        ValueError: The threshold isn't allowed.
    """
    if semantic is None:
        if not options.get("retries"):
            return NOTHING
        return read_carried(context.cache_header_of(options.get("headers")))
    keyer = caching[1]
    return CarriedText(asked=read_asked(keyer.policy, keyer.task, semantic))


def _cache_header(call_request: CallRequest) -> context.CacheHeader:
    cache_header = context.CacheHeader()
    if call_request.mode in ("refresh", "bypass", "revalidate", "no-store"):
        cache_header["mode"] = call_request.mode
    if call_request.max_age is not None:
        cache_header[MAX_AGE] = call_request.max_age
    if vary := call_request.vary:
        cache_header["ctx"] = vary
    chosen = call_request.serializer
    if chosen is not None and chosen != message_form.serializer_of(call_request.task, None):
        # A worker that has it refreshed asks for the same call.
        cache_header["serializer"] = chosen
    return cache_header


def may_answer(options: Mapping[str, Any], app: Celery) -> bool:
    """Whether a call with these options may be answered at once (promise S5).

    Not one of beat's: handlers and callbacks of the task would hold up all other schedules (F4).
    """
    if (options.get("headers") or {}).get(BEAT_HEADER):
        return False
    if options.get("eta") or options.get("countdown") or options.get("retries"):
        return False
    expires = options.get("expires")
    match expires:
        case None:
            return True
        case int() | float():
            return expires > 0
        case datetime():
            # A naive datetime is in the app's zone, as the worker reads it.
            until: datetime = maybe_make_aware(expires, app.timezone)
            return until > datetime.now(until.tzinfo)
    return False


def _answer(
    call_request: CallRequest,
    cache_header: context.CacheHeader,
    options: Options,
    hit: Hit,
    status: CacheStatus,
    *,
    group_prefetch: GroupPrefetch | None,
    is_new: bool,
) -> AsyncResult:
    task = call_request.task
    task_id = options.get("task_id") or uuid()
    options.setdefault("ignore_result", task.ignore_result)
    result: AsyncResult
    in_group = group_prefetch is not None and group_prefetch.result.id == task_id
    if group_prefetch is not None and in_group:
        result = group_prefetch.result
    else:
        result = task.AsyncResult(task_id)
        result.ignored = options["ignore_result"]
    result.cache_status = status

    def long_way() -> None:
        defaults, own = execution_options(task), options.get("headers") or {}
        # As ``on_publish`` does for a message.
        cache_header["ctx"] = context.propagated_context(own, cache_header)
        options["headers"] = context.message_headers(call_request.context, own, dict(cache_header))
        request = request_for(
            task, task_id, call_request.args, call_request.kwargs, {**defaults, **options}
        )
        complete_with(task, request, hit, result, call_request.runtime.observe, in_group=in_group)

    parent = task.app.current_worker_task
    if options.get("add_to_parent", True) and parent is not None:
        parent.add_trail(result)
    is_watched, is_logged = trace_effects.is_watched(task), trace_effects.logs_success()
    is_short = (
        not is_watched
        and short_way.is_open(call_request, hit, options)
        and short_way.answer(
            call_request,
            hit,
            result,
            options,
            parent_id=options.get("parent_id")
            or (parent.request.id if parent is not None else None),
            is_new=is_new,
            in_group=in_group,
            is_logged=is_logged,
            long_way=long_way,
        )
    )
    if not is_short:
        long_way()
    if call_request.runtime.settings.send_events:
        send_producer_event(call_request, task_id, options, hit)
    return result
