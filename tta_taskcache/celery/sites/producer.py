"""The producer site (promise S1): a hit is completed where it was asked for; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery import states, uuid
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from celery.result import AsyncResult

from ...cache.outcome import Hit
from ...cache.reader import VERIFY
from ...core.lease import Claim, Stage
from ...core.option_values import Site
from ...errors import CacheMiss
from ..calls import context, hot_calls
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import CallRequest, LookupResult, Mode, as_sent, read_mode
from ..calls.lookup_handoff import RESERVED_FOR, to_handoff
from ..lookup.lookup import LookupHints, look_up
from ..patches.results import remember
from .completion import Request, complete_here, in_a_loop, request_for
from .task_events import send_producer_event

Send = Callable[..., AsyncResult]
Options = dict[str, Any]

#: The option that carries an ``GroupPrefetch``.
GROUP_PREFETCH = "taskcache_ahead"


@dataclass(frozen=True, slots=True)
class GroupPrefetch:
    """What is known of a call before it is made: its group was looked up together.

    Attributes:
        lookup: What was found; None when the call has to look by itself.
        result: The result that the group keeps.
    """

    lookup: LookupResult | None
    result: AsyncResult


def apply_cached(call_request: CallRequest, send: Send, options: Options) -> AsyncResult:
    """``CachedTask.apply_async``: answer the call, or send it.

    Args:
        call_request: The call.
        send: Celery's own ``apply_async``.
        options: All other options it was made with.

    Raises:
        CacheMiss: The mode is ``"only"``, and there is no entry.
    """
    task = call_request.task
    group_prefetch: GroupPrefetch | None = options.pop(GROUP_PREFETCH, None)
    cache_header = _cache_header(call_request)
    lookup = LookupResult(None, reason="later")
    # An eager call gets its answer at the pool site, in this process.
    eager = task.app.conf.task_always_eager and call_request.mode != "only"
    if not eager and may_answer(options):
        call_request = as_sent(call_request, options.get("serializer"))
        known = group_prefetch.lookup if group_prefetch is not None else None
        start = LookupHints(known=known, claim=claim_reservation(call_request, options))
        lookup = look_up(call_request, Site.PRODUCER, start)
        if lookup.hit is not None:
            return _answer(
                call_request,
                cache_header,
                options,
                lookup,
                hit=lookup.hit,
                group_prefetch=group_prefetch,
            )
        if lookup.reason == VERIFY:
            cache_header["mode"] = VERIFY
        # A memory of its own says nothing of a worker's: positions there are of another log.
        if task.cache_runtime.is_shared and (noted := to_handoff(lookup)):
            cache_header["seen"] = noted
    if call_request.mode == "only":
        raise CacheMiss(f"task {task.name!r}: nothing to answer with ({lookup.reason})")
    options["headers"] = _headers(call_request, options, cache_header)
    result = send(call_request.args, call_request.kwargs, **options)
    result.cache_status = cache_header.status or lookup.status(Site.PRODUCER)
    if group_prefetch is not None:
        group_prefetch.result.cache_status = result.cache_status
    return result


def read_call_request(
    task: CacheableTask, args: Any, kwargs: Any, mode: Mode | None, options: Options
) -> CallRequest:
    """Make sense of what ``apply_async`` was given.

    A retry keeps the mode of its first message, and inside ``disabled()`` the mode is bypass: the
    worker is told, too.

    Raises:
        ValueError: An unknown mode.
    """
    headers = options.get("headers")
    # Only of a retry: a task may pass its own headers on to other calls.
    kept = context.cache_header_of(headers).get("mode") if options.get("retries") else None
    read = read_mode(mode or kept or "use")
    if read != "only" and context.is_disabled():
        read = "bypass"
    asks = hot_calls.is_request(headers, options.get("retries"))
    return CallRequest(task, args or (), kwargs or {}, context.of_new_call(headers), read, asks)


def claim_reservation(call_request: CallRequest, options: Options) -> Claim | None:
    """Ask for the lease on behalf of the message that is sent if there is no answer."""
    if call_request.mode == "only" or not call_request.task.cache_runtime.is_shared:
        return None
    task_id = options["task_id"] = options.get("task_id") or uuid()
    return Claim(owner=task_id, stage=Stage.RESERVED, ttl=RESERVED_FOR)


def _cache_header(call_request: CallRequest) -> context.CacheHeader:
    cache_header = context.CacheHeader()
    if call_request.mode in ("refresh", "bypass", "revalidate"):
        cache_header["mode"] = call_request.mode
    declared = call_request.task.cache_policy.vary
    vary = {name: call_request.context[name] for name in declared if name in call_request.context}
    if vary:
        cache_header["ctx"] = vary
    return cache_header


def _headers(
    call_request: CallRequest, options: Options, cache_header: Mapping[str, Any]
) -> dict[str, Any]:
    own = options.get("headers") or {}
    return {**context.visible_headers(call_request.context), **own, context.HEADER: cache_header}


def may_answer(options: Mapping[str, Any]) -> bool:
    """Whether a call with these options may be answered at once (promise S5)."""
    if options.get("eta") or options.get("countdown") or options.get("retries"):
        return False
    expires = options.get("expires")
    match expires:
        case None:
            return True
        case int() | float():
            return expires > 0
        case datetime():
            return expires > datetime.now(expires.tzinfo)
    return False


def _answer(
    call_request: CallRequest,
    cache_header: context.CacheHeader,
    options: Options,
    lookup: LookupResult,
    *,
    hit: Hit,
    group_prefetch: GroupPrefetch | None,
) -> AsyncResult:
    task = call_request.task
    task_id = options.get("task_id") or uuid()
    # What on_publish would have put on the message.
    cache_header["ctx"] = context.propagated_context(options.get("headers") or {}, cache_header)
    options["headers"] = _headers(call_request, options, dict(cache_header))
    options.setdefault("ignore_result", task.ignore_result)
    request = request_for(task, task_id, call_request.args, call_request.kwargs, options)
    result: AsyncResult
    if group_prefetch is not None and group_prefetch.result.id == task_id:
        result = group_prefetch.result
    else:
        result = task.AsyncResult(task_id)
        result.ignored = options["ignore_result"]
    result.cache_status = lookup.status(Site.PRODUCER)
    parent = task.app.current_worker_task
    if options.get("add_to_parent", True) and parent is not None:
        parent.add_trail(result)
    in_group = group_prefetch is not None and result is group_prefetch.result
    if not in_a_loop(lambda: _complete(task, request, hit, result, in_group=in_group)):
        # Whoever asks from inside another completion may want the value before it is its turn.
        _preload(result, hit, (), in_group=in_group)
    send_producer_event(call_request, task_id, options, hit)
    return result


def _complete(
    task: CacheableTask, request: Request, hit: Hit, result: AsyncResult, *, in_group: bool
) -> None:
    backend = task.app.backend
    if isinstance(backend, RPCBackend) and not request["ignore_result"]:
        # Sending a message would have declared the queue that the result goes to.
        with task.app.producer_pool.acquire(block=True) as sender:
            backend.on_task_call(sender, request["id"])
    if complete_here(task, request, hit):
        _preload(result, hit, request["_children"], in_group=in_group)


def _preload(
    result: AsyncResult, hit: Hit, children: Sequence[AsyncResult], *, in_group: bool
) -> None:
    """Let the result hold what the backend would tell."""
    if result.ignored or isinstance(result.backend, DisabledBackend):
        return  # of a result that isn't kept, Celery says so
    meta = {
        "status": states.SUCCESS,
        "result": hit.value,
        "traceback": None,
        "children": [child.as_tuple() for child in children],
    }
    remember(result, meta, in_group=in_group)
