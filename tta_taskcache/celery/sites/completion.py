"""Completing a call that was answered from the cache, exactly as if it had run (promise S4).

Nothing of Celery is imitated: its own tracer runs, and the task's ``__call__`` returns the stored
result in place of the body. So callbacks, the rest of the chain, the chord's count, children,
signals, handlers, ``ignore_result`` and the stored result are Celery's, in its order.
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
from celery.utils.functional import maybe_list
from celery.utils.saferepr import saferepr
from kombu.exceptions import OperationalError

from ...cache.outcome import Hit
from ..patches.internals import execution_options

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

#: The call that is being completed here, and its answer. Not in the request: what Celery doesn't
#: know there counts as a header, which retries and handlers send on.
_answer: ContextVar[tuple[str, Hit] | None] = ContextVar("taskcache_answer", default=None)


@contextmanager
def answering(task_id: str, hit: Hit) -> Iterator[None]:
    """Inside, the body of this call isn't run: its answer is this hit."""
    token = _answer.set((task_id, hit))
    try:
        yield
    finally:
        _answer.reset(token)


def answer_to(task_id: str) -> Hit | None:
    """The answer to a call, when it is being completed here."""
    answer = _answer.get()
    return answer[1] if answer is not None and answer[0] == task_id else None


def in_a_loop(step: Callable[[], None]) -> bool:
    """Run a completion, and after it the ones that it leads to, one after the other.

    The next step of a chain may be a hit as well, and so on for a thousand steps: while one
    completion runs here, further ones wait in a queue and don't recurse.

    Returns:
        Whether it has run; else it waits for the one that it was called from.

    Raises:
        Exception: The first error of any of them, after all have been tried.
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
    """Inside, completions wait in the queue; they run at the end, whatever ends the block.

    Members of a chord mustn't end before Celery has noted the chord's size: it tells the runs of a
    frozen chord apart by that, and drops what comes before.

    Raises:
        Exception: The first error of any completion, unless the block has raised one.
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


def complete_here(task: Task, request: Request, hit: Hit) -> bool:
    """Complete a call in this process, which is not the worker that would have run it.

    Returns:
        Whether it succeeded: a handler of the task may have failed it, as it could in a worker.

    Raises:
        OperationalError: The broker didn't take the next step; a plain call would say so too.
        SoftTimeLimitExceeded: It struck in here, and is the limit of the task that asks.
    """
    with answering(request["id"], hit):
        trace_task = _tracer(task)
        outcome = trace_task(request["id"], request["args"], request["kwargs"], request).info
    # A remembered failure is the task's, and not the caller's, whatever its type.
    is_ours = outcome is not None and not hit.entry.is_failure
    if is_ours and isinstance(outcome.retval, (OperationalError, SoftTimeLimitExceeded)):
        raise outcome.retval
    return outcome is None


def _tracer(task: Task) -> Callable[..., Any]:
    tracer: Callable[..., Any] | None = task.__dict__.get("_taskcache_tracer")
    if tracer is None:
        # Through the module: tools such as Sentry's replace build_tracer there.
        tracer = trace.build_tracer(task.name, task, app=task.app)
        task.__dict__["_taskcache_tracer"] = tracer
    return tracer


def request_for(
    task: Task,
    task_id: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any],
) -> Request:
    """The request that a worker would have made of the message of this call.

    What Celery may change of it is a copy: callers may apply the same signature again.

    Args:
        task: The task.
        task_id: The call's id.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        options: What ``apply_async`` was given, as in ``Celery.send_task``.
    """
    app = task.app
    options = _with_defaults(task, args, kwargs, options)
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
        shadow=options.get("shadow"),
        # The steps are copied when they are applied. Up to 5.5, the tracer pops them off the list.
        chain=chain and list(chain),
        ignore_result=options.get("ignore_result"),
        argsrepr=options.get("argsrepr") or _repr(app, args),  # of what was given: maybe a tuple
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
        # As of an eager task: Celery's Django fixup closes the database connections, of the task
        # or the request that asks, before and after any other.
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


def _with_defaults(
    task: Task, args: Sequence[Any], kwargs: Mapping[str, Any], options: Mapping[str, Any]
) -> dict[str, Any]:
    """The options of a call with those of its task, as ``Task.apply_async`` merges them."""
    merged = {**execution_options(task), **options}
    merged["shadow"] = options.get("shadow") or task.shadow_name(args, kwargs, merged)
    return merged


def _repr(app: Celery, args: Sequence[Any]) -> str:
    width, levels = app.amqp.argsrepr_maxsize, app.conf.task_repr_maxlevels
    return saferepr(args, width, maxlevels=levels)  # type: ignore[no-any-return]


def _lineage(task: Task, options: Mapping[str, Any]) -> tuple[str | None, str | None, Any]:
    """Root id, parent id and priority, as ``Celery.send_task`` finds them."""
    root_id, parent_id = options.get("root_id"), options.get("parent_id")
    priority = options.get("priority", task.priority)
    parent = task.app.current_worker_task
    if parent is not None:
        root_id = root_id or parent.request.root_id or parent.request.id
        parent_id = parent_id or parent.request.id
        if priority is None and task.app.conf.task_inherit_parent_priority:
            priority = parent.request.delivery_info.get("priority")
    return root_id, parent_id, priority
