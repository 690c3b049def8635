"""The feed of events to a process's own observers, and to the user's."""

from __future__ import annotations

import logging
from typing import Protocol

from ..core.events import Event, Observe
from .counters import Counters
from .logs import LogObserver, logger
from .metrics.hit_tally import At
from .observers import Observers


class EventMetrics(Protocol):
    """The metrics of a process."""

    def __call__(self, event: Event) -> None:
        """Measure an event."""
        ...

    def count_hit(self, at: At, seconds: float, run_seconds: float, cost: float) -> bool:
        """Count a fresh hit without an event; False where that isn't possible."""
        ...


class EventFeed:
    """Sends each event to counters, metrics, log and the user's observers.

    Args:
        counters: The counters.
        metrics: The metrics.
        observers: The user's observers.
    """

    def __init__(
        self, counters: Counters, metrics: EventMetrics, observers: Observers | None = None
    ) -> None:
        self._counters = counters
        self._metrics = metrics
        self._log: Observe = LogObserver()
        self._observers = observers

    def __call__(self, event: Event) -> None:
        """Send an event."""
        self._counters(event)
        self._metrics(event)
        self._log(event)
        if self._observers:
            self._observers(event)

    def count_hit(self, at: At, seconds: float, run_seconds: float, cost: float) -> bool:
        """Count a fresh hit without making an event of it, if nobody wants to see that.

        Args:
            at: The task's name, the site that looked, the layer that answered.
            seconds: Seconds that the lookup took.
            run_seconds: Run time of the entry.
            cost: Cost of the entry's run.

        Returns:
            False when an event has to be sent: nothing was counted.
        """
        if self._observers or logger.isEnabledFor(logging.DEBUG):
            return False
        if not self._metrics.count_hit(at, seconds, run_seconds, cost):
            return False
        self._counters.hits.add(at, seconds, run_seconds, cost)
        return True
