"""Metrics of a process that hasn't imported prometheus_client, or not yet.

A process that only calls tasks never imports it. Events are counted all the same, in cells of
our own: when the process has imported prometheus_client by itself, to serve metrics, the next event
registers them with its default registry, with all that was counted before.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

from ...core.events import Event
from .cells import CellSink, MemoryCells
from .event_metrics import measure
from .hit_tally import At
from .process_counts import MeasuredMemory, counts_of

if TYPE_CHECKING:
    from .prometheus_metrics import Metrics

logger = logging.getLogger("tta_taskcache")

#: What is needed to serve metrics.
PACKAGE = "prometheus_client"

#: Set where prometheus_client keeps the numbers of several processes in files.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class DeferredMetrics:
    """The metrics of a process: prometheus_client's, once that is imported.

    Args:
        namespace: Prefix of their names.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._counts = counts_of(namespace)
        self._sink = CellSink(self._counts.cells)
        self._metrics: Metrics | None = None
        self._is_unusable = False

    def __call__(self, event: Event) -> None:
        """Measure an event."""
        metrics = self._metrics
        if metrics is None and sys.modules.get(PACKAGE) is not None and not self._is_unusable:
            metrics = self._load()
        if metrics is None:
            measure(event, self._sink)
        else:
            metrics(event)

    def count_hit(self, at: At, seconds: float, run_seconds: float, cost: float) -> bool:
        """Count a fresh hit without an event; False where that isn't possible."""
        metrics = self._metrics
        if metrics is None:
            if PACKAGE in sys.modules and not self._is_unusable:
                return False  # the event registers them
            self._counts.cells.hits.add(at, seconds, run_seconds, cost)
            return True
        return metrics.count_hit(at, seconds, run_seconds, cost)

    def watch(self, memory: MeasuredMemory) -> None:
        """Measure a memory, for as long as it lives."""
        self._counts.memories.add(memory)

    def _load(self) -> Metrics | None:
        try:
            from .prometheus_metrics import metrics_of  # noqa: PLC0415 - only where it is used
        except ImportError as error:  # an old version, say: no task fails for that (promise F1)
            logger.warning("metrics aren't in prometheus_client's registry: %s", error)
            self._is_unusable = True
        else:
            self._metrics = metrics_of(self.namespace)
        return self._metrics

    def begin_child(self) -> None:
        """Begin anew in a forked process: its parent shows what it had counted."""
        if self._metrics is None:
            self._counts.cells = MemoryCells()
            self._sink = CellSink(self._counts.cells)


_all: dict[str, DeferredMetrics] = {}


def deferred_metrics_of(namespace: str) -> DeferredMetrics:
    """Return the metrics of this process with a namespace, made at the first call."""
    if os.environ.get(MULTIPROCESS):
        # Its files are all that other processes read. The package may be missing.
        with suppress(ImportError):
            import_module(PACKAGE)
    return _all.setdefault(namespace, DeferredMetrics(namespace))


def _begin_child() -> None:
    for metrics in list(_all.values()):
        metrics.begin_child()


os.register_at_fork(after_in_child=_begin_child)
