"""Leases: the right to compute one key now (promises C1 to C5).

The holder of a key's lease *leads*, the others *follow*. A lease is owned, so no process renews or
ends another's; it is short and renewed, so no follower waits for a dead leader: when it lapses, a
follower takes over. It has the log's position from before its run, so that calls made after an
invalidation don't join it (promise I2).
"""

from __future__ import annotations

from enum import StrEnum

from ..record import record
from .entry import Position


class Stage(StrEnum):
    """The stage of a lease's holder."""

    #: A producer sends a message after a miss. Short, and not renewed.
    RESERVED = "reserved"
    #: A worker has the message, which waits for the pool.
    QUEUED = "queued"
    #: The call runs.
    RUNNING = "running"
    #: The last run left no result that could be shared: equal calls run, each for itself.
    UNSHARED = "unshared"


@record(kw_only=True)
class Claim:
    """A claim to the lease of a key, sent along with a look.

    Attributes:
        owner: The claimant: a token of its own.
        stage: The stage of the lease that it claims.
        ttl: Seconds that the lease lasts without being renewed.
        reservation: Owner of a reservation that was made for this very call.
        overtakes: Seconds: a reservation of another call with no more left is taken over, as its
            message waits and this call is ready to run.
        newest_ban: Sequence of the newest pattern ban on the key that the claimant knows of.
        regardless: Whether a valid entry doesn't count, as the claimant can't use it.
        takes_queued: Whether it takes over the lease of a call that is queued elsewhere, as this
            call can run at once (promise C8).
    """

    owner: str
    stage: Stage
    ttl: float
    reservation: str = ""
    overtakes: float = 0.0
    newest_ban: int = 0
    regardless: bool = False
    takes_queued: bool = False


@record
class Lease:
    """The reply to a claim.

    Attributes:
        owner: The claim's owner if the lease was given; else empty.
        position: The log's position when the lease was given, for the entry.
        stage: Stage of the lease in force; None when a valid entry makes it needless.
        remaining: Seconds until the lease in force lapses, unless it is renewed.
    """

    owner: str
    position: Position | None
    stage: Stage | None
    remaining: float = 0.0

    @property
    def is_ours(self) -> bool:
        """Whether the caller leads."""
        return bool(self.owner)

    @property
    def is_followed(self) -> bool:
        """Whether another call leads."""
        return not self.owner and self.stage not in (None, Stage.UNSHARED)


@record
class Holding:
    """A lease that this process holds and renews."""

    key: str
    owner: str
    stage: Stage


@record
class HeldLease:
    """A lease in force, in a store."""

    owner: str
    stage: Stage
    born: Position
    remaining: float


def may_take(claim: Claim, held: HeldLease, newest_mark: int, now: Position) -> bool:
    """Whether a claim beats the lease in force. The rule of ``take.lua``, for other stores.

    Args:
        claim: The claim.
        held: The lease.
        newest_mark: The highest mark on the key.
        now: The log's position.
    """
    if held.owner == claim.owner:
        return True
    newest = max(newest_mark, claim.newest_ban)
    if held.born.incarnation != now.incarnation or not newest <= held.born.sequence <= now.sequence:
        return True  # its run is outdated: later calls don't join it
    if held.stage is Stage.QUEUED:
        return claim.takes_queued
    if held.stage is not Stage.RESERVED:
        return False
    return held.owner == claim.reservation or held.remaining <= claim.overtakes


def waits(lease: Lease | None, *, waited: float, patience: float, queued_patience: float) -> bool:
    """Whether a caller waits for an item that it hasn't found, or runs it.

    A batch runs what it leads before it waits for what others lead, so that no two wait for each
    other.

    Args:
        lease: The reply to the claim for the item; None when none was made.
        waited: Seconds that the caller has waited so far.
        patience: Seconds that it waits at most.
        queued_patience: Seconds that it waits at most for a leader that isn't running yet.
    """
    if lease is None or not lease.is_followed:
        return False
    return waited < (patience if lease.stage is Stage.RUNNING else min(patience, queued_patience))
