"""The decision what to do with what was found: a value, which the engine acts on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from .entry import Entry, Position
from .marks import Ban, is_valid
from .policy import Policy


class Verdict(StrEnum):
    """What an entry is worth to a call. All but ``FRESH`` name the reason of a miss."""

    FRESH = "fresh"
    ABSENT = "absent"
    EXPIRED = "expired"
    INVALIDATED = "invalidated"
    SERIALIZER = "serializer"


def decide(
    entry: Entry | None,
    remaining: float,
    marks: dict[str, int],
    now: Position,
    policy: Policy,
    *,
    bans: Iterable[Ban] = (),
) -> Verdict:
    """Judge an entry.

    Args:
        entry: What was found, or None.
        remaining: Seconds until it expires; the limits are absolute, reading never extends them.
        marks: The marks on it, as far as they are set.
        now: The log's position.
        policy: The task's policy.
        bans: All bans, newest first.
    """
    if entry is None:
        return Verdict.ABSENT
    if remaining <= 0:
        return Verdict.EXPIRED
    if not is_valid(entry, marks, now, bans):
        return Verdict.INVALIDATED
    if (entry.serializer, entry.compression) != (policy.serializer, policy.compression):
        return Verdict.SERIALIZER
    return Verdict.FRESH
