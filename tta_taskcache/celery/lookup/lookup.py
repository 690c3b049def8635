"""Looking for the answer to a call: what the three sites and ``task.cache`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import random
from time import monotonic
from typing import TYPE_CHECKING

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.outcome import Call, Hit, Miss
from ...cache.plan import Plan
from ...cache.reader import VERIFY
from ...core.events import Fault, Lookup, Shadowed
from ...core.lease import Claim
from ...core.option_values import Site
from ...errors import UncacheableCall
from ..calls import context, hot_calls
from ..calls.call_request import (
    DIRECT,
    REFRESH,
    CallRequest,
    LookupResult,
    Mode,
    identify,
    is_enabled,
    is_shadowed,
    to_lookup_result,
)
from .background_refresh import schedule_refresh

if TYPE_CHECKING:
    from ..config.runtime import Runtime

#: The reason why nothing is answered in shadow mode.
SHADOW = "shadow"

#: How to look with a claim, if not with ``Engine.look_up``.
LookupPlan = Callable[[Call, str, Claim], Plan[Hit | Miss]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupHints:
    """What a look starts from.

    Attributes:
        handoff: What the site before has just found out, if it was a miss.
        known: What ``look_up_all`` has found.
        claim: Take the lease on the way, if the task coalesces.
        plan: How to look then.
        runs: Whether the call runs when it isn't answered.
    """

    handoff: LookupResult | None = None
    known: LookupResult | None = None
    claim: Claim | None = None
    plan: LookupPlan | None = None
    runs: bool = True


def look_up(
    call_request: CallRequest, site: Site | None, start: LookupHints = LookupHints()
) -> LookupResult:
    """Look for the answer to a call at a site. Faults of the cache become misses.

    What is stale is refreshed in the background.

    Args:
        call_request: The call.
        site: Where; None for ``task.cache``, which needs no leave.
        start: What is known, and what is claimed.
    """
    lookup = _look(call_request, site, start)
    # Each request once: where it is answered, or else where it runs.
    is_last = lookup.hit is not None or site in (Site.POOL, None) or call_request.mode == "only"
    if is_last and lookup.call is not None:
        hot_calls.record_hot_call(call_request, lookup.call)
    return lookup


def _look(call_request: CallRequest, site: Site | None, start: LookupHints) -> LookupResult:
    task = call_request.task
    runtime = task.cache_runtime
    call: Call | None = None
    try:
        reason = _bypass(call_request)
        if not reason:
            call = identify(call_request)
            if call_request.mode in ("use", "only") and is_shadowed(task):
                return _shadow(call, site, runtime)
            if start.handoff is not None:
                return replace(start.handoff, call=call)
            reason = _no_answer_reason(call, site, call_request.mode)
        if call is None:
            lookup = LookupResult(None, reason=reason)
        elif reason:
            lookup = _position_only(call_request, call, site, reason)
        else:
            return _find(call_request, call, site, start)
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have
    except UncacheableCall as error:
        lookup = LookupResult(call, reason=error.reason)
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        lookup = LookupResult(call, reason="fault")
        runtime.observe(Fault(task.name, "look", error))
    if lookup.hit is None:
        name = call.key if call else None
        runtime.observe(Lookup(task.name, name, site or DIRECT, None, lookup.reason))
    return lookup


def _find(
    call_request: CallRequest, call: Call, site: Site | None, start: LookupHints
) -> LookupResult:
    runtime, where = call_request.task.cache_runtime, site or DIRECT
    known, claim = start.known, start.claim
    wanted = replace(call, verify=True) if start.runs and _draws(call_request, call) else call
    if known is not None and known.call == call:
        lookup = _use(wanted, known, runtime, where)
    elif claim is not None and call.policy.coalesce:
        plan = start.plan or runtime.engine.look
        lookup = to_lookup_result(call, runtime.run(plan(wanted, where, claim)))
    else:
        lookup = to_lookup_result(call, runtime.run(runtime.engine.look(wanted, where)))
    if lookup.hit is not None and lookup.hit.refresh:
        schedule_refresh(call_request, call)
    if wanted.verify and lookup.hit is not None and lookup.hit.can_be_verified:
        return LookupResult(call, instead=lookup.hit, reason=VERIFY)
    return lookup


def _draws(call_request: CallRequest, call: Call) -> bool:
    """Whether chance, or the site before, wants a hit to be verified."""
    if call_request.mode == VERIFY:
        return True
    return call_request.mode == "use" and random() < call.policy.verify  # noqa: S311 - no secret


def _shadow(call: Call, site: Site | None, runtime: Runtime) -> LookupResult:
    """Look, but don't answer: once for each call, where it runs."""
    if site not in (Site.POOL, None):
        return LookupResult(call, reason=SHADOW)
    started = monotonic()
    outcome = runtime.run(runtime.engine.reader.find(call))
    if isinstance(outcome, Miss):
        runtime.observe(Shadowed(call.task, call.key, False))
        return replace(to_lookup_result(call, outcome), reason=SHADOW)
    entry = outcome.entry
    saved = max(0.0, entry.run_seconds - (monotonic() - started))
    runtime.observe(Shadowed(call.task, call.key, True, saved, entry.cost))
    return LookupResult(call, instead=outcome, reason=SHADOW)


