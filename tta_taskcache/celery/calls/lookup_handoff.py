"""The hand-off of a miss: its lookup and its lease go with the message to the next site."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...core.entry import Position
from ...core.lease import Lease, Stage
from .lookup_result import LookupResult

#: Seconds for which a site trusts the lookup of the site before. A message takes a few milliseconds
#: to a free worker; a call that had to wait is looked up again.
HANDOFF_VALID_FOR = 0.05

#: Seconds that a producer's reservation lasts, unrenewed: a worker takes the lookup over within
#: ``HANDOFF_VALID_FOR``, and renews the lease as its own soon after.
RESERVED_FOR = 1.0

#: A reservation with no more seconds left than these gives way to an equal call that a worker is
#: ready to run: the message of the reservation may wait in a queue for long.
OVERTAKEN_AT = 0.5


def to_handoff(lookup: LookupResult) -> list[Any] | None:
    """Return a miss as our header carries it: time, incarnation, sequence, owner of the lease.

    None when an equal call is in flight: the next site has to look whether it still is.
    """
    if lookup.position is None or lookup.follows:
        return None
    return [lookup.at, lookup.position.incarnation, lookup.position.sequence, lookup.owner]


def read_handoff(cache_header: Mapping[str, Any]) -> LookupResult | None:
    """Read the miss of the site before; None when there is none, or it is too old.

    The hand-off saves a round trip. Its position is older than the run, so a fill with it is safe;
    its lease keeps equal calls waiting. A call without a lease may miss an entry that was stored in
    the meantime, and runs as it would have a moment earlier. Where clocks differ, a site looks
    again, or trusts the hand-off for longer than it should.
    """
    match cache_header.get("seen"):
        case [int() | float() as at, str() as incarnation, int() as sequence, str() as owner]:
            # The worker renews a leader's lease, however long the call waits for the pool.
            leads = bool(owner) and cache_header.get("leads") is True
            if leads or 0 <= time.time() - at <= HANDOFF_VALID_FOR:
                position = Position(incarnation, sequence)
                lease = Lease(owner, position, Stage.RESERVED) if owner else None
                return LookupResult(None, position=position, at=at, reason="recent", lease=lease)
    return None
