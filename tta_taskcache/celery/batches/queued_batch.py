"""The lookup of a batch by the worker's main process: an answer, something to wait for, or leases.

A batch that is sent to the pool leads all items that it will run. As long as one of them is in
flight elsewhere it waits, without a slot and without leases, so that no two wait for each other.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from ...cache.batch_call import owner_of
from ...cache.runs.led_keys import of_batches, within
from ...cache.side_by_side import side_by_side
from ...core.entries.entry import Position
from ...core.entries.lease import Claim, Lease, Stage
from ...core.options.option_values import Site
from ...errors import StoreUnavailable
from ..calls.call_request import CallRequest
from ..calls.lookup_handoff import OVERTAKEN_AT
from ..calls.lookup_result import LookupResult
from .item_lookup import (
    FoundItems,
    RunPlan,
    answer_of,
    look_up_items,
    may_claim,
    record_items,
)


def look_up_queued_batch(
    call_request: CallRequest,
    cache_header: Any,
    run: RunPlan,
    *,
    can_wait: bool,
    ends: Sequence[tuple[str, str]] = (),
    takes_queued: bool = False,
) -> LookupResult:
    """Look up a batch whose message has come.

    Args:
        call_request: The batch, whose items have keys.
        cache_header: Our header of its message.
        run: Runs plans against the store.
        can_wait: Whether it may wait here for items in flight.
        ends: Key and owner of each lease that ends before.
        takes_queued: Whether it takes over leases of calls that are queued elsewhere.

    Returns:
        A hit; the call of an item that is in flight, to wait for; or a miss with its leases.
    """
    calls, task = call_request.identified_batch().calls, call_request.task.name
    claims: list[Claim | None] = [None] * len(calls)
    token = uuid4().hex
    # A run that leads these items may itself have sent this call (C7).
    is_inside = of_batches(task) in within(cache_header)
    if can_wait and may_claim(call_request, Site.CONSUMER) and not is_inside:
        ttl = call_request.runtime.leases.ttl
        claims = [
            Claim(
                owner=owner_of(token, number),
                stage=Stage.QUEUED,
                ttl=ttl,
                overtakes=OVERTAKEN_AT,
                takes_queued=takes_queued,
            )
            for number in range(len(calls))
        ]
    _release(call_request, ends, run)
    try:
        found = look_up_items(call_request, Site.CONSUMER, range(len(calls)), claims, run)
        return _judge(call_request, found, token, run)
    except BaseException:
        pairs = zip(calls, claims, strict=True)
        ends = [(call.key, claim.owner) for call, claim in pairs if claim is not None]
        call_request.runtime.leases.end_all(ends)
        raise


def _judge(call_request: CallRequest, found: FoundItems, token: str, run: RunPlan) -> LookupResult:
    calls = call_request.identified_batch().calls
    leases = tuple(
        (calls[number].key, miss.lease.owner)
        for number, miss in found.misses.items()
        if miss.lease is not None and miss.lease.is_ours
    )
    for number, miss in found.misses.items():
        if miss.lease is not None and miss.lease.is_followed:
            _release(call_request, leases, run)
            return LookupResult(calls[number], reason="following", lease=miss.lease)
    record_items(call_request, found, Site.CONSUMER, are_answers=not found.misses)
    if not found.misses:
        return answer_of(call_request, found)
    position = _oldest([miss.position for miss in found.misses.values()])
    return LookupResult(
        None,
        position=position,
        at=time.time(),
        reason=found.reason,
        lease=Lease(token, position, Stage.QUEUED) if leases else None,
        leases=leases,
        seconds=found.seconds * len(calls),
    )


def _release(call_request: CallRequest, leases: Sequence[tuple[str, str]], run: RunPlan) -> None:
    """End leases at once: others may lead while this batch waits."""
    if not leases:
        return
    engine = call_request.runtime.engine
    try:
        run(side_by_side([engine.release(key, owner) for key, owner in leases]))
    except StoreUnavailable:
        call_request.runtime.leases.end_all(leases)


def _oldest(positions: Sequence[Position | None]) -> Position | None:
    """Return the oldest of positions in one log; None without one for all."""
    known = [position for position in positions if position is not None]
    is_one_log = len({position.incarnation for position in known}) == 1
    if len(known) < len(positions) or not is_one_log:
        return None
    return min(known, key=lambda position: position.sequence)
