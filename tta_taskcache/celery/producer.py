"""The producer site (promise S1): a hit is completed where it was asked for; nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery import states, uuid
from celery.result import AsyncResult

from ..cache.engine import Hit
from ..core.policy import Site
from ..errors import CacheMiss
from . import context
from .calls import Mode, Seen, hand_over, look, read_mode
from .completion import Request, complete_here, in_a_loop, request_for

if TYPE_CHECKING:
    from .task import CachedTask


def apply_cached(
    task: CachedTask,
    send: Callable[..., AsyncResult],
    args: Any,
    kwargs: Any,
    cache: Mode | None,
    options: dict[str, Any],
) -> AsyncResult:
    """``CachedTask.apply_async``: answer the call, or send it.

    Args:
        task: The task.
        send: Celery's own ``apply_async``.
        args: Positional arguments.
        kwargs: Keyword arguments.
        cache: What the call asks of the cache.
        options: All other options.
    """
    headers = dict(options.get("headers") or {})
    carried = context.stamp_of(headers)
    mode = read_mode(cache or carried.get("mode", "use"))
    stamp = context.Stamp()
    if mode in ("refresh", "bypass"):
        stamp["mode"] = mode
    in_force = context.of_new_call(headers)
    vary = {name: in_force[name] for name in task.taskcache_keyer().policy.vary if name in in_force}
    if vary:
        stamp["ctx"] = vary
    seen = Seen(None, reason="later")
    if not task.app.conf.task_always_eager and _may_answer(options):
        args, kwargs = _as_sent(task, args, kwargs, options)
        seen = look(task, Site.PRODUCER, args, kwargs, in_force, _looking(mode))
        if seen.hit is not None:
            return _answer(task, args, kwargs, headers, stamp, options, seen, seen.hit)
        stamp["seen"] = hand_over(seen)
    if mode == "only":
        raise CacheMiss(f"task {task.name!r}: {seen.reason or 'not answerable here'}")
    if stamp.get("seen") is None:
        stamp.pop("seen", None)
    options["headers"] = {**headers, context.HEADER: stamp}
    result = send(args, kwargs, **options)
    result.cache_status = stamp.status or seen.status(Site.PRODUCER)
    return result


def _looking(mode: Mode) -> Mode:
    return "use" if mode == "only" else mode


def _may_answer(options: Mapping[str, Any]) -> bool:
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


def _as_sent(
    task: CachedTask, args: Any, kwargs: Any, options: Mapping[str, Any]
) -> tuple[Any, Any]:
    """The arguments as the worker gets them: Celery dumps pydantic models before it sends them."""
    args, kwargs = args or (), kwargs or {}
    dump = getattr(task, "_dump_pydantic_arguments", None)
    if dump is not None and options.get("serializer", task.serializer) != "pickle":
        args, kwargs = dump(args, kwargs)
    return args, kwargs


def _answer(
    task: CachedTask,
    args: Any,
    kwargs: Any,
    headers: dict[str, Any],
    stamp: context.Stamp,
    options: dict[str, Any],
    seen: Seen,
    hit: Hit,
) -> AsyncResult:
    app = task.app
    task_id = options.get("task_id") or uuid()
    inherited = context.handed_down()
    stamp["ctx"] = {**inherited, **stamp.get("ctx", {})}
    options["headers"] = {**headers, context.HEADER: dict(stamp)}
    options.setdefault("ignore_result", task.ignore_result)
    request = request_for(task, task_id, args, kwargs, options)
    result: AsyncResult = task.AsyncResult(task_id)
    result.ignored = options["ignore_result"]
    result.cache_status = seen.status(Site.PRODUCER)
    parent = app.current_worker_task
    if options.get("add_to_parent", True) and parent is not None:
        parent.add_trail(result)
    in_a_loop(lambda: _complete(task, request, hit, result))
    return result


def _complete(task: CachedTask, request: Request, hit: Hit, result: AsyncResult) -> None:
    if not complete_here(task, request, hit):
        return
    result._maybe_set_cache(
        {
            "status": states.SUCCESS,
            "result": hit.value,
            "traceback": None,
            "children": [child.as_tuple() for child in request["_children"]],
        }
    )
