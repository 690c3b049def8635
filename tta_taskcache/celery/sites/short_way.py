"""The short way of a hit at the producer that nobody watches: its result is stored, nothing else.

On the long way (``completion``) Celery's tracer runs, for what else a success does: callbacks, the
next step of a chain, the count of a chord, handlers, signals, instrumentation. Where there is none
of these, nothing tells the two ways apart but their cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery.result import AsyncResult

from ...cache.outcome import Hit
from ...cache.runs.hit_value import record_answer
from ...core.events import Fault
from ...core.options.option_values import Site
from ...core.record import record
from ..calls.call_request import AT_ONCE, CallRequest
from ..patches.internals import fulfil, remember
from ..patches.results.new_results import NewResult, can_store, make_result, store_together
from ..patches.tracing.trace_effects import log_success
from .completion import argument_repr
from .write_behind import write_behind

#: Options with which a success has further effects, or leaves something else than its value.
_EFFECTS = ("link", "link_error", "chain", "chord", "stamped_headers")


@record
class _Answer:
    """A hit on the short way.

    Attributes:
        call_request: The call.
        hit: The answer.
        result: The result that ``apply_async`` returns.
        options: The options of the call.
        began: When it was found (monotonic seconds).
        is_logged: Whether Celery's line of its success is logged.
    """

    call_request: CallRequest
    hit: Hit
    result: AsyncResult
    options: Mapping[str, Any]
    began: float
    is_logged: bool

    def finish(self, meta: dict[str, Any] | None = None) -> None:
        """Tell observers and log of it, and let its result hold the value."""
        task, hit = self.call_request.task, self.hit
        observe = self.call_request.runtime.observe
        record_answer(observe, task.name, self.result.id, hit, Site.PRODUCER)
        if meta is not None:
            remember(self.result, meta, in_group=False)
        if self.is_logged:
            _log(self)

    def fail(self, error: Exception) -> None:
        """Tell observers that its result isn't stored."""
        self.call_request.runtime.observe(Fault(self.call_request.task.name, "complete", error))


#: Answers in a group, which are stored together, each with its long way.
_Waiting = list[tuple[_Answer, NewResult, Callable[[], None]]]

_group: ContextVar[_Waiting | None] = ContextVar("taskcache_group_answers", default=None)


def is_open(call_request: CallRequest, hit: Hit, options: Mapping[str, Any]) -> bool:
    """Whether a call may go the short way, if nobody watches it (``trace_effects.is_watched``).

    Args:
        call_request: The call.
        hit: Its answer.
        options: Its options.
    """
    if hit.entry.is_failure or not call_request.is_request:
        return False
    if any(options.get(name) for name in _EFFECTS):
        return False
    call = type(call_request.task).__call__
    return getattr(call, "_taskcache_site", None) is call


def answer(
    call_request: CallRequest,
    hit: Hit,
    result: AsyncResult,
    options: Mapping[str, Any],
    *,
    parent_id: str | None,
    is_new: bool,
    in_group: bool,
    is_logged: bool,
    long_way: Callable[[], None],
) -> bool:
    """Answer a call the short way.

    Args:
        call_request: The call.
        hit: Its answer.
        result: The result that ``apply_async`` returns.
        options: Its options.
        parent_id: Id of its parent, as ``Celery.send_task`` finds it.
        is_new: Whether its id was made for it: nobody knows it yet.
        in_group: Whether a group keeps the result, and is being applied here.
        is_logged: Whether Celery's line of its success is logged.
        long_way: Answers it the long way, if its group's results can't be stored together.

    Returns:
        Whether it has been answered, or will be with its group.
    """
    one = _Answer(call_request, hit, result, options, monotonic(), is_logged)
    if options.get("ignore_result"):
        one.finish()
        return True
    task: Any = call_request.task
    waiting = _group.get() if in_group else None
    if not can_store(task.backend) or (waiting is None and not is_new):
        return False
    try:
        new = make_result(task.backend, result.id, hit.value, options.get("group_id"), parent_id)
        if waiting is not None:
            pass  # with its group
        elif call_request.runtime.settings.write_behind:
            write_behind.put(new, one.fail)
        else:
            new.store()
    except SoftTimeLimitExceeded:
        raise  # the limit is the calling task's
    except Exception:  # noqa: BLE001 - the long way says what is wrong, as ever
        return False
    if waiting is None:
        one.finish(new.meta)
        return True
    fulfil(result, new.meta)
    waiting.append((one, new, long_way))
    if len(waiting) >= AT_ONCE:
        _store(waiting)
    return True


@contextmanager
def answers_together() -> Iterator[None]:
    """Store the results of the answers inside together, at the end at the latest."""
    waiting: _Waiting = []
    token = _group.set(waiting)
    try:
        yield
    finally:
        _group.reset(token)
        _store(waiting)


def _store(waiting: _Waiting) -> None:
    batch = waiting[:]
    waiting.clear()
    if not batch:
        return
    try:
        store_together([new for _, new, _ in batch])
    except SoftTimeLimitExceeded:
        raise
    except Exception:  # noqa: BLE001 - likewise
        for _, _, long_way in batch:
            long_way()
        return
    for one, _, _ in batch:
        one.finish()


def _log(one: _Answer) -> None:
    call_request, options = one.call_request, one.options
    task: Any = call_request.task
    log_success(
        task,
        one.result.id,
        options.get("shadow") or task.name,
        one.hit.value,
        seconds=monotonic() - one.began,
        args=options.get("argsrepr") or argument_repr(task.app, call_request.args),
        kwargs=options.get("kwargsrepr") or argument_repr(task.app, call_request.kwargs),
    )
