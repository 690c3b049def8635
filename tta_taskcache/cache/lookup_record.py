"""What observers are told of a lookup."""

from __future__ import annotations

from ..core.events import Coalesced, Lookup, Observe
from .outcome import Call, Hit, Miss

#: The reason of a miss that would have been a hit, and runs to be compared with it.
VERIFY = "verify"


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
    """Tell the observers what a look has found.

    Args:
        observe: The observers.
        call: The call.
        site: Where it was looked for.
        found: What was found.
        seconds: How long the look took; of a look for several calls, this one's share.
        waited: For how long the call waited for an equal one in flight, if it did.
        saved: Whether a hit means that there was no run.
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
        )
    )
