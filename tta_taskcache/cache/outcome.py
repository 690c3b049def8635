"""The engine's questions and answers: calls, hits and misses."""

from __future__ import annotations

from dataclasses import field
from typing import Any

from ..core.entries import marks
from ..core.entries.decide import Verdict
from ..core.entries.entry import Entry, Position
from ..core.entries.lease import Lease
from ..core.options.policy import Policy
from ..core.record import record


@record
class Call:
    """A call that has a key.

    Attributes:
        task: The task's name.
        key: Its key.
        policy: The task's policy.
        tags: Its tags.
        verify: Whether a fresh result isn't served, as the call runs to be compared with it.
        max_age: Greatest age of an entry that answers it (s), which isn't stale, either; None for
            no bound (RFC 9111, section 5.2.1.1).
        traits: The traits that its entry keeps (``identity.traits``); empty until its run begins.
        marks: Names of the marks that can end its entry, besides pattern bans.
    """

    task: str
    key: str
    policy: Policy
    tags: tuple[str, ...] = ()
    verify: bool = False
    max_age: float | None = None
    traits: str = ""
    marks: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "marks", marks.of_call(self.task, self.key, self.tags))

    def accepts(self, entry: Entry, remaining: float, verdict: Verdict) -> bool:
        """Whether the call takes an answer of this age (RFC 9111, section 5.2.1.1)."""
        if self.max_age is None:
            return True
        return not verdict.is_stale and entry.lifetime - remaining <= self.max_age


@record
class Hit:
    """A stored result.

    Attributes:
        entry: Its entry.
        value: The result, an object of the caller's own.
        layer: The layer that it was found in, ``"l1"`` or ``"l2"``.
        remaining: Seconds until it expires.
        verdict: The verdict on its age: fresh, or stale within a window of RFC 5861.
        as_of: A position of the log at which it was valid.
        refresh: Whether the caller has to have it refreshed.
        similarity: Of a neighbour's result: cosine similarity of its text; None for the call's own.
        matched: Of a neighbour's result: its text; else empty.
    """

    entry: Entry
    value: Any
    layer: str
    remaining: float
    verdict: Verdict = Verdict.FRESH
    as_of: Position | None = None
    refresh: bool = False
    similarity: float | None = None
    matched: str = ""

    @property
    def age(self) -> float:
        """Seconds since it was stored."""
        return max(0.0, self.entry.lifetime - self.remaining)

    @property
    def fresh_left(self) -> float:
        """Seconds until it is stale; less than 0 when it is."""
        return self.remaining - (self.entry.lifetime - self.entry.fresh_for)

    @property
    def is_stale_early(self) -> bool:
        """Whether a soft invalidation has made it stale (promise D2)."""
        return self.verdict.is_stale and self.fresh_left > 0

    @property
    def needs_no_refresh(self) -> bool:
        """Whether it is too new for any reader to refresh it early, whatever its draw."""
        return self.verdict is Verdict.FRESH and self.fresh_left >= self.entry.run_seconds

    @property
    def can_be_verified(self) -> bool:
        """Whether a run should return the same: not for stale results and failures."""
        fresh = self.verdict in (Verdict.FRESH, Verdict.EARLY)
        return fresh and not self.entry.is_failure


@record
class Miss:
    """No stored result.

    Attributes:
        reason: The word under which it is counted.
        position: The log's position, which the result of a run from now on is stored with; None
            when nothing may be stored.
        lease: The reply to the claim; None when none was made, or the store didn't answer.
    """

    reason: str
    position: Position | None
    lease: Lease | None = None
