"""Running a call that nothing answers: storing what it returns, and what stands in if it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import monotonic
from typing import Any

from ...cache.outcome import Hit
from ...core.events import Fault
from ...core.option_values import Site
from ...errors import UncacheableCall
from ..calls import cached_errors
from ..calls.call_request import DIRECT, REFRESH, Asked, Seen, with_traits
from . import verification
from .verification import UNDECIDED


def compute(
    asked: Asked,
    seen: Seen,
    run: Callable[[], Any],
    task_id: str | None,
    *,
    site: Site | None,
    refused: Callable[[], str] = lambda: "",
) -> Any:
    """Run a call, and store what it returns.

    When it fails for good, the exception is remembered if the policy says so; or the last good
    result stands in for it, within ``cache_stale_if_error``.

    Args:
        asked: The call.
        seen: What was seen of it.
        run: Its body.
        task_id: Id of the task that runs.
        site: Where.
        refused: Says, after the run, why its result isn't to be stored, if so.
    """
    if seen.instead is not None:
        return verification.run_anyway(asked, seen, seen.instead, run)
    seen = _noted(asked, seen)
    started = monotonic()
    try:
        value = run()
    except UNDECIDED:
        raise
    except Exception as error:
        stale = _recover(
            asked, seen, error, run_seconds=monotonic() - started, task_id=task_id, site=site
        )
        if stale is None:
            raise
        return cached_errors.value_of(asked.task.taskcache_keyer().policy, stale)
    run_seconds = monotonic() - started
    cost = verification.told(asked, seen, value, run_seconds)
    _store(asked, seen, value, run_seconds, task_id, cost=cost, refused=refused())
    return value


def _noted(asked: Asked, seen: Seen) -> Seen:
    """With what the entry keeps of the call, from before the run: that may change its arguments."""
    if seen.call is None or seen.position is None:
        return seen
    try:
        return replace(seen, call=with_traits(asked, seen.call))
    except UncacheableCall:  # an argument has changed since it was looked up
        return seen


def _recover(
    asked: Asked,
    seen: Seen,
    error: Exception,
    *,
    run_seconds: float,
    task_id: str | None,
    site: Site | None,
) -> Hit | None:
    """Remember a failure, or find what stands in for it. Never raises."""
    call, runtime = seen.call, asked.task.taskcache().runtime
    if call is None:
        return None
    try:
        seconds = call.policy.remembered_for(error)
        if seconds is not None:
            stored = cached_errors.stored_form(error)
            _store(asked, seen, stored, run_seconds, task_id, remember_for=seconds)
        elif call.policy.stale_if_error and asked.mode == "use":
            where = site.value if site is not None else DIRECT
            return runtime.run(runtime.engine.fall_back(call, where, seen.owner))
    except Exception as fault:  # noqa: BLE001 - the task's own error is what counts (promise F1)
        runtime.observe(Fault(asked.task.name, "recover", fault))
    return None


def _store(
    asked: Asked,
    seen: Seen,
    value: Any,
    run_seconds: float,
    task_id: str | None,
    *,
    cost: float = 0.0,
    refused: str = "",
    remember_for: float = 0.0,
) -> None:
    """Store what came of a run, if its call can be cached. Never raises.

    Args:
        asked: The call.
        seen: What was seen of it before it ran.
        value: What is to be stored.
        run_seconds: How long it took.
        task_id: Id of the task that ran.
        cost: What it cost.
        refused: Why it isn't to be stored, if so.
        remember_for: Seconds, when it is an exception to be remembered.
    """
    runtime, call = asked.task.taskcache().runtime, seen.call
    if call is None:
        return
    try:
        if refused:
            runtime.run(runtime.engine.refuse(call, seen.owner, refused))
            return
        fill = runtime.engine.fill(
            call,
            seen.position,
            value,
            run_seconds=run_seconds,
            task_id=task_id,
            cost=cost,
            owner=seen.owner,
            replaces=seen.reason == REFRESH,
            remember_for=remember_for,
        )
        runtime.run(fill)
    except Exception as error:  # noqa: BLE001 - the task has run: even its time limit comes too late
        runtime.observe(Fault(asked.task.name, "fill", error))
