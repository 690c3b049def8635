"""Looking for the answer to a call: what the three sites and ``task.cache`` have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import monotonic

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.lookup_record import VERIFY, record_lookup
from ...cache.outcome import Call, Hit, Miss
from ...cache.plan import Plan
from ...core.events import Fault, Lookup, Shadowed
from ...core.lease import Claim
from ...core.option_values import Site
from ..calls import hot_calls
from ..calls.call_request import CallRequest
from ..calls.lookup_result import DIRECT, REFRESH, LookupResult, to_lookup_result
from ..config.runtime import Runtime
from .background_refresh import schedule_refresh

#: The reason why nothing is answered in shadow mode.
SHADOW = "shadow"

#: How to look with a claim, if not with ``Engine.look``.
LookupPlan = Callable[[Call, str, Claim], Plan[Hit | Miss]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookupHints:
    """What a look starts from.

    Attributes:
        handoff: What the site before has just found out, if it was a miss.
        known: What ``look_up_all`` has found.
        claim: Take the lease on the way, if the task coalesces.
        plan: How to look then.
    """

    handoff: LookupResult | None = None
    known: LookupResult | None = None
    claim: Claim | None = None
    plan: LookupPlan | None = None


def look_up(
    call_request: CallRequest, site: Site | None, hints: LookupHints = LookupHints()
) -> LookupResult:
    """Look for the answer to a call at a site. Faults of the cache become misses.

    What is stale is refreshed in the background.

    Args:
        call_request: The call.
        site: Where; None for ``task.cache``, which needs no leave.
        hints: What is known, and what is claimed.
    """
    lookup = _look_up(call_request, site, hints)
    # Each request once: where it is answered, or else where it runs.
    is_last = lookup.hit is not None or site in (Site.POOL, None) or call_request.mode == "only"
    if is_last and lookup.call is not None:
        hot_calls.record_hot_call(call_request, lookup.call)
    return lookup


def _look_up(call_request: CallRequest, site: Site | None, hints: LookupHints) -> LookupResult:
    call, reason = call_request.call, unanswerable(call_request, site)
    try:
        if call is not None:
            if reason == SHADOW:
                return _shadow(call_request, call, site)
            if hints.handoff is not None:
                return replace(hints.handoff, call=call)
            if not reason:
                return _find(call_request, call, site, hints)
            lookup = _position_only(call_request, call, site, reason)
        else:
            lookup = LookupResult(None, reason=reason)
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        lookup = LookupResult(call, reason="fault")
        call_request.runtime.observe(Fault(call_request.task.name, "look", error))
    if lookup.hit is None:
        name = call.key if call else None
        event = Lookup(call_request.task.name, name, site or DIRECT, None, lookup.reason)
        call_request.runtime.observe(event)
    return lookup


def unanswerable(call_request: CallRequest, site: Site | None) -> str:
    """Why nothing stored may answer a call at a site (None: anywhere), or nothing.

    Whoever serves asks here: for a hit, and for what stands in when a run has failed.
    """
    if call_request.bypass:
        return call_request.bypass
    if call_request.refusal is not None:
        return call_request.refusal.reason
    if call_request.is_shadowed:
        return SHADOW
    if call_request.mode in ("refresh", "revalidate"):
        return REFRESH
    may_answer = site is None or site in call_request.policy.sites or call_request.mode == VERIFY
    return "" if may_answer else "site"


def _find(
    call_request: CallRequest, call: Call, site: Site | None, hints: LookupHints
) -> LookupResult:
    runtime, where = call_request.runtime, site or DIRECT
    known, claim = hints.known, hints.claim
    wanted = replace(call, verify=True) if call_request.is_verified else call
    if known is not None and known.call == call and _is_recent(known, runtime):
        lookup = _use(call_request, wanted, known, where)
    elif claim is not None and call.policy.coalesce:
        plan = hints.plan or runtime.engine.look
        lookup = to_lookup_result(call, runtime.run(plan(wanted, where, claim)))
    else:
        lookup = to_lookup_result(call, runtime.run(runtime.engine.look(wanted, where)))
    if lookup.hit is not None and lookup.hit.refresh:
        schedule_refresh(call_request, call)
    if wanted.verify and lookup.hit is not None and lookup.hit.can_be_verified:
        return LookupResult(call, instead=lookup.hit, reason=VERIFY)
    return lookup


def _is_recent(known: LookupResult, runtime: Runtime) -> bool:
    """Whether what was found before may be served: an answer is no older than Δ (promise I7)."""
    if known.hit is None or known.looked_at is None:
        return True
    return monotonic() - known.looked_at <= runtime.engine.parts.l1.max_staleness


def _shadow(call_request: CallRequest, call: Call, site: Site | None) -> LookupResult:
    """Look, but don't answer: once for each call, where it runs."""
    if site not in (Site.POOL, None):
        return LookupResult(call, reason=SHADOW)
    runtime = call_request.runtime
    started = monotonic()
    outcome = runtime.run(runtime.engine.reader.find(call))
    if isinstance(outcome, Miss):
        runtime.observe(Shadowed(call.task, call.key, False))
        return replace(to_lookup_result(call, outcome), reason=SHADOW)
    entry = outcome.entry
    saved = max(0.0, entry.run_seconds - (monotonic() - started))
    runtime.observe(Shadowed(call.task, call.key, True, saved, entry.cost))
    return LookupResult(call, instead=outcome, reason=SHADOW)


