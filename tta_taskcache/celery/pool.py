"""The pool site (promise S3): the last look before a task runs, and the fill after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..core.policy import Site
from . import context, direct
from .calls import Asked, Mode, look
from .completion import answer_to
from .filling import store
from .handover import take_over

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
    if answer is not None:
        return answer.value  # another site has found it and is completing the call
    headers = request.headers
    stamp = context.stamp_of(headers)
    mode: Mode = stamp.get("mode", "use")
    if request.is_eager:
        asked = Asked(task, args, kwargs, context.of_new_call(headers), mode)
        seen, value = direct.answer_or_run(
            asked, Site.POOL, lambda: run(*args, **kwargs), request.id
        )
        if isinstance(stamp, context.Stamp):
            stamp.status = seen.status(Site.POOL)
        return value
    asked = Asked(task, args, kwargs, context.of_message(headers), mode)
    seen = look(asked, Site.POOL, take_over(stamp))
    if seen.hit is not None:
        return seen.hit.value
    started = monotonic()
    value = run(*args, **kwargs)
    refused = request.get(UNSTORED) or ""
    store(task, seen, value, monotonic() - started, request.id, refused=refused)
    return value
