"""The events of a lookup."""

from __future__ import annotations

from ...core.entries.decide import Verdict
from ...core.events import Coalesced, Lookup, Observe
from ..outcome import Call, Hit, Miss
from .parts import Parts

#: The reason of a hit that counts as a miss: the call runs, to be compared with it.
VERIFY = "verify"

#: The reason of a bypass in shadow mode.
SHADOW = "shadow"


def record_found(parts: Parts, call: Call, site: str, found: Hit | Miss, seconds: float) -> None:
    """Count a lookup, and send its events to observers that want them.

    Args:
        parts: The engine's parts.
        call: The call.
        site: The site that looked.
        found: The hit or miss.
        seconds: Seconds that the lookup took.
    """
    if (
        isinstance(found, Hit)
        and found.verdict is Verdict.FRESH
        and found.similarity is None
        and not call.verify
    ):
        entry = found.entry
        at = call.task, site, found.layer
        if parts.count_hit(at, seconds, entry.run_seconds, entry.cost):
            return
    record_lookup(parts.observe, call, site, found, seconds=seconds)


def record_lookup(
    observe: Observe,
    call: Call,
    site: str,
    found: Hit | Miss,
    *,
    seconds: float | None = None,
    waited: float | None = None,
    saved: bool = True,
) -> None:
    """Send the events of a lookup to the observers.

    Args:
        observe: The observers.
        call: The call.
        site: The site that looked.
        found: The hit or miss.
        seconds: Seconds that the lookup took; of a lookup of several calls, this one's share.
        waited: Seconds that the call waited for an equal one in flight; None if it didn't.
        saved: Whether a hit has saved a run.
    """
    if isinstance(found, Miss):
        observe(Lookup(call.task, call.key, site, None, found.reason, seconds=seconds))
        return
    if call.verify and found.can_be_verified:
        observe(Lookup(call.task, call.key, site, None, VERIFY, seconds=seconds))
        return
    entry = found.entry
    if waited is not None:
        observe(Coalesced(call.task, call.key, site, waited))
    observe(
        Lookup(
            call.task,
            call.key,
            site,
            found.layer,
            "",
            saved_seconds=max(0.0, entry.run_seconds - (seconds or 0.0)) if saved else 0.0,
            age=found.age,
            computed_by=entry.task_id,
            freshness=found.verdict.value,
            saved_cost=entry.cost if saved else 0.0,
            seconds=seconds,
            coalesced=waited is not None,
            size=len(entry.payload),
            computed_in=entry.trace,
            similarity=found.similarity,
            neighbour=None if found.similarity is None else entry.key,
        )
    )
