"""The hand-off of a miss: its lookup and its lease go with the message to the next site."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...core.entries.entry import Position
from ...core.entries.lease import Lease, Stage
from .lookup_result import LookupResult

#: The name of the hand-off in our header.
SEEN = "seen"

#: The name there of the word that the consumer has found a hit, and leaves it to the pool.
FOUND = "found"

#: The name there of the consumer's miss, for observers: its reason and seconds.
MISSED = "missed"

#: Seconds for which a site trusts what the site before has found. A message takes a few
#: milliseconds to a free worker; one that had to wait is looked up again.
HANDOFF_VALID_FOR = 0.05

#: A reservation with no more seconds left than these gives way to an equal call that a worker is
#: ready to run: the message of the reservation may wait in a queue for long.
OVERTAKEN_AT = 0.5

#: Seconds that a leading message waits for the pool before a worker with a free slot may take its
#: lease over (promise C8): from then on it has to look again before it runs.
QUEUED_FOR = 0.15


def to_handoff(lookup: LookupResult) -> list[Any] | None:
    """Return a miss as our header carries it: time, position, owner of the lease, reason.

    Nothing when equal calls are in flight, or run side by side: one may have filled by the time
    the next site has it.
    """
    if lookup.position is None or (lookup.lease is not None and not lookup.lease.is_ours):
        return None
    position = lookup.position
    return [lookup.at, position.incarnation, position.sequence, lookup.owner, lookup.reason]


def without_handoff(cache_header: Mapping[str, Any]) -> dict[str, Any]:
    """Our header, so that the next site looks for itself."""
    return {name: value for name, value in cache_header.items() if name != SEEN}


def read_handoff(cache_header: Mapping[str, Any]) -> LookupResult | None:
    """Read the miss of the site before; None when there is none, or it is too old.

    The hand-off saves a round trip. Its position is older than the run, so a fill with it is safe;
    its lease keeps equal calls waiting. A call without a lease may miss an entry that was stored in
    the meantime, and runs as it would have a moment earlier. Where clocks differ, a site looks
    again, or trusts the hand-off for longer than it should.
    """
    match cache_header.get(SEEN):
        case [
            int() | float() as at,
            str() as incarnation,
            int() as sequence,
            str() as owner,
            str() as reason,
        ]:
            # The worker renews a leader's lease, however long the call waits for the pool.
            leads = bool(owner) and cache_header.get("leads") is True
            position = Position(incarnation, sequence)
            lease = Lease(owner, position, Stage.RESERVED) if owner else None
            found = LookupResult(None, position=position, at=at, reason=reason, lease=lease)
            if leads or is_recent(found, HANDOFF_VALID_FOR):
                return found
    return None


def is_recent(lookup: LookupResult, seconds: float) -> bool:
    """Whether a look was made within so many seconds, as far as clocks agree."""
    return 0 <= time.time() - lookup.at <= seconds
