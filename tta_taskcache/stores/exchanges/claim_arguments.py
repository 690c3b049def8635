"""Claims on Redis: the arguments and replies of ``take.lua``."""

from __future__ import annotations

from typing import Any

from ...core.entries.entry import Position
from ...core.entries.lease import Claim, Lease, Stage


def milliseconds(seconds: float) -> int:
    """Convert seconds to whole milliseconds, at least one."""
    return max(1, int(seconds * 1000))


def arguments(claim: Claim, *, own_marks: bool = False) -> list[Any]:
    """Return the script's first arguments.

    Args:
        claim: The claim.
        own_marks: Whether the marks that an entry names itself end it for the claim, too.
    """
    return [
        claim.owner,
        claim.stage.value,
        milliseconds(claim.ttl),
        claim.reservation,
        milliseconds(claim.overtakes) if claim.overtakes else -1,
        claim.newest_ban,
        ("r" if claim.regardless else "")
        + ("q" if claim.takes_queued else "")
        + ("m" if own_marks else ""),
    ]


def read(reply: list[Any], claim: Claim) -> Lease:
    """Read the script's reply."""
    match reply:
        case [b"ours", incarnation, sequence]:
            position = Position(incarnation.decode(), int(sequence))
            return Lease(claim.owner, position, claim.stage, claim.ttl)
        case [b"held", stage, remaining]:
            return Lease("", None, Stage(stage.decode()), remaining / 1000)
    return Lease("", None, None)