def _use(call_request: CallRequest, call: Call, known: LookupResult, site: str) -> LookupResult:
    """Use what was found when calls were looked up together."""
    runtime = call_request.runtime
    if known.hit is not None:
        found = runtime.run(runtime.engine.refresher.claim_refresh(call, known.hit))
        known = replace(to_lookup_result(call, found, known.seconds), at=known.at)
    record_lookup(runtime.observe, call, site, known.outcome, seconds=known.seconds)
    return known


def _position_only(
    call_request: CallRequest, call: Call, site: Site | None, reason: str
) -> LookupResult:
    """A call that isn't to be answered: when it is about to run, note from where on it may be."""
    if site is not Site.POOL:
        return LookupResult(call, reason=reason)
    runtime = call_request.runtime
    if call_request.mode == "revalidate":
        stored = runtime.run(runtime.engine.reader.find(call))
        # What was to be refreshed early may be fresh still: it takes a newer one.
        if isinstance(stored, Hit) and stored.needs_no_refresh:
            return LookupResult(call, hit=stored)  # somebody else has refreshed it
    position = runtime.run(runtime.engine.writer.position(call))
    return LookupResult(call, position=position, reason=reason)


def look_up_all(
    call_requests: Sequence[CallRequest], site: Site, claims: Sequence[Claim | None]
) -> list[LookupResult | None]:
    """Look for the answers to several calls of one app at once. Records nothing: ``look_up`` does.

    Returns:
        For each what was found; None where ``look_up`` has to see by itself.
    """
    found: list[LookupResult | None] = [None] * len(call_requests)
    calls = {
        i: request.call
        for i, request in enumerate(call_requests)
        if request.call is not None and not unanswerable(request, site)
    }
    if not calls:
        return found
    runtime = call_requests[0].runtime
    started = monotonic()
    try:
        claimed = [claims[i] if call.policy.coalesce else None for i, call in calls.items()]
        outcomes = runtime.run(runtime.engine.reader.find_many(list(calls.values()), claimed))
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        runtime.observe(Fault(call_requests[0].task.name, "look", error))
    else:
        share = (monotonic() - started) / len(call_requests)
        for (i, call), outcome in zip(calls.items(), outcomes, strict=True):
            found[i] = replace(to_lookup_result(call, outcome, share), looked_at=started)
    return found
