"""Verification: running a call although its result is stored, and comparing both."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery.exceptions import Ignore, Reject, Retry

from ...cache.lookup_record import VERIFY
from ...cache.outcome import Call, Hit
from ...core.differences import differences
from ...core.events import Fault, Ran, Verified
from ...errors import EntryError, StoreUnavailable, UnserializableResult
from ..calls.call_request import CallRequest
from ..calls.lookup_result import LookupResult
from ..config.runtime import Runtime

#: Exceptions of a task that is neither done nor failed.
WITHOUT_RESULT = (Retry, Ignore, Reject)


def record_run(
    call_request: CallRequest, lookup: LookupResult, value: Any, run_seconds: float
) -> float:
    """Send the event of a run that has returned. Raises no fault of the cache.

    Returns:
        Its cost, in the user's unit; 0 when the task's ``cache_cost`` fails.
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
            runtime.observe(_compare(runtime, call, stored, value))
        except SoftTimeLimitExceeded:
            raise
        except Exception as error:  # noqa: BLE001 - comparing may call the result's own methods (F1)
            runtime.observe(Fault(call.task, VERIFY, error))
    return value


def _compare(runtime: Runtime, call: Call, stored: Hit, value: Any) -> Verified:
    entry = stored.entry
    how = (entry.serializer, entry.compression)
    codecs = runtime.engine.parts.codecs
    semantic, near = call.policy.semantic, stored.similarity
    try:
        returned = codecs.decode(codecs.encode(value, *how), *how)
    except UnserializableResult:
        return Verified(call.task, call.key, "incomparable", entry.task_id, similarity=near)
    before = codecs.decode(entry.payload, *how)
    if near is not None and semantic is not None and semantic.same is not None:
        says_same = semantic.same(before, returned)
        found: tuple[str, ...] = () if says_same else ("they don't say the same",)
    else:
        found = differences(before, returned)
    outcome = "same"
    if found:
        outcome = "different" if _is_current(runtime, stored) else "outdated"
    return Verified(call.task, call.key, outcome, entry.task_id, found, near)


def _is_current(runtime: Runtime, stored: Hit) -> bool:
    """Whether a hit is still the stored entry: an invalidation may have ended it."""
    try:
        now = runtime.run(runtime.engine.peek(stored.entry.key))
    except (StoreUnavailable, EntryError):
        return False
    return now is not None and now[0] == stored.entry
