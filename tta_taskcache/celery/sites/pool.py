"""The pool site (promise S3): the last look before a task runs, and the fill after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...core.option_values import Site
from ..calls import context, hot_calls
from ..calls.cached_errors import value_of
from ..calls.call_request import Asked, Mode
from ..calls.lookup_handoff import take_over
from ..lookup import read_through
from ..lookup.lookup import Start, look
from ..lookup.run_and_store import compute
from . import task_events
from .completion import answer_to

if TYPE_CHECKING:
    from ..api.cached_task import CachedTask


#: Set on a request whose result isn't to be stored, with the reason.
UNSTORED = "taskcache_unstored"


def answer_or_run(
    task: CachedTask,
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
    policy = task.taskcache_keyer().policy
    if answer is not None:  # another site has found it and is completing the call
        return value_of(policy, answer)
    headers = request.headers
    stamp = context.stamp_of(headers)
    mode: Mode = stamp.get("mode", "use")
    asks = hot_calls.is_request(headers, request.retries)
    if request.is_eager:
        asked = Asked(task, args, kwargs, context.of_new_call(headers), mode, asks)
        seen, value = read_through.answer_or_run(
            asked, Site.POOL, lambda: run(*args, **kwargs), request.id
        )
        if isinstance(stamp, context.Stamp):
            stamp.status = seen.status(Site.POOL)
        return value
    asked = Asked(task, args, kwargs, context.of_message(headers), mode, asks)
    seen = look(asked, Site.POOL, Start(handed_over=take_over(stamp)))
    if seen.hit is not None:
        if stamp.get(task_events.WANTED):
            task_events.tell_of_pool(task, seen.hit)
        return value_of(policy, seen.hit)
    return compute(
        asked,
        seen,
        lambda: run(*args, **kwargs),
        request.id,
        site=Site.POOL,
        refused=lambda: request.get(UNSTORED) or "",
    )
