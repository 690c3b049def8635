"""C1, C2: a thousand equal calls on two workers, next to a thousand that differ."""

import threading
import time
from collections.abc import Callable
from statistics import median

from benchmarks.show import console, ms, percentile, table
from tests.integration.harness import MODULE, Harness, make_harness
from tests.support.servers import Server, available
from tests.support.workers import Worker

CALLS = 1_000
PROCESSES = 4
PATIENCE = 120


def run() -> None:
    """Measure it on two workers of four processes."""
    rows = [_measure("equal", equal=True), _measure("all different", equal=False)]
    table(
        f"{CALLS:,} calls of a task, and an unrelated one sent again and again meanwhile",
        ("calls", "runs", "all done", "unrelated: median", "p99"),
        rows,
    )
    console.print("2 workers of 4 processes, both on this machine\n")


def _measure(name: str, *, equal: bool) -> tuple[str, ...]:
    with Server(available()[0]) as server:
        harness = make_harness(server)
        env = server.environment
        workers = [Worker(MODULE, env=env, concurrency=PROCESSES) for _ in range(2)]
        try:
            taken, others = _calls(harness, equal=equal)
        finally:
            for worker in workers:
                worker.stop()
            harness.app.close()
        runs = sum(int(harness.counts.get(key) or 0) for key in harness.counts.scan_iter("more:*"))
    return name, f"{runs:,}", f"{taken:.2f} s", ms(median(others)), ms(percentile(others, 0.99))


def _calls(harness: Harness, *, equal: bool) -> tuple[float, list[float]]:
    """Send them all, and time the unrelated task until the last is done."""
    task, tag = harness.task("cached.more"), harness.tag
    over = threading.Event()
    others: list[float] = []
    thread = threading.Thread(target=_probe, args=(harness, others, over.is_set))
    started = time.perf_counter()
    # By name: nothing is answered at the producer.
    results = [
        harness.app.send_task(task.name, (1, tag), {"by": 1 if equal else number})
        for number in range(CALLS)
    ]
    thread.start()
    for result in results:
        result.get(timeout=PATIENCE)
    taken = time.perf_counter() - started
    over.set()
    thread.join()
    return taken, others


def _probe(harness: Harness, times: list[float], is_over: Callable[[], bool]) -> None:
    while not is_over():
        started = time.perf_counter()
        harness.task("plain.add").delay(harness.tag, len(times)).get(timeout=PATIENCE)
        times.append(time.perf_counter() - started)
