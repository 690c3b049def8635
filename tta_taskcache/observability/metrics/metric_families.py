"""The metrics: their names (without the namespace in front), labels, meaning and units.

``docs/metrics.md`` has the same table for people. Labels are bounded: names of tasks, sites and
layers, and the library's own words.
"""

from __future__ import annotations

from enum import StrEnum

from ...core.record import record


class MetricKind(StrEnum):
    """Types of metrics, of Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@record
class Family:
    """A metric.

    Attributes:
        name: Its name; prometheus_client adds ``_total`` to that of a counter.
        help: Its meaning.
        labels: Names of its labels.
        kind: Its type.
        buckets: Upper bounds of a histogram's buckets, without the last, which is infinite.
    """

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: MetricKind = MetricKind.COUNTER
    buckets: tuple[float, ...] = ()


def _histogram(name: str, what: str, labels: tuple[str, ...], *buckets: float) -> Family:
    return Family(name, what, labels, MetricKind.HISTOGRAM, buckets)


_TASK = ("task",)
_AT = ("task", "site")

HITS = Family("hits", "Calls that were answered from the cache.", (*_AT, "layer"))
MISSES = Family("misses", "Looks that didn't answer a call, by reason.", (*_AT, "reason"))
LATENCY = _histogram(
    "latency_seconds",
    "Time that one look took, by the layer that answered it (none for a miss).",
    (*_AT, "layer"),
    *(5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
STALE = Family("stale_served", "Hits past their ttl, by window.", ("task", "window"))
COALESCED = Family("coalesced", "Hits that waited for an equal call in flight.", _AT)
LEASE_WAIT = _histogram(
    "lease_wait_seconds",
    "Time that such calls waited for the holder of the lease.",
    _AT,
    *(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
FOLLOWERS = Family("followers", "Messages held for equal calls in flight.", kind=MetricKind.GAUGE)
FILLS = Family("fills", "Results that were stored.", _TASK)
FILLS_REFUSED = Family("fills_refused", "Results that weren't stored.", ("task", "reason"))
EVICTIONS = Family("evictions", "Entries that left the memory of a process for others.")
L1_BYTES = Family(
    "l1_bytes", "Size of the entries in the memory of processes.", kind=MetricKind.GAUGE
)
L1_ENTRIES = Family("l1_entries", "Entries in the memory of processes.", kind=MetricKind.GAUGE)
INVALIDATIONS = Family("invalidations", "Invalidations made here and acknowledged by the store.")
LAG = _histogram(
    "invalidation_lag_seconds",
    "Time for which memory may have answered after an invalidation that a process then read of.",
    (),
    *(1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0),
)
CIRCUIT_OPEN = Family(
    "circuit_open", "Processes that don't use the store now.", kind=MetricKind.GAUGE
)
CIRCUIT_OPENED = Family("circuit_opened", "How often processes stopped using the store.")
ERRORS = Family(
    "errors", "Faults of the cache, by operation. No task fails for them.", ("operation",)
)
RUN = _histogram(
    "run_seconds",
    "Time that runs took which returned.",
    _TASK,
    *(5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0),
)
RUN_COST = Family("run_cost", "Cost of these runs, in the unit of cache_cost.", _TASK)
SAVED_SECONDS = Family(
    "saved_seconds",
    "Run time of what hits stand for, less the time of their lookups; embed_seconds aside.",
    _TASK,
)
SAVED_COST = Family("saved_cost", "Cost of the runs that hits stand for; embed_cost aside.", _TASK)
COALESCED_SECONDS = Family(
    "coalesced_saved_seconds", "Run time of what coalesced calls got from others.", _TASK
)
COALESCED_COST = Family(
    "coalesced_saved_cost", "Cost of the runs that coalesced calls got from others.", _TASK
)
SHADOW_HITS = Family("shadow_hits", "Calls that would have been answered (shadow mode).", _TASK)
SHADOW_MISSES = Family("shadow_misses", "Calls that wouldn't have been answered.", _TASK)
SHADOW_SECONDS = Family("shadow_saved_seconds", "Seconds that would have been saved.", _TASK)
SHADOW_COST = Family("shadow_saved_cost", "Cost that would have been saved.", _TASK)
VERIFICATIONS = Family(
    "verifications", "Runs compared with a stored result, by outcome.", ("task", "outcome")
)
SIMILARITY = _histogram(
    "semantic_similarity",
    "Similarity of the nearest neighbours of calls without an entry, by what became of them.",
    ("task", "outcome"),
    *(0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.97, 0.98, 0.99, 1.0),
)
EMBED = _histogram(
    "embed_seconds",
    "Time that embedding took, for hits and misses: no hit saves it.",
    _TASK,
    *(1e-4, 1e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
)
EMBED_COST = Family("embed_cost", "Cost of embedding, in the unit of cache_cost.", _TASK)

FAMILIES = tuple(found for found in list(globals().values()) if isinstance(found, Family))
