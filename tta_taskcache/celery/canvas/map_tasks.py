"""``task.map``, ``task.starmap`` and ``task.chunks``: one message, many calls (promise R3).

The worker that gets the message looks all of its calls up in one round trip, and runs the misses
one after the other, as Celery does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from celery import Celery, Task
from celery.canvas import signature

from ...core.options.option_values import Site
from ..batches.batch_answer import read_batch_through
from ..batches.item_run import BatchRun
from ..calls import context
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import AT_ONCE, CallRequest, is_cached
from ..calls.identification import request_of_message
from ..lookup import read_through
from ..lookup.lookup import look_up_all
from ..patches.canvas.mapping_tasks import replace_bodies

#: Celery's tasks behind them, and the arguments that each makes of an item.
_ARGUMENTS: dict[str, Callable[[Any], tuple[Any, ...]]] = {
    "celery.map": lambda item: (item,),
    "celery.starmap": tuple,
}


def install(app: Celery) -> None:
    """Let Celery's mapping tasks of an app use the cache."""
    replace_bodies(app, tuple(_ARGUMENTS), _mapping)


def _mapping(
    app: Celery, mapper: Task, run_all: Callable[[Any, Any], list[Any]]
) -> Callable[[Any, Iterable[Any]], list[Any]]:
    arguments = _ARGUMENTS[mapper.name]

    def run(task: Any, it: Iterable[Any]) -> list[Any]:
        target = signature(task, app=app).type
        if not is_cached(target):
            return run_all(task, it)
        return _answer_all(mapper, target, [arguments(item) for item in it])

    return run


def _answer_all(mapper: Task, task: CacheableTask, calls: list[tuple[Any, ...]]) -> list[Any]:
    request = mapper.request
    headers = context.of_new_call(request.headers)
    mode = context.cache_header_of(request.headers).get("mode", "use")
    call_requests = [
        request_of_message(task, args, {}, request.headers, mode, context=headers) for args in calls
    ]
    values: list[Any] = []
    for start in range(0, len(call_requests), AT_ONCE):
        batch = call_requests[start : start + AT_ONCE]
        # Into L1, which bounds the age of what it serves: runs may take long.
        look_up_all(batch, Site.POOL, [None] * len(batch))
        values.extend(_answer(one, request.id) for one in batch)
    return values


def _answer(call_request: CallRequest, task_id: str) -> Any:
    if call_request.policy.each is not None:
        return read_batch_through(
            BatchRun(
                call_request=call_request,
                body=lambda args, kwargs: call_request.task(*args, **kwargs),
                args=call_request.args,
                kwargs=call_request.kwargs,
                site=Site.POOL,
                task_id=task_id,
            )
        )
    return read_through.read_through(
        call_request, Site.POOL, lambda: call_request.task(*call_request.args), task_id
    )
