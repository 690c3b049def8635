"""Metrics of a process that has no use for prometheus_client, or not yet.

A process that only calls tasks never imports it. What happens is counted all the same, in memory of
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
from weakref import WeakSet

from ..core.events import Event
from .cells import CellSink, MemoryCells
from .event_metrics import measure

if TYPE_CHECKING:
    from .prometheus_metrics import MeasuredMemory, Metrics

logger = logging.getLogger("tta_taskcache")

#: What is needed to serve metrics.
PACKAGE = "prometheus_client"

#: Set where prometheus_client keeps the numbers of several processes in files.
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class DeferredMetrics:
    """The metrics of a process; prometheus_client's from the time on that this is loaded.

    Args:
        namespace: In front of their names.
    """

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.memories: WeakSet[MeasuredMemory] = WeakSet()
        self._metrics: Metrics | None = None
        self._is_unusable = False
        self._count_in(MemoryCells())

    def _count_in(self, cells: MemoryCells) -> None:
        self.cells, self._sink = cells, CellSink(cells)

    def __call__(self, event: Event) -> None:
        """Take an event into account."""
        metrics = self._metrics
        if metrics is None and sys.modules.get(PACKAGE) is not None and not self._is_unusable:
            metrics = self._load()
        if metrics is None:
            measure(event, self._sink)
        else:
            metrics(event)

    def watch(self, memory: MeasuredMemory) -> None:
        """Measure this memory, for as long as it is there."""
        self.memories.add(memory)

    def _load(self) -> Metrics | None:
        try:
            from .prometheus_metrics import metrics_of  # noqa: PLC0415 - only where it is used
        except ImportError as error:  # an old one, say: no task is to fail for that (promise F1)
            logger.warning("metrics aren't in prometheus_client's registry: %s", error)
            self._is_unusable = True
        else:
            self._metrics = metrics_of(self.namespace)
        return self._metrics

    def begin_child(self) -> None:
        """In a forked process: start anew. What the parent had counted, the parent tells."""
        if self._metrics is None:
            self._count_in(MemoryCells())


_all: dict[str, DeferredMetrics] = {}


def deferred_metrics_of(namespace: str) -> DeferredMetrics:
    """What counts for this namespace in this process, made when first asked for."""
    if os.environ.get(MULTIPROCESS):
        # Its files are the only place where others find what happens here. It may be missing.
        with suppress(ImportError):
            import_module(PACKAGE)
    return _all.setdefault(namespace, DeferredMetrics(namespace))


def _begin_child() -> None:
    for metrics in list(_all.values()):
        metrics.begin_child()


os.register_at_fork(after_in_child=_begin_child)
