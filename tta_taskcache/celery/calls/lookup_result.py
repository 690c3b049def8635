"""What looking for the answer to a call has found."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ...cache.outcome import Call, Hit, Miss
from ...core.entry import Position
from ...core.lease import Lease
from ...core.option_values import Site
from .status import CacheStatus

#: The reason of a miss that was asked for.
REFRESH = "refresh"

#: The reason, and the mode, of a call that passes the cache by, which is slower than the call.
SLOW = "slow"

#: The name under which lookups of ``task.cache`` are counted, which happen at no site.
DIRECT = "direct"


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What a site found out about a call.

    Attributes:
        call: The call, or None when it can't be cached.
        hit: The answer, or None.
        position: For a miss: the log's position to store a result with.
        at: For a miss in L2: when that was (Unix seconds).
        reason: For a miss or bypass: why.
        lease: What came of the claim to lead, if one was made.
        instead: What the call could be answered with, and isn't: it runs, to be compared with it.
        seconds: How long the look took, when several calls were looked up: this one's share.
        looked_at: When several calls were looked up: when that began (monotonic seconds).
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

    @property
    def outcome(self) -> Hit | Miss:
        """What the look found."""
        return self.hit or Miss(self.reason, self.position, self.lease)

    @property
    def owner(self) -> str:
        """Owner of the lease when this call leads; else empty."""
        return self.lease.owner if self.lease is not None else ""

    @property
    def follows(self) -> bool:
        """Whether an equal call is in flight elsewhere."""
        return self.lease is not None and self.lease.is_followed

    def status(self, site: Site | None) -> CacheStatus:
        """What a user sees of it."""
        key = self.call.key if self.call else None
        name = site.value if site else None
        if self.hit is None:
            return CacheStatus(hit=False, key=key, site=name, reason=self.reason)
        return CacheStatus(
            hit=True,
            key=key,
            site=name,
            layer=self.hit.layer,
            stale=self.hit.verdict.is_stale,
            age=self.hit.age,
            task_id=self.hit.entry.task_id,
        )


def to_lookup_result(call: Call, outcome: Hit | Miss, seconds: float | None = None) -> LookupResult:
    """What a site has seen when it looked just now."""
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
