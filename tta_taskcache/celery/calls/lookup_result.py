"""The result of a lookup: hit, miss or bypass."""

from __future__ import annotations

import time

from ...cache.cache_status import CacheStatus, status_of
from ...cache.outcome import Call, Hit, Miss
from ...cache.runs.request_directives import NO_STORE
from ...core.entries.entry import Position
from ...core.entries.lease import Lease
from ...core.options.option_values import Site
from ...core.record import record

#: The reason, and the mode, of a call that passes the cache by, which is slower than the call.
SLOW = "slow"

#: The modes of calls that lead no equal ones: their runs store nothing that these could wait for.
NEVER_LEADS = ("only", NO_STORE)

#: The site under which lookups of ``task.cache`` are counted, which happen at none.
DIRECT = "direct"


@record
class LookupResult:
    """The result of a call's lookup at a site.

    Attributes:
        call: The call; None when it can't be cached.
        hit: The answer; None for a miss or bypass.
        position: For a miss: the log's position that a result is stored with.
        at: For a miss in L2: its time (Unix seconds).
        reason: For a miss or bypass: the word under which it is counted.
        lease: The reply to the claim, if one was made.
        instead: The hit that isn't served: the call runs, to be compared with it.
        seconds: Seconds that the lookup took; of a lookup of several calls, this one's share.
        looked_at: When a lookup of several calls began (monotonic seconds).
        leases: Of a batch: key and owner of each lease that it was given.
        vector: The vector of the call's text, sealed (``carried_text``); None if it isn't known.
    """

    call: Call | None
    hit: Hit | None = None
    position: Position | None = None
    at: float = 0.0
    reason: str = ""
    lease: Lease | None = None
    instead: Hit | None = None
    seconds: float | None = None
    looked_at: float | None = None
    leases: tuple[tuple[str, str], ...] = ()
    vector: bytes | None = None

    @property
    def outcome(self) -> Hit | Miss:
        """The hit or the miss."""
        return self.hit or Miss(self.reason, self.position, self.lease)

    @property
    def owner(self) -> str:
        """Owner of the lease if this call leads; else empty."""
        return self.lease.owner if self.lease is not None else ""

    @property
    def led(self) -> tuple[tuple[str, str], ...]:
        """Key and owner of each lease that the call leads with."""
        if self.leases or self.call is None or not self.owner:
            return self.leases
        return ((self.call.key, self.owner),)

    @property
    def follows(self) -> bool:
        """Whether an equal call is in flight elsewhere."""
        return self.lease is not None and self.lease.is_followed

    def status(self, site: Site | None) -> CacheStatus:
        """Return the provenance that users see."""
        key = self.call.key if self.call else None
        name = site.value if site else None
        if self.hit is None:
            return CacheStatus(hit=False, key=key, site=name, reason=self.reason)
        return status_of(self.hit, key, name)


def to_lookup_result(call: Call, outcome: Hit | Miss, seconds: float | None = None) -> LookupResult:
    """Return the result of a lookup that was made just now."""
    if isinstance(outcome, Hit):
        return LookupResult(call, hit=outcome, seconds=seconds)
    return LookupResult(
        call,
        position=outcome.position,
        at=time.time(),
        reason=outcome.reason,
        lease=outcome.lease,
        seconds=seconds,
    )
