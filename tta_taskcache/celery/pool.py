"""The pool site (promise S3): the last look before a task runs, and the fill after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..core.option_values import Site
from . import context, direct, events, hot
from .calls import Asked, Mode
from .completion import answer_to
from .failures import value_of
from .filling import compute
from .handover import take_over
from .looking import Start, look

if TYPE_CHECKING:
    from .task import CachedTask


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
    asks = hot.is_request(headers, request.retries)
    if request.is_eager:
        asked = Asked(task, args, kwargs, context.of_new_call(headers), mode, asks)
        seen, value = direct.answer_or_run(
            asked, Site.POOL, lambda: run(*args, **kwargs), request.id
        )
        if isinstance(stamp, context.Stamp):
            stamp.status = seen.status(Site.POOL)
        return value
    asked = Asked(task, args, kwargs, context.of_message(headers), mode, asks)
    seen = look(asked, Site.POOL, Start(handed_over=take_over(stamp)))
    if seen.hit is not None:
        if stamp.get(events.WANTED):
            events.tell_of_pool(task, seen.hit)
        return value_of(policy, seen.hit)
    return compute(
        asked,
        seen,
        lambda: run(*args, **kwargs),
        request.id,
        site=Site.POOL,
        refused=lambda: request.get(UNSTORED) or "",
    )
