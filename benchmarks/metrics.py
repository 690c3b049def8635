"""What counting costs an L1 hit: with all observers, without the metrics, and with none."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from uuid import uuid4

from benchmarks.show import console, table
from tests.integration.harness import Harness, make_harness
from tests.support.servers import Server, available
from tta_taskcache.core.events import Event
from tta_taskcache.observability.counters import Counters
from tta_taskcache.observability.logs import LogObserver
from tta_taskcache.observability.prometheus_metrics import Metrics
from tta_taskcache.observability.shared_cells import PageCells, SharedFile

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


def _observers() -> dict[str, Callable[[Event], None]]:
    counters, log, metrics, paged = Counters(), LogObserver(), Metrics("bench"), Metrics("paged")
    paged._use(PageCells(SharedFile()))

    def all_of(*observers: Callable[[Event], None]) -> Callable[[Event], None]:
        def observe(event: Event) -> None:
            for each in observers:
                each(event)

        return observe

    return {
        "nobody told": lambda _: None,
        "ledger and log": all_of(counters, log),
        "and metrics": all_of(counters, metrics, log),
        "and metrics, in a pool process": all_of(counters, paged, log),
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
