"""What counting and tracing cost an L1 hit: with no observer, with ours, and with each SDK."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from uuid import uuid4

import sentry_sdk
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from sentry_sdk.transport import Transport

from benchmarks.show import console, table
from tests.integration.harness import Harness, make_harness
from tests.support.servers import Server, available
from tta_taskcache.core.events import Event
from tta_taskcache.observability.counters import Counters
from tta_taskcache.observability.logs import LogObserver
from tta_taskcache.observability.metrics.prometheus_metrics import Metrics
from tta_taskcache.observability.metrics.shared_cells import PageCells, SharedFile
from tta_taskcache.observability.opentelemetry import OpenTelemetryObserver
from tta_taskcache.observability.sentry import SentryObserver

CALLS = 100
ROUNDS = 41


def run() -> None:
    """Measure by turns, on one process whose memory answers."""
    with Server(available()[0]) as server:
        # Nobody polls the log meanwhile.
        harness = make_harness(server, taskcache_l1_max_staleness=3600)
        times = _measure(harness)
        harness.app.close()
    _show(times)


class _Nowhere(Transport):
    def capture_envelope(self, envelope: Any) -> None:
        """Drop what would be sent."""


def _observers() -> dict[str, Callable[[Event], None]]:
    counters, log, metrics, paged = Counters(), LogObserver(), Metrics("bench"), Metrics("paged")
    paged._use(PageCells(SharedFile()))

    # One for all of its spans, which a transaction keeps up to 1,000 of.
    transaction = sentry_sdk.tracing.Transaction(name="GET /", sampled=True)

    def in_transaction(observer: Callable[[Event], None]) -> Callable[[Event], None]:
        def observe(event: Event) -> None:
            transaction.init_span_recorder(maxlen=1000)
            scope = sentry_sdk.get_current_scope()
            scope.span = transaction
            observer(event)
            scope.span = None

        return observe

    def all_of(*observers: Callable[[Event], None]) -> Callable[[Event], None]:
        def observe(event: Event) -> None:
            for each in observers:
                each(event)

        return observe

    provider = TracerProvider()
    provider.add_span_processor(SpanProcessor())
    sentry_sdk.init(
        dsn="http://key@127.0.0.1:1/1",
        transport=_Nowhere,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    return {
        "nobody told": lambda _: None,
        "ledger and log": all_of(counters, log),
        "and metrics": all_of(counters, metrics, log),
        "and metrics, in a pool process": all_of(counters, paged, log),
        "and OpenTelemetry without an SDK": all_of(counters, metrics, log, OpenTelemetryObserver()),
        "and OpenTelemetry": all_of(counters, metrics, log, OpenTelemetryObserver(provider)),
        "and Sentry, outside of transactions": all_of(counters, metrics, log, SentryObserver()),
        "and Sentry": all_of(counters, metrics, log, in_transaction(SentryObserver())),
    }


def _measure(harness: Harness) -> dict[str, dict[str, list[float]]]:
    task, engine = harness.task("cached.add"), harness.cache.runtime.engine
    number = uuid4().int % 10**6
    task.cache.set(number, harness.tag, number)
    task.cache.get(harness.tag, number)
    calls: dict[str, Callable[[], Any]] = {
        "task.cache.get": lambda: task.cache.get(harness.tag, number),
        "apply_async": lambda: task.apply_async((harness.tag, number), ignore_result=True),
    }
    times: dict[str, dict[str, list[float]]] = {name: {} for name in calls}
    observers = _observers()
    for _ in range(ROUNDS):
        for kind, observe in observers.items():
            engine.parts.observe = observe
            for name, call in calls.items():
                times[name].setdefault(kind, []).append(_time(call))
    return times


def _time(call: Callable[[], Any]) -> float:
    """Seconds a call."""
    with _no_collection():
        started = time.perf_counter()
        for _ in range(CALLS):
            call()
        return (time.perf_counter() - started) / CALLS


@contextmanager
def _no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _show(times: dict[str, dict[str, list[float]]]) -> None:
    for name, by_kind in times.items():
        base = by_kind["nobody told"]
        rows = [
            (
                kind,
                f"{median(taken) * 1e6:.1f} µs",
                f"{median(taken) / median(base):.2f}",
                f"{min(taken) * 1e6:.1f} µs",
                f"{min(taken) / min(base):.2f}",
            )
            for kind, taken in by_kind.items()
        ]
        heads = ("observers", "median", "ratio", "fastest", "ratio")
        table(f"an L1 hit by {name}", heads, rows)
    console.print(f"{ROUNDS} rounds of {CALLS:,} calls, by turns\n")
