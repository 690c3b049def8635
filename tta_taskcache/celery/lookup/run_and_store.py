"""Running a call that no entry answers: storing its result, or serving a stale one if it fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from time import monotonic
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery.exceptions import Retry

from ...cache.engine.judgement import REPLACED
from ...cache.outcome import Hit
from ...cache.runs.current_run import CurrentRun, Previous, depend_on_hit, made_inside, running
from ...cache.runs.hit_value import value_of
from ...cache.runs.request_directives import NO_STORE, REFRESH
from ...core.entries.decide import Verdict
from ...core.events import Fault
from ...core.options.option_values import Site
from ...core.results.not_modified import NOT_MODIFIED
from ...core.results.remembered_errors import encode_error
from ...errors import UncacheableCall, UnserializableResult
from ..calls.call_request import CallRequest
from ..calls.lookup_result import DIRECT, LookupResult
from . import verification
from .lookup import unanswerable
from .semantic_lookup import add_neighbour, semantic_call
from .verification import WITHOUT_RESULT

#: Reasons of misses whose run replaces an entry, however quick it is: else that goes on answering.
REPLACING = (REFRESH, *REPLACED)


def run_and_store(
    call_request: CallRequest,
    lookup: LookupResult,
    run: Callable[[], Any],
    task_id: str | None,
    *,
    site: Site | None,
    refused: Callable[[], str] = lambda: "",
) -> Any:
    """Run a call, and store its result.

    The exception of a failed run is remembered as ``cache_errors`` says; else the last good result
    stands in for the run, within ``cache_stale_if_error`` (RFC 5861).

    Args:
        call_request: The call.
        lookup: The result of its lookup.
        run: The task's body.
        task_id: Id of the task that runs.
        site: The site; None for ``task.cache``.
        refused: Returns, after the run, the reason not to store its result; empty for none.
    """
    if lookup.instead is not None:
        return verification.run_and_compare(call_request, lookup, lookup.instead, run)
    lookup = _with_traits(call_request, lookup)
    current = _begin(call_request, lookup)
    with made_inside(current, lookup.call, lookup.position):
        return _run_as(current, call_request, lookup, run, task_id, site=site, refused=refused)


def _run_as(
    current: CurrentRun,
    call_request: CallRequest,
    lookup: LookupResult,
    run: Callable[[], Any],
    task_id: str | None,
    *,
    site: Site | None,
    refused: Callable[[], str],
) -> Any:
    """Do as ``run_and_store``; what is said inside is known of the current run."""
    renews = None
    about = semantic_call(call_request) if call_request.policy.semantic is not None else None
    started = monotonic()
    try:
        with running(current):
            value = run()
        if value is NOT_MODIFIED:
            renews = current.to_renew()
            value = renews.value
    except WITHOUT_RESULT as end:
        verification.record_no_result(call_request, lookup, end, monotonic() - started)
        _end_unshared(call_request, lookup, monotonic() - started, pause_of(end))
        raise
    except Exception as error:
        stale = _recover(
            call_request,
            lookup,
            error,
            run_seconds=monotonic() - started,
            task_id=task_id,
            site=site,
            decided=current,
        )
        if stale is None:
            verification.record_no_result(call_request, lookup, error, monotonic() - started)
            _end_unshared(call_request, lookup, monotonic() - started)
            raise
        if lookup.call is not None:
            depend_on_hit(lookup.call, stale, current.log)
        return value_of(call_request.policy, stale)
    run_seconds = monotonic() - started
    cost = verification.record_run(call_request, lookup, value, run_seconds, current.cost)
    reason = refused() or (NO_STORE if call_request.mode == NO_STORE else "")
    is_new = renews is None and lookup.reason not in REPLACING
    if not reason and is_new and run_seconds < call_request.policy.min_run:
        reason = "min-run"
    is_stored = _store(
        call_request,
        lookup,
        value,
        run_seconds,
        task_id,
        cost=cost,
        refused=reason,
        decided=current,
        renews=renews,
    )
    if is_stored and about is not None:
        add_neighbour(call_request, lookup, about)
    return value


def _begin(call_request: CallRequest, lookup: LookupResult) -> CurrentRun:
    """Return the run that begins: what it is said in is known to ``cache_control``."""
    runtime, call = call_request.runtime, lookup.call

    def find_previous() -> Previous | None:
        if call is None or call_request.mode == NO_STORE:
            return None
        return runtime.run(runtime.engine.reader.find_previous(call))

    return CurrentRun(
        call_request.policy.depends, find_previous, runtime.engine.parts.log, lookup.position
    )


def _end_unshared(
    call_request: CallRequest, lookup: LookupResult, run_seconds: float, pause: float = 0.0
) -> None:
    """Let equal calls run side by side: this run leaves no result to share (C6)."""
    runtime = call_request.runtime
    if lookup.call is None or not lookup.owner:
        return
    try:
        writer = runtime.engine.writer
        runtime.run(writer.end_unshared(lookup.call, lookup.owner, run_seconds, pause))
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have (promise F8)
    except Exception as fault:  # noqa: BLE001 - the task's own end is what counts (promise F1)
        runtime.observe(Fault(call_request.task.name, "release", fault))


def pause_of(end: BaseException) -> float:
    """Seconds until a run that retries is tried again."""
    when = end.when if isinstance(end, Retry) else None
    if isinstance(when, datetime):
        return max(0.0, (when - datetime.now(when.tzinfo)).total_seconds())
    return float(when) if isinstance(when, (int, float)) else 0.0


def _with_traits(call_request: CallRequest, lookup: LookupResult) -> LookupResult:
    """Add the call's traits before the run, which may change its arguments."""
    if lookup.call is None or lookup.position is None:
        return lookup
    try:
        return replace(lookup, call=call_request.with_traits(lookup.call))
    except UncacheableCall:  # an argument has changed since it was looked up
        return lookup