def _use(call: Call, known: LookupResult, runtime: Runtime, site: str) -> LookupResult:
    """Use what was found when calls were looked up together."""
    if known.hit is not None:
        minded = runtime.run(runtime.engine.refresher.claim_refresh(call, known.hit))
        known = replace(to_lookup_result(call, minded, known.seconds), at=known.at)
    runtime.engine.reader.record_lookup(call, site, known.outcome, seconds=known.seconds)
    return known


def _position_only(
    call_request: CallRequest, call: Call, site: Site | None, reason: str
) -> LookupResult:
    """A call that isn't to be answered: when it is about to run, note from where on it may be."""
    if site is not Site.POOL:
        return LookupResult(call, reason=reason)
    runtime = call_request.task.cache_runtime
    if call_request.mode == "revalidate":
        stored = runtime.run(runtime.engine.reader.find(call))
        # What was to be refreshed early may be fresh still: it takes a newer one.
        if isinstance(stored, Hit) and stored.needs_no_refresh:
            return LookupResult(call, hit=stored)  # somebody else has refreshed it
    return LookupResult(
        call, position=runtime.run(runtime.engine.writer.position(call)), reason=reason
    )


def look_up_all(
    call_request: Sequence[CallRequest], site: Site, claims: Sequence[Claim | None]
) -> list[LookupResult | None]:
    """Look for the answers to several calls of one app at once. Tells nobody: ``look_up`` does.

    Returns:
        For each what was found; None where ``look_up`` has to see by itself.
    """
    if not call_request:
        return []
    runtime = call_request[0].task.cache_runtime
    lookup: list[LookupResult | None] = [None] * len(call_request)
    calls: dict[int, Call] = {}
    started = monotonic()
    try:
        for i, one in enumerate(call_request):
            call = _cacheable(one)
            if call is not None and not _no_answer_reason(call, site, one.mode):
                calls[i] = call
        claimed = [claims[i] if call.policy.coalesce else None for i, call in calls.items()]
        outcomes = runtime.run(runtime.engine.reader.find_many(list(calls.values()), claimed))
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        runtime.observe(Fault(call_request[0].task.name, "look", error))
    else:
        share = (monotonic() - started) / len(call_request)
        for (i, call), outcome in zip(calls.items(), outcomes, strict=True):
            lookup[i] = to_lookup_result(call, outcome, share)
    return lookup


def _cacheable(call_request: CallRequest) -> Call | None:
    """The call, if the cache has to do with it."""
    if _bypass(call_request) or is_shadowed(call_request.task):
        return None
    try:
        return identify(call_request)
    except UncacheableCall:
        return None


def _bypass(call_request: CallRequest) -> str:
    """Why a call has nothing to do with the cache, or nothing."""
    if not is_enabled(call_request.task):
        return "disabled"
    if call_request.mode == "bypass" or context.is_disabled():
        return "bypass"
    return ""


def _no_answer_reason(call: Call, site: Site | None, mode: Mode) -> str:
    """Why a cacheable call isn't answered at a site, or nothing."""
    if mode in ("refresh", "revalidate"):
        return REFRESH
    if site is not None and site not in call.policy.sites and mode != VERIFY:
        return "site"
    return ""
