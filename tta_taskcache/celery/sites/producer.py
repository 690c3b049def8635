"""The producer site (promise S1): a hit is completed where it was asked for; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery import states, uuid
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from celery.result import AsyncResult

from ...cache.outcome import Hit
from ...cache.refresher import VERIFY
from ...core.lease import Claim, Stage
from ...core.option_values import Site
from ...errors import CacheMiss
from ..calls import context, hot_calls
from ..calls.call_request import Asked, Mode, Seen, as_sent, read_mode
from ..calls.lookup_handoff import RESERVED_FOR, hand_over
from ..lookup.lookup import Start, look
from .completion import Request, complete_here, in_a_loop, request_for
from .task_events import tell_of_producer

if TYPE_CHECKING:
    from ..api.cached_task import CachedTask


Send = Callable[..., AsyncResult]
Options = dict[str, Any]

#: The option that carries an ``Ahead``.
AHEAD = "taskcache_ahead"


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is known of a call before it is made: its group was looked up together.

    Attributes:
        seen: What was found; None when the call has to look by itself.
        result: The result that the group keeps.
    """

    seen: Seen | None
    result: AsyncResult


def apply_cached(asked: Asked, send: Send, options: Options) -> AsyncResult:
    """``CachedTask.apply_async``: answer the call, or send it.

    Args:
        asked: The call.
        send: Celery's own ``apply_async``.
        options: All other options it was made with.

    Raises:
        CacheMiss: The mode is ``"only"``, and there is no entry.
    """
    task = asked.task
    ahead: Ahead | None = options.pop(AHEAD, None)
    stamp = _stamp(asked)
    seen = Seen(None, reason="later")
    # An eager call gets its answer at the pool site, in this process.
    eager = task.app.conf.task_always_eager and asked.mode != "only"
    if not eager and may_answer(options):
        asked = as_sent(asked, options.get("serializer"))
        known = ahead.seen if ahead is not None else None
        start = Start(known=known, claim=reserve(asked, options))
        seen = look(asked, Site.PRODUCER, start)
        if seen.hit is not None:
            return _answer(asked, stamp, options, seen, hit=seen.hit, ahead=ahead)
        if seen.reason == VERIFY:
            stamp["mode"] = VERIFY
        # A memory of its own says nothing of a worker's: positions there are of another log.
        if task.taskcache().runtime.is_shared and (noted := hand_over(seen)):
            stamp["seen"] = noted
    if asked.mode == "only":
        raise CacheMiss(f"task {task.name!r}: nothing to answer with ({seen.reason})")
    options["headers"] = _headers(asked, options, stamp)
    result = send(asked.args, asked.kwargs, **options)
    result.cache_status = stamp.status or seen.status(Site.PRODUCER)
    if ahead is not None:
        ahead.result.cache_status = result.cache_status
    return result


def read_asked(
    task: CachedTask, args: Any, kwargs: Any, mode: Mode | None, options: Options
) -> Asked:
    """Make sense of what ``apply_async`` was given.

    A retry keeps the mode of its first message, and inside ``disabled()`` the mode is bypass: the
    worker is told, too.

    Raises:
        ValueError: An unknown mode.
    """
    headers = options.get("headers")
    # Only of a retry: a task may pass its own headers on to other calls.
    kept = context.stamp_of(headers).get("mode") if options.get("retries") else None
    read = read_mode(mode or kept or "use")
    if read != "only" and context.is_switched_off():
        read = "bypass"
    asks = hot_calls.is_request(headers, options.get("retries"))
    return Asked(task, args or (), kwargs or {}, context.of_new_call(headers), read, asks)


def reserve(asked: Asked, options: Options) -> Claim | None:
    """Ask for the lease on behalf of the message that is sent if there is no answer."""
    if asked.mode == "only" or not asked.task.taskcache().runtime.is_shared:
        return None
    task_id = options["task_id"] = options.get("task_id") or uuid()
    return Claim(owner=task_id, stage=Stage.RESERVED, ttl=RESERVED_FOR)


def _stamp(asked: Asked) -> context.Stamp:
    stamp = context.Stamp()
    if asked.mode in ("refresh", "bypass", "revalidate"):
        stamp["mode"] = asked.mode
    declared = asked.task.taskcache_keyer().policy.vary
    vary = {name: asked.context[name] for name in declared if name in asked.context}
    if vary:
        stamp["ctx"] = vary
    return stamp


def _headers(asked: Asked, options: Options, stamp: Mapping[str, Any]) -> dict[str, Any]:
    own = options.get("headers") or {}
    return {**context.visible(asked.context), **own, context.HEADER: stamp}


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
    asked: Asked,
    stamp: context.Stamp,
    options: Options,
    seen: Seen,
    *,
    hit: Hit,
    ahead: Ahead | None,
) -> AsyncResult:
    task = asked.task
    task_id = options.get("task_id") or uuid()
    # What on_publish would have put on the message.
    stamp["ctx"] = context.passed_on(options.get("headers") or {}, stamp)
    options["headers"] = _headers(asked, options, dict(stamp))
    options.setdefault("ignore_result", task.ignore_result)
    request = request_for(task, task_id, asked.args, asked.kwargs, options)
    result: AsyncResult
    if ahead is not None and ahead.result.id == task_id:
        result = ahead.result
    else:
        result = task.AsyncResult(task_id)
        result.ignored = options["ignore_result"]
    result.cache_status = seen.status(Site.PRODUCER)
    parent = task.app.current_worker_task
    if options.get("add_to_parent", True) and parent is not None:
        parent.add_trail(result)
    in_group = ahead is not None and result is ahead.result
    if not in_a_loop(lambda: _complete(task, request, hit, result, in_group=in_group)):
        # Whoever asks from inside another completion may want the value before it is its turn.
        _preload(result, hit, (), in_group=in_group)
    tell_of_producer(asked, task_id, options, hit)
    return result


def _complete(
    task: CachedTask, request: Request, hit: Hit, result: AsyncResult, *, in_group: bool
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
    if in_group:
        # Its group counts it when the backend tells of it: not now as well.
        result._set_cache(meta)
    else:
        result._maybe_set_cache(meta)