def _recover(
    call_request: CallRequest,
    lookup: LookupResult,
    error: Exception,
    *,
    run_seconds: float,
    task_id: str | None,
    site: Site | None,
    decided: CurrentRun,
) -> Hit | None:
    """Remember a failure, or find the stale result that stands in. Raises no fault of the cache."""
    call, runtime = lookup.call, call_request.runtime
    if call is None:
        return None
    try:
        seconds = call.policy.remembered_for(error)
        if seconds is not None:
            _remember(
                call_request, lookup, error, run_seconds, task_id, seconds=seconds, decided=decided
            )
        elif (
            (call.policy.stale_if_error or lookup.reason == Verdict.ENDED)
            and call_request.mode == "use"
            # At any site: the answer comes from where the call ran.
            and not unanswerable(call_request, None)
        ):
            where = site.value if site is not None else DIRECT
            return runtime.run(
                runtime.engine.refresher.find_stale_if_error(call, where, lookup.owner)
            )
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have (promise F8)
    except Exception as fault:  # noqa: BLE001 - the task's own error is what counts (promise F1)
        runtime.observe(Fault(call_request.task.name, "recover", fault))
    return None


def _remember(
    call_request: CallRequest,
    lookup: LookupResult,
    error: Exception,
    run_seconds: float,
    task_id: str | None,
    *,
    seconds: float,
    decided: CurrentRun,
) -> None:
    """Store an exception that can be raised again as it was."""
    policy = call_request.policy
    text, refused = "", ""
    try:
        text = encode_error(error, policy)
    except UnserializableResult:
        refused = "unserializable"
    _store(
        call_request,
        lookup,
        text,
        run_seconds,
        task_id,
        refused=refused,
        remember_for=seconds,
        decided=decided,
    )


def _store(
    call_request: CallRequest,
    lookup: LookupResult,
    value: Any,
    run_seconds: float,
    task_id: str | None,
    *,
    cost: float = 0.0,
    refused: str = "",
    remember_for: float = 0.0,
    decided: CurrentRun | None = None,
    renews: Previous | None = None,
) -> bool:
    """Store the outcome of a run, if its call can be cached. Raises no fault of the cache.

    Args:
        call_request: The call.
        lookup: The result of its lookup before the run.
        value: The result, or a remembered exception as text.
        run_seconds: Seconds that the run took.
        task_id: Id of the task that ran.
        cost: The cost of the run, in the user's unit.
        refused: The reason not to store it; empty for none.
        remember_for: Of an exception: seconds that it is remembered.
        decided: What the run has decided of its entry.
        renews: The entry that it has found unchanged.

    Returns:
        Whether it was stored.
    """
    runtime, call = call_request.runtime, lookup.call
    if call is None:
        return False
    try:
        if refused:
            refuse = runtime.engine.writer.refuse(call, lookup.owner, refused, run_seconds)
            return runtime.run(refuse)
        fill = runtime.engine.writer.fill(
            call,
            lookup.position,
            value,
            run_seconds=run_seconds,
            task_id=task_id,
            cost=cost,
            owner=lookup.owner,
            replaces=lookup.reason == REFRESH or call.max_age is not None,
            remember_for=remember_for,
            decided=decided,
            renews=renews,
        )
        return runtime.run(fill)
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have (promise F8)
    except Exception as error:  # noqa: BLE001 - the task has run (promise F1)
        runtime.observe(Fault(call_request.task.name, "fill", error))
        return False
