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
from ...cache.refresher import VERIFY
from ...core.events import Fault, Lookup, Shadowed
from ...core.lease import Claim
from ...core.option_values import Site
from ...errors import UncacheableCall
from ..calls import context, hot_calls
from ..calls.call_request import (
    DIRECT,
    REFRESH,
    Asked,
    Mode,
    Seen,
    found,
    identify,
    is_enabled,
    is_shadowed,
)
from .background_refresh import send_refresh

if TYPE_CHECKING:
    from ..config.runtime import Runtime

#: The reason why nothing is answered in shadow mode.
SHADOW = "shadow"

#: How to look with a claim, if not with ``Engine.look``.
Looking = Callable[[Call, str, Claim], Plan[Hit | Miss]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a look starts from.

    Attributes:
        handed_over: What the site before has just found out, if it was a miss.
        known: What ``look_all`` has found.
        claim: Take the lease on the way, if the task coalesces.
        plan: How to look then.
        runs: Whether the call runs when it isn't answered.
    """

    handed_over: Seen | None = None
    known: Seen | None = None
    claim: Claim | None = None
    plan: Looking | None = None
    runs: bool = True


def look(asked: Asked, site: Site | None, start: Start = Start()) -> Seen:
    """Look for the answer to a call at a site. Faults of the cache become misses.

    What is stale is refreshed in the background.

    Args:
        asked: The call.
        site: Where; None for ``task.cache``, which needs no leave.
        start: What is known, and what is claimed.
    """
    seen = _look(asked, site, start)
    # Each request once: where it is answered, or else where it runs.
    is_last = seen.hit is not None or site in (Site.POOL, None) or asked.mode == "only"
    if is_last and seen.call is not None:
        hot_calls.note(asked, seen.call)
    return seen


def _look(asked: Asked, site: Site | None, start: Start) -> Seen:
    task = asked.task
    runtime = task.taskcache().runtime
    call: Call | None = None
    try:
        reason = _bypass(asked)
        if not reason:
            call = identify(asked)
            if asked.mode in ("use", "only") and is_shadowed(task):
                return _shadow(call, site, runtime)
            if start.handed_over is not None:
                return replace(start.handed_over, call=call)
            reason = _pass_by(call, site, asked.mode)
        if call is None:
            seen = Seen(None, reason=reason)
        elif reason:
            seen = _pass(asked, call, site, reason)
        else:
            return _find(asked, call, site, start)
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have
    except UncacheableCall as error:
        seen = Seen(call, reason=error.reason)
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        seen = Seen(call, reason="fault")
        runtime.observe(Fault(task.name, "look", error))
    if seen.hit is None:
        name = call.key if call else None
        runtime.observe(Lookup(task.name, name, site or DIRECT, None, seen.reason))
    return seen


def _find(asked: Asked, call: Call, site: Site | None, start: Start) -> Seen:
    runtime, where = asked.task.taskcache().runtime, site or DIRECT
    known, claim = start.known, start.claim
    wanted = replace(call, verify=True) if start.runs and _draws(asked, call) else call
    if known is not None and known.call == call:
        seen = _use(wanted, known, runtime, where)
    elif claim is not None and call.policy.coalesce:
        plan = start.plan or runtime.engine.look
        seen = found(call, runtime.run(plan(wanted, where, claim)))
    else:
        seen = found(call, runtime.run(runtime.engine.look(wanted, where)))
    if seen.hit is not None and seen.hit.refresh:
        send_refresh(asked, call)
    if wanted.verify and seen.hit is not None and seen.hit.can_be_verified:
        return Seen(call, instead=seen.hit, reason=VERIFY)
    return seen


def _draws(asked: Asked, call: Call) -> bool:
    """Whether chance, or the site before, wants a hit to be verified."""
    if asked.mode == VERIFY:
        return True
    return asked.mode == "use" and random() < call.policy.verify  # noqa: S311 - no secret


def _shadow(call: Call, site: Site | None, runtime: Runtime) -> Seen:
    """Look, but don't answer: once for each call, where it runs."""
    if site not in (Site.POOL, None):
        return Seen(call, reason=SHADOW)
    started = monotonic()
    outcome = runtime.run(runtime.engine.find(call))
    if isinstance(outcome, Miss):
        runtime.observe(Shadowed(call.task, call.key, False))
        return replace(found(call, outcome), reason=SHADOW)
    entry = outcome.entry
    saved = max(0.0, entry.run_seconds - (monotonic() - started))
    runtime.observe(Shadowed(call.task, call.key, True, saved, entry.cost))
    return Seen(call, instead=outcome, reason=SHADOW)


def _use(call: Call, known: Seen, runtime: Runtime, site: str) -> Seen:
    """Use what was found when calls were looked up together."""
    if known.hit is not None:
        minded = runtime.run(runtime.engine.mind_refresh(call, known.hit))
        known = replace(found(call, minded, known.seconds), at=known.at)
    runtime.engine.tell(call, site, known.outcome, seconds=known.seconds)
    return known


def _pass(asked: Asked, call: Call, site: Site | None, reason: str) -> Seen:
    """A call that isn't to be answered: when it is about to run, note from where on it may be."""
    if site is not Site.POOL:
        return Seen(call, reason=reason)
    runtime = asked.task.taskcache().runtime
    if asked.mode == "revalidate":
        stored = runtime.run(runtime.engine.find(call))
        # What was to be refreshed early may be fresh still: it takes a newer one.
        if isinstance(stored, Hit) and stored.needs_no_refresh:
            return Seen(call, hit=stored)  # somebody else has refreshed it
    return Seen(call, position=runtime.run(runtime.engine.position(call)), reason=reason)


def look_all(
    asked: Sequence[Asked], site: Site, claims: Sequence[Claim | None]
) -> list[Seen | None]:
    """Look for the answers to several calls of one app at once. Tells nobody: ``look`` does.

    Returns:
        For each what was found; None where ``look`` has to see by itself.
    """
    if not asked:
        return []
    runtime = asked[0].task.taskcache().runtime
    seen: list[Seen | None] = [None] * len(asked)
    calls: dict[int, Call] = {}
    started = monotonic()
    try:
        for i, one in enumerate(asked):
            call = _cacheable(one)
            if call is not None and not _pass_by(call, site, one.mode):
                calls[i] = call
        claimed = [claims[i] if call.policy.coalesce else None for i, call in calls.items()]
        outcomes = runtime.run(runtime.engine.find_many(list(calls.values()), claimed))
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        runtime.observe(Fault(asked[0].task.name, "look", error))
    else:
        share = (monotonic() - started) / len(asked)
        for (i, call), outcome in zip(calls.items(), outcomes, strict=True):
            seen[i] = found(call, outcome, share)
    return seen


def _cacheable(asked: Asked) -> Call | None:
    """The call, if the cache has to do with it."""
    if _bypass(asked) or is_shadowed(asked.task):
        return None
    try:
        return identify(asked)
    except UncacheableCall:
        return None


def _bypass(asked: Asked) -> str:
    """Why a call has nothing to do with the cache, or nothing."""
    if not is_enabled(asked.task):
        return "disabled"
    if asked.mode == "bypass" or context.is_switched_off():
        return "bypass"
    return ""


def _pass_by(call: Call, site: Site | None, mode: Mode) -> str:
    """Why a cacheable call isn't answered at a site, or nothing."""
    if mode in ("refresh", "revalidate"):
        return REFRESH
    if site is not None and site not in call.policy.sites and mode != VERIFY:
        return "site"
    return ""
