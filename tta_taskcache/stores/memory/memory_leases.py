"""The leases of a store in memory. Its callers hold the store's lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...core.entries.entry import Position
from ...core.entries.lease import Claim, HeldLease, Holding, Lease, Stage, may_take
from ...core.record import record
from ..protocol import Release

#: With more leases than this, those that have lapsed are forgotten.
MAX_LEASES = 10_000


@record
class _StoredLease:
    owner: str
    stage: Stage
    born: Position
    deadline: float


class MemoryLeases:
    """Leases by key.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._stored: dict[str, _StoredLease] = {}

    def take(self, key: str, claim: Claim, newest: int, position: Position) -> Lease:
        """Take the lease of a key, or return whose it is.

        Args:
            key: The key.
            claim: The claim to it.
            newest: The newest mark on the call, as a sequence number.
            position: The log's position.
        """
        now = self._clock()
        other = self._stored.get(key)
        remaining = other.deadline - now if other else 0.0
        if other is not None and remaining > 0:
            held = HeldLease(other.owner, other.stage, other.born, remaining)
            if not may_take(claim, held, newest, position):
                return Lease("", None, other.stage, remaining)
        if len(self._stored) > MAX_LEASES:
            self._stored = {k: v for k, v in self._stored.items() if v.deadline > now}
        self._stored[key] = _StoredLease(claim.owner, claim.stage, position, now + claim.ttl)
        return Lease(claim.owner, position, claim.stage, claim.ttl)

    def owns(self, key: str, owner: str) -> bool:
        """Whether a lease is an owner's, and hasn't lapsed."""
        held = self._stored.get(key)
        return held is not None and held.owner == owner and held.deadline > self._clock()

    def renew(self, held: Holding, ttl: float) -> bool:
        """Renew a lease; return whether it was still its owner's."""
        if not self.owns(held.key, held.owner):
            return False
        deadline = self._clock() + ttl
        self._stored[held.key] = replace(
            self._stored[held.key], stage=held.stage, deadline=deadline
        )
        return True

    def release(self, release: Release) -> bool:
        """End a lease, if it is the owner's; return whether it was."""
        if not self.owns(release.key, release.owner):
            return False
        lease = self._stored.pop(release.key)
        if release.unshared:
            deadline = self._clock() + release.unshared
            self._stored[release.key] = _StoredLease("", Stage.UNSHARED, lease.born, deadline)
        return True

    def end(self, key: str) -> None:
        """End the lease of a key, whatever its owner."""
        self._stored.pop(key, None)
