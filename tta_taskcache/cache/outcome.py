"""What the engine is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core import marks
from ..core.decide import Verdict
from ..core.entry import Entry, Position
from ..core.lease import Lease
from ..core.policy import Policy


@dataclass(frozen=True, slots=True)
class Call:
    """A call that can be cached: its task's name and policy, its key and tags.

    With ``verify``, a result that can be verified isn't served: the call runs, too.
    ``traits`` are those that its entry keeps (``core.traits``); empty until it is about to run.
    """

    task: str
    key: str
    policy: Policy
    tags: tuple[str, ...] = ()
    verify: bool = False
    traits: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """Names of the marks that can end its entry; pattern bans aside."""
        return marks.of_call(self.task, self.key, self.tags)


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored result.

    Attributes:
        entry: Its entry.
        value: The result, an object of the caller's own.
        layer: Where it was found.
        remaining: Seconds until it expires.
        verdict: Why it answers: fresh, or stale within which window.
        refresh: Whether it is on this caller to have a refresh run.
    """

    entry: Entry
    value: Any
    layer: str
    remaining: float
    verdict: Verdict = Verdict.FRESH
    refresh: bool = False

    @property
    def age(self) -> float:
        """Seconds since it was stored."""
        return max(0.0, self.entry.lifetime - self.remaining)

    @property
    def fresh_left(self) -> float:
        """Seconds until it is stale; less than 0 when it is."""
        return self.remaining - (self.entry.lifetime - self.entry.fresh_for)

    @property
    def needs_no_refresh(self) -> bool:
        """Whether nobody would ask for a refresh, by whatever chance: it is too new for that."""
        return self.verdict is Verdict.FRESH and self.fresh_left >= self.entry.run_seconds

    @property
    def can_be_verified(self) -> bool:
        """Whether a run should return the same: what is stale or a failure, it needn't."""
        fresh = self.verdict in (Verdict.FRESH, Verdict.EARLY)
        return fresh and not self.entry.is_failure


@dataclass(frozen=True, slots=True)
class Miss:
    """No stored result.

    Attributes:
        reason: Why.
        position: The log's position at the time; a result computed from now on is stored with it.
            None when nothing may be stored.
        lease: What came of the claim to lead; None when none was made, or the store didn't answer.
    """

    reason: str
    position: Position | None
    lease: Lease | None = None
