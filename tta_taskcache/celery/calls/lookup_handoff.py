"""What one site tells the next about a call: a look saved, and a lease that goes along."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ...core.entry import Position
from ...core.lease import Lease, Stage
from .lookup_result import LookupResult

#: The name in our header.
SEEN = "seen"

#: Seconds for which a site trusts what the site before has found. A message takes a few
#: milliseconds to a free worker; one that had to wait is looked up again.
HANDOFF_VALID_FOR = 0.05

#: Seconds that a producer's reservation lasts, which nobody renews: the worker that trusts its look
#: does so within ``HANDOFF_VALID_FOR``, and renews it as its own soon after.
RESERVED_FOR = 1.0

#: A reservation with no more than this left (s) gives way to a call that a worker has in hand: its
#: message waits in some queue, and may for long.
OVERTAKEN_AT = 0.5

#: Seconds that a leading message waits for the pool before a worker with a free slot may take its
#: lease over (promise C8): from then on it has to look again before it runs.
QUEUED_FOR = 0.15


def to_handoff(lookup: LookupResult) -> list[Any] | None:
    """A miss in the form that travels in our header: time, incarnation, sequence, owner.

    Nothing when equal calls are in flight, or run side by side: one may have filled by the time
    the next site has it.
    """
    if lookup.position is None or (lookup.lease is not None and not lookup.lease.is_ours):
        return None
    return [lookup.at, lookup.position.incarnation, lookup.position.sequence, lookup.owner]


def without_handoff(cache_header: Mapping[str, Any]) -> dict[str, Any]:
    """Our header, so that the next site looks for itself."""
    return {name: value for name, value in cache_header.items() if name != SEEN}


def read_handoff(cache_header: Mapping[str, Any]) -> LookupResult | None:
    """Read what the site before found, while it is too young for much to have happened since.

    It saves a round trip. The log's position is older than the run, so storing with it is safe; and
    the lease that came with it keeps equal calls waiting. A call without one may miss what was
    stored in the meantime: then it runs as it would have, had it come a moment earlier. Where
    clocks differ, a site looks again, or trusts for longer than it should.
    """
    match cache_header.get(SEEN):
        case [int() | float() as at, str() as incarnation, int() as sequence, str() as owner]:
            # A leader's main process renews its lease: it may have waited for the pool.
            leads = bool(owner) and cache_header.get("leads") is True
            position = Position(incarnation, sequence)
            lease = Lease(owner, position, Stage.RESERVED) if owner else None
            found = LookupResult(None, position=position, at=at, reason="recent", lease=lease)
            if leads or is_recent(found, HANDOFF_VALID_FOR):
                return found
    return None


def is_recent(lookup: LookupResult, seconds: float) -> bool:
    """Whether a look was made within so many seconds, as far as clocks agree."""
    return 0 <= time.time() - lookup.at <= seconds
