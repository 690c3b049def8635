"""Metrics for Prometheus: an observer of events.

The metrics are in prometheus_client's default registry, so the endpoint of a web process serves
them, too. Forked processes count into memory shared with their parent after ``Metrics.share``. With
PROMETHEUS_MULTIPROC_DIR, they are prometheus_client's own values in its own files, as its
multiprocess mode needs them.
"""

from __future__ import annotations

import logging
import os
from collections import Counter as Sums
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import prometheus_client as client
from prometheus_client import values
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from ...core.events import Event, Filled, Invalidated, Lookup
from . import metric_families as f
from .cells import GAUGE, SUM, Cells, CellSink, Key, MemoryCells
from .event_metrics import Sink, measure
from .hit_tally import At
from .metric_families import FAMILIES, Family, MetricKind
from .process_counts import MeasuredMemory, ProcessCounts, counts_of
from .shared_cells import PageCells, SharedFile

logger = logging.getLogger("tta_taskcache")


def is_multiprocess() -> bool:
    """Whether prometheus_client was started in its multiprocess mode."""
    return bool(getattr(values.ValueClass, "_multiprocess", False))


class Metrics(Collector):
    """The metrics of this process. Safe for threads, forks and interruptions.

    Args:
        namespace: Prefix of their names.
        counts: The counts that it shows, from before prometheus_client was imported, too.
    """

    def __init__(self, namespace: str, counts: ProcessCounts | None = None) -> None:
        self.namespace = namespace
        counts = ProcessCounts() if counts is None else counts
        self._memories = counts.memories
        self._shared: SharedFile | None = None
        self._use(counts.cells)

    def _use(self, cells: Cells) -> None:
        """Count in cells, unless prometheus_client has to count."""
        self._cells = cells
        native = is_multiprocess()
        self._sink: Sink = NativeSink(self.namespace) if native else CellSink(cells)
        self._is_read_here = isinstance(cells, MemoryCells) and not native

    def __call__(self, event: Event) -> None:
        """Measure an event."""
        try:
            measure(event, self._sink)
            # Other processes can't read this one's memory: it measures after each change.
            if not self._is_read_here and _changes_memory(event):
                self._put_memory(self._sink)
        except OSError as error:  # no room for a page: no task fails for that (promise F1)
            logger.warning("what this process does is missing in the metrics: %s", error)
            self._use(MemoryCells())

    def count_hit(self, at: At, seconds: float, run_seconds: float, cost: float) -> bool:
        """Count a fresh hit without an event; False where that isn't possible."""
        cells = self._cells
        if not self._is_read_here or not isinstance(cells, MemoryCells):
            return False
        cells.hits.add(at, seconds, run_seconds, cost)
        return True

    def watch(self, memory: MeasuredMemory) -> None:
        """Measure a memory, for as long as it lives."""
        self._memories.add(memory)

    def _put_memory(self, sink: Sink) -> None:
        memories = list(self._memories)
        sink.put(f.L1_BYTES, sum(memory.size for memory in memories))
        sink.put(f.L1_ENTRIES, sum(len(memory) for memory in memories))

    def share(self) -> None:
        """Share memory with the processes that are forked from now on, which count in it.

        Raises:
            OSError: There is no memory to share.
        """
        if self._shared is None and not is_multiprocess():
            self._shared = SharedFile()

    def begin_child(self) -> None:
        """Start anew in a forked process: the parent's counts stay the parent's."""
        if not is_multiprocess():  # its values handle forks themselves
            self._use(MemoryCells() if self._shared is None else PageCells(self._shared))

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values, for the registry."""
        return [_empty(family, self.namespace) for family in FAMILIES]

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, with the shares of forked processes."""
        if isinstance(self._sink, NativeSink):
            return
        if self._is_read_here:
            self._put_memory(self._sink)
        numbers: Sums[Key] = Sums(self._cells.read())
        if self._shared is not None and isinstance(self._cells, MemoryCells):
            numbers.update(self._shared.read())
        yield from _families(self.namespace, numbers)


