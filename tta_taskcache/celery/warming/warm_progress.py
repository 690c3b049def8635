"""How far a warming has come."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from celery.utils import uuid

from ..calls.call_request import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmReport:
    """What a warming did.

    Attributes:
        total: Calls that it has come to.
        fresh: Those that were stored already, and skipped.
        uncacheable: Those that can't be cached (a header is missing, say), and were skipped.
        sent: Those that were sent.
        stored: Of those, the ones whose result is stored now.
        unstored: The ones that ran, with a result that isn't stored (``cache_if``, say).
        failed: The ones that failed, or were revoked.
        lost: The ones that were given up: the worker died, or none came to it within an hour.
        seconds: How long it took.
    """

    total: int = 0
    fresh: int = 0
    uncacheable: int = 0
    sent: int = 0
    stored: int = 0
    unstored: int = 0
    failed: int = 0
    lost: int = 0
    seconds: float = 0.0

    @property
    def in_flight(self) -> int:
        """Calls that were sent and aren't done."""
        return self.sent - self.stored - self.unstored - self.failed - self.lost


@dataclass(slots=True)
class SentCall:
    """A call on its way.

    Attributes:
        key: Its key.
        mode: What it asked of the cache.
        at: When it was sent (Unix seconds).
        led: Whether a worker was seen at it.
        gone: How often since then nobody was, though there is no result.
        retried: Whether it has said that it will be tried again.
    """

    key: str
    mode: Mode
    at: float
    led: bool = False
    gone: int = 0
    retried: bool = False


@dataclass(slots=True)
class WarmProgress:
    """How far a warming has come: all that another process needs to go on with it."""

    run: str = field(default_factory=uuid)
    done: WarmReport = field(default_factory=WarmReport)
    flight: dict[str, SentCall] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """It in JSON's types."""
        return asdict(self)

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> WarmProgress:
        """Read what ``dump`` made."""
        flight = {task_id: SentCall(**sent) for task_id, sent in dumped["flight"].items()}
        return cls(dumped["run"], WarmReport(**dumped["done"]), flight)

    def count(self, **more: float) -> None:
        """Add to what is done."""
        self.done = replace(self.done, **{n: getattr(self.done, n) + by for n, by in more.items()})
