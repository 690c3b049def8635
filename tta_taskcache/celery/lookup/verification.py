"""Verification: running a call although its result is stored, and comparing both."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery.exceptions import Ignore, Reject, Retry

from ...cache.comparing_runs import compare
from ...cache.engine.lookup_record import VERIFY
from ...cache.outcome import Hit
from ...cache.runs.current_run import CurrentRun, depend_on_hit, made_inside, running
from ...core.events import Fault, NoResult, Ran, Verified
from ..calls.call_request import CallRequest
from ..calls.lookup_result import LookupResult

#: Exceptions of a task that is neither done nor failed.
WITHOUT_RESULT = (Retry, Ignore, Reject)


def record_run(
    call_request: CallRequest,
    lookup: LookupResult,
    value: Any,
    run_seconds: float,
    decided: float | None = None,
) -> float:
    """Send the event of a run that has returned. Raises no fault of the cache.

    Args:
        call_request: The call.
        lookup: The result of its lookup.
        value: What it has returned.
        run_seconds: Seconds that it took.
        decided: The cost that the run has said itself; None for the task's ``cache_cost``.

    Returns:
        Its cost, in the user's unit; 0 when the task's ``cache_cost`` fails.
    """
    task, runtime = call_request.task, call_request.runtime
    cost = decided or 0.0
    try:
        if decided is None:
            cost = task.cache_policy.cost_of(value)
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have (promise F8)
    except Exception as error:  # noqa: BLE001 - the user's function; the task has run (promise F1)
        runtime.observe(Fault(task.name, "cost", error))
    key = lookup.call.key if lookup.call else None
    is_none, reason = value is None, lookup.reason
    runtime.observe(Ran(task.name, key, run_seconds, cost, returned_none=is_none, reason=reason))
    return cost


def record_no_result(
    call_request: CallRequest, lookup: LookupResult, end: BaseException, run_seconds: float
) -> None:
    """Send the event of a run that has ended without a result.

    Args:
        call_request: The call.
        lookup: The result of its lookup.
        end: The exception that ended it.
        run_seconds: Seconds that it took.
    """
    kinds = (kind.__name__.lower() for kind in WITHOUT_RESULT if isinstance(end, kind))
    outcome = next(kinds, "failed")
    key = lookup.call.key if lookup.call else None
    call_request.runtime.observe(
        NoResult(call_request.task.name, key, outcome, run_seconds, lookup.reason)
    )


def run_and_compare(
    call_request: CallRequest, lookup: LookupResult, stored: Hit, run: Callable[[], Any]
) -> Any:
    """Run a call, and compare its result with the stored one.

    Args:
        call_request: The call.
        lookup: The result of its lookup.
        stored: The hit that isn't served.
        run: The task's body.

    Returns:
        The result of the run; of a verification whose run fails, the stored result.
    """
    runtime, call = call_request.runtime, lookup.call
    current = CurrentRun(
        call_request.policy.depends, log=runtime.engine.parts.log, position=stored.as_of
    )
    started = monotonic()
    try:
        with made_inside(current, call, None), running(current):
            value = run()
    except WITHOUT_RESULT as end:
        record_no_result(call_request, lookup, end, monotonic() - started)
        raise
    except Exception as error:
        if lookup.reason != VERIFY:
            record_no_result(call_request, lookup, error, monotonic() - started)
            raise
        runtime.observe(Verified(call_request.task.name, stored.entry.key, "failed"))
        if call is not None:
            depend_on_hit(call, stored, current.log)
        return stored.value
    record_run(call_request, lookup, value, monotonic() - started)
    if call is not None and stored.can_be_verified:
        try:
            runtime.observe(runtime.run(compare(runtime.engine, call, stored, value)))
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # noqa: BLE001 - comparing may call the result's own methods (F1)
            runtime.observe(Fault(call.task, VERIFY, error))
    return value