def _changes_memory(event: Event) -> bool:
    match event:
        case Lookup(layer="l1"):
            return False
        case Lookup() | Filled() | Invalidated():
            return True
    return False


class NativeSink:
    """Adds measurements to prometheus_client's own values.

    Args:
        namespace: Prefix of their names.
    """

    def __init__(self, namespace: str) -> None:
        self._metrics = {family.name: _native(family, namespace) for family in FAMILIES}

    def inc(self, family: Family, labels: Key = (), amount: float = 1.0) -> None:
        """Add to a counter."""
        metric = self._metrics[family.name]
        (metric.labels(*labels) if labels else metric).inc(amount)  # type: ignore[union-attr]

    def observe(self, family: Family, labels: Key, value: float) -> None:
        """Add an observation to a histogram."""
        metric = self._metrics[family.name]
        (metric.labels(*labels) if labels else metric).observe(value)  # type: ignore[union-attr]

    def put(self, family: Family, value: float) -> None:
        """Set a gauge of this process."""
        self._metrics[family.name].set(value)  # type: ignore[union-attr]  # it is one


def _native(family: Family, namespace: str) -> client.Counter | client.Gauge | client.Histogram:
    about = (family.name, family.help, family.labels, namespace)
    match family.kind:
        case MetricKind.COUNTER:
            return client.Counter(*about, registry=None)
        case MetricKind.GAUGE:
            return client.Gauge(*about, registry=None, multiprocess_mode="livesum")
        case MetricKind.HISTOGRAM:
            return client.Histogram(*about, registry=None, buckets=family.buckets)


def _empty(
    family: Family, namespace: str
) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    name = f"{namespace}_{family.name}"
    match family.kind:
        case MetricKind.COUNTER:
            return CounterMetricFamily(name, family.help, labels=family.labels)
        case MetricKind.GAUGE:
            return GaugeMetricFamily(name, family.help, labels=family.labels)
        case MetricKind.HISTOGRAM:
            return HistogramMetricFamily(name, family.help, labels=family.labels)


def _families(namespace: str, numbers: Mapping[Key, Any]) -> Iterator[Metric]:
    by_name: dict[str, dict[Key, float]] = {family.name: {} for family in FAMILIES}
    for key, number in numbers.items():
        plain = key[1:] if key[0] == GAUGE else key
        by_name[plain[0]][plain[1:]] = number
    for family in FAMILIES:
        found, metric = by_name[family.name], _empty(family, namespace)
        if isinstance(metric, HistogramMetricFamily):
            _add_histogram(metric, family, found)
        else:
            # A metric without labels starts at 0: alerts can tell that from no value.
            for labels, number in sorted((found or ({} if family.labels else {(): 0.0})).items()):
                metric.add_metric(labels, number)
        yield metric


def _add_histogram(metric: HistogramMetricFamily, family: Family, found: dict[Key, float]) -> None:
    bounds = [*(str(bound) for bound in family.buckets), "+Inf"]
    for labels in sorted({key[:-1] for key in found} | (set() if family.labels else {()})):
        total, buckets = 0.0, []
        for number, bound in enumerate(bounds):
            total += found.get((*labels, str(number)), 0.0)
            buckets.append((bound, total))
        metric.add_metric(labels, buckets, found.get((*labels, SUM), 0.0))


_all: dict[str, Metrics] = {}


def metrics_of(namespace: str) -> Metrics:
    """Return the metrics of this process with a namespace, registered at the first call."""
    found = _all.get(namespace)
    if found is None:
        found = _all.setdefault(namespace, Metrics(namespace, counts_of(namespace)))
        try:
            if not is_multiprocess():
                client.REGISTRY.register(found)
        except ValueError as error:  # its names are taken
            logger.warning("metrics aren't in the default registry: %s", error)
    return found


def _begin_child() -> None:
    for metrics in list(_all.values()):
        metrics.begin_child()


os.register_at_fork(after_in_child=_begin_child)
