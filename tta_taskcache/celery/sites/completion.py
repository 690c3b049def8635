"""Completion of a call that the cache has answered, exactly as if it had run (promise S4).

Celery's own tracer runs, and the task's ``__call__`` returns the stored result in place of the
body. So callbacks, the rest of the chain, the chord's count, children, signals, handlers,
``ignore_result`` and the stored result are Celery's, in its order.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from copy import deepcopy
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery, Task
from celery.app import trace
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from celery.result import AsyncResult
from celery.utils.functional import maybe_list
from celery.utils.saferepr import saferepr
from kombu.exceptions import OperationalError

from ...cache.outcome import Hit
from ...cache.runs.hit_value import answering
from ...core.events import Observe
from ...core.options.option_values import Site
from ..patches.app.current_app import as_current_app
from ..patches.internals import remember, success_meta
from ..patches.tracing.sentry_tracing import without_transaction

Request = dict[str, Any]

#: Completions that wait for the one that runs.
_Completions = deque[Callable[[], None]]

#: No thread's, and no queue.
_NOTHING: tuple[int, _Completions | None] = (0, None)

#: The thread or greenlet in which a completion runs, and those that wait. Not a thread-local: one
#: that was made before gevent's patches is shared by all greenlets.
_running: ContextVar[tuple[int, _Completions | None]] = ContextVar(
    "taskcache_completions", default=_NOTHING
)


def in_a_loop(step: Callable[[], None]) -> bool:
    """Run a completion, and after it the completions that it leads to, one after the other.

    The next step of a chain may be a hit as well, and so on for a thousand steps: while one
    completion runs here, further ones wait in a queue and don't recurse.

    Returns:
        Whether it has run; else it waits in the queue.

    Raises:
        Exception: The first error of a completion, after all have been tried.
    """
    queue = _current()
    if queue is not None:
        queue.append(step)
        return False
    with _queueing() as queue:
        queue.append(step)
        _run_all(queue)
    return True


@contextmanager
def completions_deferred() -> Iterator[None]:
    """Queue the completions of a block, and run them at its end, whatever ends it.

    Members of a chord mustn't end before Celery has stored the chord's size, which tells the runs
    of a frozen chord apart: it drops earlier ones.

    Raises:
        Exception: The first error of a completion, unless the block has raised one.
    """
    if _current() is not None:
        yield  # those that run this block are followed by what it leads to
        return
    with _queueing() as queue:
        try:
            yield
        except BaseException:
            with suppress(Exception):
                _run_all(queue)
            raise
        _run_all(queue)


def _current() -> _Completions | None:
    """The queue of the completion that runs here, if one does."""
    owner, queue = _running.get()
    # Not that of whoever started this thread or greenlet, which may have a copy of its context.
    return queue if owner == threading.get_ident() else None


@contextmanager
def _queueing() -> Iterator[_Completions]:
    queue: _Completions = deque()
    try:
        _running.set((threading.get_ident(), queue))
        yield queue
    finally:
        _running.set(_NOTHING)


def _run_all(queue: _Completions) -> None:
    first_error: Exception | None = None
    while queue:
        try:
            queue.popleft()()
        except Exception as error:  # noqa: BLE001 - the others are calls of their own
            first_error = first_error or error
    if first_error is not None:
        raise first_error


def complete_with(
    task: Task, request: Request, hit: Hit, result: AsyncResult, observe: Observe, *, in_group: bool
) -> None:
    """Complete a call in this process, and let its result hold the value.

    Args:
        task: The task.
        request: The request that a worker would have made.
        hit: The answer.
        result: The result that ``apply_async`` returns.
        observe: Told of the answer.
        in_group: Whether a group keeps that result.

    Raises:
        Exception: As ``in_a_loop`` and ``complete_here``.
    """

    def complete() -> None:
        backend = task.app.backend
        if isinstance(backend, RPCBackend) and not request["ignore_result"]:
            # Sending a message would have declared the queue that the result goes to.
            with task.app.producer_pool.acquire(block=True) as sender:
                backend.on_task_call(sender, request["id"])
        if complete_here(task, request, hit, observe):
            _preload(result, hit, request, in_group=in_group)

    if not in_a_loop(complete):
        # The caller is inside another completion, and may want the value before this one's turn.
        _preload(result, hit, request, in_group=in_group)


def _preload(result: AsyncResult, hit: Hit, request: Request, *, in_group: bool) -> None:
    """Let a result hold the meta data that its backend would return."""
    if result.ignored or isinstance(result.backend, DisabledBackend):
        return  # Celery raises for a result that no backend keeps
    remember(result, success_meta(result.backend, hit.value, request), in_group=in_group)


def complete_here(task: Task, request: Request, hit: Hit, observe: Observe) -> bool:
    """Complete a call in this process, which is not the worker that would have run it.

    Returns:
        Whether it succeeded: a handler of the task may fail it, as it may in a worker.

    Raises:
        OperationalError: The broker didn't take the next step; a plain call would raise it, too.
        SoftTimeLimitExceeded: The limit of the calling task has struck.
    """
    with answering(request["id"], hit, Site.PRODUCER, observe), as_current_app(task.app):
        trace_task = _tracer(task)
        outcome = trace_task(request["id"], request["args"], request["kwargs"], request).info
    # A remembered failure is the task's, not the caller's, whatever its type.
    is_ours = outcome is not None and not hit.entry.is_failure
    if is_ours and isinstance(outcome.retval, (OperationalError, SoftTimeLimitExceeded)):
        raise outcome.retval
    return outcome is None


def _tracer(task: Task) -> Callable[..., Any]:
    tracer: Callable[..., Any] | None = task.__dict__.get("_taskcache_tracer")
    if tracer is None:
        # Through the module, where tools such as Sentry's replace build_tracer.
        tracer = without_transaction(trace.build_tracer(task.name, task, app=task.app))
        task.__dict__["_taskcache_tracer"] = tracer
    return tracer


def request_for(
    task: Task,
    task_id: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Request:
    """Return the request that a worker would have made of the message of this call.

    What Celery changes in it is a copy: callers may apply the same signature again.

    Args:
        task: The task.
        task_id: The call's id.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        options: The options of ``apply_async`` over the task's own, as of ``Celery.send_task``.
    """
    app = task.app
    root_id, parent_id, priority = _lineage(task, options)
    stamped = options.get("stamped_headers") or []
    chain = options.get("chain")
    message = app.amqp.as_task_v2(
        task_id,
        task.name,
        list(args),
        dict(kwargs),
        group_id=options.get("group_id"),
        group_index=options.get("group_index"),
        chord=deepcopy(options.get("chord")),
        callbacks=deepcopy(maybe_list(options.get("link"))),
        errbacks=deepcopy(maybe_list(options.get("link_error"))),
        reply_to=options.get("reply_to") or app.thread_oid,
        expires=options.get("expires"),
        time_limit=options.get("time_limit"),
        soft_time_limit=options.get("soft_time_limit"),
        root_id=root_id,
        parent_id=parent_id,
        shadow=options.get("shadow") or task.shadow_name(args, kwargs, options),
        # The steps are copied when they are applied. Up to 5.5, the tracer pops them off the list.
        chain=chain and list(chain),
        ignore_result=options.get("ignore_result"),
        # Of the caller's arguments, which may be a tuple.
        argsrepr=options.get("argsrepr") or argument_repr(app, args),
        kwargsrepr=options.get("kwargsrepr"),
        stamped_headers=stamped,
        replaced_task_nesting=options.get("replaced_task_nesting", 0),
        **{name: options[name] for name in stamped},
    )
    body_args, body_kwargs, embedded = message.body
    return {
        **message.headers,
        **(options.get("headers") or {}),
        **embedded,
        **message.properties,
        "args": body_args,
        "kwargs": body_kwargs,
        # As of an eager task: around any other, Celery's Django fixup closes the database
        # connections, here of the calling task or web request.
        "is_eager": True,
        "hostname": message.headers["origin"],
        "delivery_info": {
            "exchange": "",
            "routing_key": options.get("routing_key") or options.get("queue"),
            "priority": priority,
            "redelivered": False,
        },
        "_children": [],
    }


def argument_repr(app: Celery, arguments: object) -> str:
    """How arguments are shown in messages and events, cut as an app has it."""
    levels = app.conf.get("task_repr_maxlevels", 3)  # a setting since 5.7
    text: str = saferepr(arguments, app.amqp.argsrepr_maxsize, maxlevels=levels)
    return text


def _lineage(task: Task, options: Mapping[str, Any]) -> tuple[str | None, str | None, Any]:
    """Return root id, parent id and priority, as ``Celery.send_task`` finds them."""
    root_id, parent_id = options.get("root_id"), options.get("parent_id")
    priority = options.get("priority", task.priority)
    parent = task.app.current_worker_task
    if parent is not None:
        root_id = root_id or parent.request.root_id or parent.request.id
        parent_id = parent_id or parent.request.id
        if priority is None and task.app.conf.task_inherit_parent_priority:
            priority = parent.request.delivery_info.get("priority")
    return root_id, parent_id, priority
