"""The producer site (promise S1): a hit is completed where it was asked for; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from celery import Celery, states, uuid
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from celery.result import AsyncResult
from celery.utils.time import maybe_make_aware

from ...cache.lookup_record import VERIFY
from ...cache.outcome import Hit
from ...core.lease import Claim, Stage
from ...core.option_values import Site
from ...errors import CacheMiss
from ..calls import context, hot_calls
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import CallRequest, Mode, read_mode, request_of_sender
from ..calls.lookup_handoff import RESERVED_FOR, SEEN, to_handoff
from ..calls.lookup_result import LookupResult
from ..lookup.lookup import LookupHints, look_up
from ..patches import revocations
from ..patches.internals import remember
from .completion import Request, complete_here, in_a_loop, request_for
from .task_events import send_producer_event

Send = Callable[..., AsyncResult]
Options = dict[str, Any]


@dataclass(frozen=True, slots=True)
class GroupPrefetch:
    """What is known of a call before it is made: its group was looked up together.

    Attributes:
        lookup: What was found; None when the call has to look by itself.
        result: The result that the group keeps.
    """

    lookup: LookupResult | None
    result: AsyncResult


#: The calls that a group is about to make, by id. Not in the options of its signatures: those are
#: the user's, and go into messages.
_group_calls: ContextVar[dict[str, GroupPrefetch]] = ContextVar("taskcache_group_calls")


def group_calls() -> dict[str, GroupPrefetch]:
    """What is known of the calls of the group that is being applied here, by their ids."""
    return _group_calls.get({})


@contextmanager
def in_group() -> Iterator[None]:
    """Inside, the calls of a group are made."""
    token = _group_calls.set({})
    try:
        yield
    finally:
        _group_calls.reset(token)


def apply_cached(
    task: CacheableTask,
    args: Any,
    kwargs: Any,
    *,
    mode: Mode | None,
    send: Send,
    options: Options,
) -> AsyncResult:
    """``CachedTask.apply_async``: answer the call, or send it.

    Args:
        task: The task.
        args: Positional arguments, as they were given.
        kwargs: Keyword arguments, likewise.
        mode: What the call asks of the cache.
        send: Celery's own ``apply_async``, with the arguments as they were given.
        options: All other options it was made with.

    Raises:
        CacheMiss: The mode is ``"only"``, and there is no entry.
        ValueError: An unknown mode.
    """
    group_prefetch = group_calls().pop(options.get("task_id") or "", None)
    # An eager call gets its answer at the pool site, in this process.
    eager = task.app.conf.task_always_eager and mode != "only"
    revoked = not eager and revocations.is_revoked(options)
    answerable = not eager and not revoked and may_answer(options, task.app)
    call_request = read_call_request(task, args, kwargs, mode, options, is_answerable=answerable)
    cache_header = _cache_header(call_request)
    # What is revoked is for the worker to refuse.
    lookup = LookupResult(None, reason="revoked" if revoked else "later")
    if answerable:
        known = group_prefetch.lookup if group_prefetch is not None else None
        hints = LookupHints(known=known, claim=claim_reservation(call_request, options))
        lookup = look_up(call_request, Site.PRODUCER, hints)
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
        if call_request.runtime.is_shared and (noted := to_handoff(lookup)):
            cache_header[SEEN] = noted
    if call_request.mode == "only":
        raise CacheMiss(f"task {task.name!r}: nothing to answer with ({lookup.reason})")
    # Without anything to tell, the message is as plain Celery's.
    if headers := _headers(call_request, options, cache_header):
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
) -> CallRequest:
    """Make sense of what ``apply_async`` was given.

    A retry keeps the mode of its first message, and inside ``disabled()`` the mode is bypass: the
    worker is told, too.

    Args:
        task: The task.
        args: Positional arguments.
        kwargs: Keyword arguments.
        mode: The option ``cache``.
        options: The other options.
        is_answerable: Whether it may be answered here; else it needs no key here.

    Raises:
        ValueError: An unknown mode.
    """
    headers, retries = options.get("headers"), options.get("retries")
    # Only of a retry: a task may pass its own headers on to other calls.
    kept = context.cache_header_of(headers).get("mode") if retries else None
    read = read_mode(mode or kept or "use")
    if read != "only" and context.is_disabled():
        read = "bypass"
    return request_of_sender(
        task,
        args,
        kwargs,
        context.of_new_call(headers),
        read,
        serializer=options.get("serializer"),
        is_request=hot_calls.is_request(headers, retries),
        is_identified=None if is_answerable else False,
    )


def claim_reservation(call_request: CallRequest, options: Options) -> Claim | None:
    """Ask for the lease on behalf of the message that is sent if there is no answer."""
    if call_request.mode == "only" or not call_request.runtime.is_shared:
        return None
    task_id = options["task_id"] = options.get("task_id") or uuid()
    return Claim(owner=task_id, stage=Stage.RESERVED, ttl=RESERVED_FOR)


def _cache_header(call_request: CallRequest) -> context.CacheHeader:
    cache_header = context.CacheHeader()
    if call_request.mode in ("refresh", "bypass", "revalidate"):
        cache_header["mode"] = call_request.mode
    if vary := call_request.vary:
        cache_header["ctx"] = vary
    return cache_header


def _headers(
    call_request: CallRequest, options: Options, cache_header: Mapping[str, Any]
) -> dict[str, Any]:
    own = options.get("headers") or {}
    ours = {context.HEADER: cache_header} if cache_header or context.HEADER in own else {}
    return {**context.visible_headers(call_request.context), **own, **ours}


def may_answer(options: Mapping[str, Any], app: Celery) -> bool:
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
            # As the worker reads it, in whose zone a naive one is.
            until: datetime = maybe_make_aware(expires, app.timezone)
            return until > datetime.now(until.tzinfo)
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
