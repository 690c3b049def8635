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

    ``traits`` are those that its entry keeps (``core.traits``); empty until it is about to run.
    """

    task: str
    key: str
    policy: Policy
    tags: tuple[str, ...] = ()
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
