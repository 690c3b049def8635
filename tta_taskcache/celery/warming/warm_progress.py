"""The progress of a warming, and its report."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from celery.utils import uuid

from ...cache.runs.request_directives import Mode
from ...core.record import record


@record(kw_only=True)
class WarmReport:
    """The report of a warming: its calls by outcome.

    Attributes:
        total: Calls that were read.
        fresh: Calls whose result was stored already: skipped.
        uncacheable: Calls that can't be cached, as a header is missing for instance: skipped.
        sent: Calls that were sent.
        stored: Sent calls whose result is stored now.
        unstored: Sent calls that ran, with a result that isn't stored (``cache_if``).
        failed: Sent calls that failed or were revoked.
        lost: Sent calls that were given up: the worker died, or none took them within an hour.
        seconds: Seconds that the warming took.
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
    """A call in flight.

    Attributes:
        key: Its key.
        mode: What it asked of the cache.
        at: When it was sent (Unix seconds).
        led: Whether a worker held its lease at some check.
        gone: Number of checks since then without lease and result.
        retried: Whether its worker has reported a retry.
    """

    key: str
    mode: Mode
    at: float
    led: bool = False
    gone: int = 0
    retried: bool = False


@dataclass(slots=True)
class WarmProgress:
    """The progress of a warming: all that another process needs to go on with it."""

    run: str = field(default_factory=uuid)
    done: WarmReport = field(default_factory=WarmReport)
    flight: dict[str, SentCall] = field(default_factory=dict)

    def dump(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return asdict(self)

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> WarmProgress:
        """Read the return value of ``dump``."""
        flight = {task_id: SentCall(**sent) for task_id, sent in dumped["flight"].items()}
        return cls(dumped["run"], WarmReport(**dumped["done"]), flight)

    def count(self, **more: float) -> None:
        """Add to the report, by field."""
        self.done = replace(self.done, **{n: getattr(self.done, n) + by for n, by in more.items()})
