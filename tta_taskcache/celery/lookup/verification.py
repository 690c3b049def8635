"""Running a call although its result is stored, and comparing both: verification, shadow mode."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery.exceptions import Ignore, Reject, Retry

from ...cache.comparing_runs import compare
from ...cache.lookup_record import VERIFY
from ...cache.outcome import Hit
from ...core.events import Fault, Ran, Verified
from ..calls.call_request import CallRequest
from ..calls.lookup_result import LookupResult

#: How a task says that it is neither done nor failed.
WITHOUT_RESULT = (Retry, Ignore, Reject)


def record_run(
    call_request: CallRequest, lookup: LookupResult, value: Any, run_seconds: float
) -> float:
    """Tell the observers of a run that has returned. Raises no fault of the cache.

    Returns:
        What it cost; 0 when the task's ``cache_cost`` can't say.
    """
    task, runtime = call_request.task, call_request.runtime
    cost = 0.0
    try:
        cost = task.cache_policy.cost_of(value)
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have (promise F8)
    except Exception as error:  # noqa: BLE001 - the user's function; the task has run (promise F1)
        runtime.observe(Fault(task.name, "cost", error))
    key = lookup.call.key if lookup.call else None
    runtime.observe(Ran(task.name, key, run_seconds, cost, returned_none=value is None))
    return cost


def run_and_compare(
    call_request: CallRequest, lookup: LookupResult, stored: Hit, run: Callable[[], Any]
) -> Any:
    """Run a call, and compare what it returns with what is stored.

    Args:
        call_request: The call.
        lookup: What was seen of it.
        stored: What it could have been answered with.
        run: Its body.

    Returns:
        What the run has returned. If that fails and the call was only to be verified: what is
        stored, as if nothing had been verified.
    """
    runtime, call = call_request.runtime, lookup.call
    started = monotonic()
    try:
        value = run()
    except WITHOUT_RESULT:
        raise
    except Exception:
        if lookup.reason != VERIFY:
            raise
        runtime.observe(Verified(call_request.task.name, stored.entry.key, "failed"))
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
