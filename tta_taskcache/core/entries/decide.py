"""The decision on an entry: a verdict, which the engine acts on.

The stale windows are those of RFC 5861. All limits are absolute: reading never extends one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from math import log

from ..options.policy import Policy
from .entry import Entry, Position
from .marks import Ban, is_made_stale, is_valid


class Verdict(StrEnum):
    """The verdict on an entry.

    The first four answer the call: ``EARLY`` and ``STALE`` ask for a refresh, ``STALE_IF_ERROR``
    stands in for a run that has just failed. The others are reasons of a miss; ``ENDED`` becomes an
    answer if the run fails.
    """

    FRESH = "fresh"
    EARLY = "early"
    STALE = "stale"
    STALE_IF_ERROR = "stale-if-error"
    ENDED = "ended"
    ABSENT = "absent"
    EXPIRED = "expired"
    INVALIDATED = "invalidated"
    SERIALIZER = "serializer"

    @property
    def answers(self) -> bool:
        """Whether the entry answers the call."""
        return self in _ANSWERS

    @property
    def asks_for_refresh(self) -> bool:
        """Whether a refresh should run while the entry is served."""
        return self in (Verdict.EARLY, Verdict.STALE)

    @property
    def is_stale(self) -> bool:
        """Whether a served entry is past its ttl."""
        return self in (Verdict.STALE, Verdict.STALE_IF_ERROR)


_ANSWERS = frozenset((Verdict.FRESH, Verdict.EARLY, Verdict.STALE, Verdict.STALE_IF_ERROR))


def judge_age(entry: Entry, remaining: float, policy: Policy, draw: float = 1.0) -> Verdict:
    """Judge an entry by its age.

    Args:
        entry: The entry.
        remaining: Seconds until it expires.
        policy: The task's policy.
        draw: A random number from (0, 1], which decides on an early refresh.
    """
    fresh_left = remaining - (entry.lifetime - entry.fresh_for)
    revalidated_for, kept_for = _windows(entry, policy)
    if remaining <= 0:
        return Verdict.EXPIRED
    if fresh_left > 0:
        is_early = revalidated_for and is_due_early(entry, fresh_left, draw)
        return Verdict.EARLY if is_early else Verdict.FRESH
    if -fresh_left < revalidated_for:
        return Verdict.STALE
    if -fresh_left < kept_for:
        return Verdict.STALE_IF_ERROR if remaining * 1000 > entry.served_above_ms else Verdict.ENDED
    return Verdict.EXPIRED


def is_due_early(entry: Entry, fresh_left: float, draw: float) -> bool:
    """Whether this reader has an entry refreshed before it is stale.

    XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB
    2015), within one run time of the end: the more often a key is read the earlier XFetch
    refreshes it, without a bound, and each refresh costs a run.
    """
    return fresh_left < min(1.0, -log(draw)) * entry.run_seconds


def decide(
    entry: Entry | None,
    remaining: float,
    marks: dict[str, int],
    now: Position,
    policy: Policy,
    *,
    bans: Iterable[Ban] = (),
    names: Iterable[str] = (),
    draw: float = 1.0,
) -> Verdict:
    """Judge an entry.

    Args:
        entry: The entry; None when nothing is stored.
        remaining: Seconds until it expires.
        marks: The marks that are set on it.
        now: The log's position.
        policy: The task's policy.
        bans: All bans, newest first.
        names: The marks of the call, which may differ from those of the entry.
        draw: As of ``judge_age``.
    """
    if entry is None:
        return Verdict.ABSENT
    if remaining <= 0:
        return Verdict.EXPIRED
    if not is_valid(entry, marks, now, bans, names):
        return Verdict.INVALIDATED
    if (entry.serializer, entry.compression) != (policy.serializer, policy.compression):
        return Verdict.SERIALIZER
    verdict = judge_age(entry, remaining, policy, draw)
    is_fresh = verdict in (Verdict.FRESH, Verdict.EARLY)
    if is_fresh and (marks or bans) and is_made_stale(entry, marks, bans, names):
        return _stale_early(*_windows(entry, policy))
    return verdict


def _stale_early(revalidated_for: float, kept_for: float) -> Verdict:
    """Judge an entry that a soft invalidation has made stale (promise D2)."""
    if revalidated_for:
        return Verdict.STALE
    return Verdict.ENDED if kept_for else Verdict.INVALIDATED


def _windows(entry: Entry, policy: Policy) -> tuple[float, float]:
    """Return the stale windows: those that its run has decided, or else the policy's."""
    return entry.windows or (policy.stale_while_revalidate, policy.stale_if_error)
