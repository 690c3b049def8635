"""The lookup of a call, for the three sites and ``task.cache``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.engine.lookup_record import SHADOW, VERIFY, record_lookup
from ...cache.outcome import Call, Hit, Miss
from ...cache.plan import Plan
from ...cache.runs.current_run import current_run, depend_on_hit
from ...cache.runs.request_directives import REFRESH
from ...core.entries.lease import Claim
from ...core.events import Fault, Lookup, Shadowed
from ...core.options.option_values import Site
from ...core.record import record
from ..calls import hot_calls
from ..calls.call_request import CallRequest
from ..calls.carried_text import NOTHING, CarriedText
from ..calls.lookup_result import DIRECT, NEVER_LEADS, LookupResult, to_lookup_result
from ..config.runtime import Runtime
from .background_refresh import schedule_refresh
from .semantic_lookup import with_neighbour

#: A plan that looks with a claim, in place of ``Engine.look``.
LookupPlan = Callable[[Call, str, Claim], Plan[Hit | Miss]]


@record(kw_only=True)
class LookupHints:
    """What is known before a lookup, and what it claims.

    Attributes:
        handoff: The miss of the site before, if it was handed off.
        known: The result of ``look_up_all``.
        claim: The claim to the lease, taken on the way if the task coalesces.
        plan: The plan that looks with the claim; None for ``Engine.look``.
        carried: What came with the call of its text (``cache_semantic``).
    """

    handoff: LookupResult | None = None
    known: LookupResult | None = None
    claim: Claim | None = None
    plan: LookupPlan | None = None
    carried: CarriedText = NOTHING


#: Nothing is known, and nothing claimed.
NO_HINTS = LookupHints()


def look_up(
    call_request: CallRequest, site: Site | None, hints: LookupHints = NO_HINTS
) -> LookupResult:
    """Look for the answer to a call at a site. Faults of the cache become misses.

    A stale hit is refreshed in the background.

    Args:
        call_request: The call.
        site: The site; None for ``task.cache``, which ``cache_sites`` doesn't restrict.
        hints: What is known of the call, and what it claims.
    """
    lookup = _look_up(call_request, site, hints)
    if call_request.policy.semantic is not None:
        lookup = with_neighbour(
            call_request,
            lookup,
            site,
            hints.carried,
            is_answerable=not unanswerable(call_request, site),
            is_handed_off=hints.handoff is not None,
        )
        call, is_shadow = lookup.call, lookup.reason == SHADOW and _ends_here(site)
        if is_shadow and call is not None and lookup.instead is None:
            call_request.runtime.observe(Shadowed(call.task, call.key, False))
    # Hot calls count each request once: where it is answered, or else where it runs.
    is_last = lookup.hit is not None or site in (Site.POOL, None) or call_request.mode == "only"
    if is_last and lookup.call is not None and call_request.policy.warm is not None:
        hot_calls.record_hot_call(call_request, lookup.call)
    if lookup.call is not None and current_run() is not None:
        _depend(call_request.runtime, lookup.call, lookup.hit, site)
    return lookup


def _depend(runtime: Runtime, call: Call, hit: Hit | None, site: Site | None) -> None:
    """Note an answer that goes into the result of the run that looks (promise D1)."""
    log, outer = runtime.engine.parts.log, current_run()
    if hit is not None:
        depend_on_hit(call, hit, log)
    elif site is Site.PRODUCER and outer is not None and outer.is_of_same_log(log):
        outer.depend_on_message(call)


def _ends_here(site: Site | None) -> bool:
    """Whether a call runs at a site that doesn't answer it."""
    return site in (Site.POOL, None)


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
        raise  # the limit is the task's, which fails as it would without the cache
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        lookup = LookupResult(call, reason="fault")
        call_request.runtime.observe(Fault(call_request.task.name, "look", error))
    if lookup.hit is None:
        name = call.key if call else None
        event = Lookup(call_request.task.name, name, site or DIRECT, None, lookup.reason)
        call_request.runtime.observe(event)
    return lookup


def unanswerable(call_request: CallRequest, site: Site | None) -> str:
    """Return the reason why no entry may answer a call at a site (None: at any); empty if one may.

    Decides for hits, and for stale results that stand in for a failed run.
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
    elif claim is not None and call.policy.coalesce and call_request.mode not in NEVER_LEADS:
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
    """Whether an earlier result may be served: an answer is no older than Δ (promise I7)."""
    if known.hit is None or known.looked_at is None:
        return True
    return monotonic() - known.looked_at <= runtime.engine.parts.l1.max_staleness


def _shadow(call_request: CallRequest, call: Call, site: Site | None) -> LookupResult:
    """Look without answering (shadow mode): once for each call, where it runs."""
    if not _ends_here(site):
        return LookupResult(call, reason=SHADOW)
    runtime = call_request.runtime
    started = monotonic()
    outcome = runtime.run(runtime.engine.reader.find(call))
    if isinstance(outcome, Miss):
        if call.policy.semantic is None:  # else a neighbour may answer
            runtime.observe(Shadowed(call.task, call.key, False))
        return replace(to_lookup_result(call, outcome), reason=SHADOW)
    entry = outcome.entry
    saved = max(0.0, entry.run_seconds - (monotonic() - started))
    runtime.observe(Shadowed(call.task, call.key, True, saved, entry.cost))
    return LookupResult(call, instead=outcome, reason=SHADOW)


def _use(call_request: CallRequest, call: Call, known: LookupResult, site: str) -> LookupResult:
    """Use the result of ``look_up_all``."""
    runtime = call_request.runtime
    if known.hit is not None:
        found = runtime.run(runtime.engine.refresher.claim_refresh(call, known.hit))
        known = replace(to_lookup_result(call, found, known.seconds), at=known.at)
    record_lookup(runtime.observe, call, site, known.outcome, seconds=known.seconds)
    return known


def _position_only(
    call_request: CallRequest, call: Call, site: Site | None, reason: str
) -> LookupResult:
    """Read the log's position for a call that runs unanswered, to store its result with."""
    if site is not Site.POOL and not (site is None and reason == REFRESH):
        return LookupResult(call, reason=reason)
    runtime = call_request.runtime
    if call_request.mode == "revalidate":
        stored = runtime.run(runtime.engine.reader.find(call))
        # An entry that is refreshed early is still fresh: only a newer one makes this run needless.
        if isinstance(stored, Hit) and stored.needs_no_refresh:
            return LookupResult(call, hit=stored)  # another run has refreshed it
    position = runtime.run(runtime.engine.writer.position(call))
    return LookupResult(call, position=position, reason=reason)


def look_up_all(
    call_requests: Sequence[CallRequest], site: Site, claims: Sequence[Claim | None]
) -> list[LookupResult | None]:
    """Look for the answers to several calls of one app in one round trip; ``look_up`` records them.

    Returns:
        The result for each call; None where ``look_up`` has to look itself.
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
        claimed = [
            claims[i] if call.policy.coalesce and call_requests[i].mode not in NEVER_LEADS else None
            for i, call in calls.items()
        ]
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
