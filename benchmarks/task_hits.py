"""What hits cost that tasks get: at the producer, against a task that does nothing.

`python -m benchmarks.task_hits`: a Redis server and a worker of its own; what is compared runs by
turns, and ratios are of one run.
"""

import os
import sys
import time
from collections.abc import Callable
from statistics import median

from celery import Celery

from benchmarks.show import percentile, table
from tests.support.servers import Server, available
from tests.support.workers import Worker
from tta_taskcache import CachedTask

ROUNDS, EACH = 15, 40

MODULE = "benchmarks.task_hits"


def make_app() -> Celery:
    """The application of the measured tasks, in the producer and in the worker."""
    app = Celery("task_hits", set_as_current=False)
    base = os.environ.get("BENCHMARK_REDIS", "redis://127.0.0.1")
    app.conf.update(
        broker_url=f"{base}/0",
        result_backend=f"{base}/1",
        taskcache_url=f"{base}/2",
        worker_hijack_root_logger=False,
    )

    @app.task(name="noop", shared=False)
    def noop(x: int) -> int:
        return x

    @app.task(name="hit", base=CachedTask, shared=False)
    def hit(x: int) -> int:
        return x

    return app


app = make_app()


def run() -> None:
    """Measure round trips."""
    with Server(available()[0]) as server:
        os.environ["BENCHMARK_REDIS"] = server.url().rsplit("/", 1)[0]
        mine = make_app()
        environment = {
            "BENCHMARK_REDIS": os.environ["BENCHMARK_REDIS"],
            "CELERY_BROKER_URL": str(mine.conf.broker_url),
        }
        with Worker(MODULE, env=environment):
            _round_trips(mine)


def _round_trips(app: Celery) -> None:
    noop, hit = app.tasks["noop"], app.tasks["hit"]

    ways: dict[str, Callable[[], object]] = {
        "no-op task": lambda: noop.delay(1).get(),
        "hit": lambda: hit.delay(1).get(),
        "hit, group of one's index": lambda: hit.apply_async((1,), group_index=0).get(),
    }

    hit.cache.set(1, 1)
    samples: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, call in ways.items():
            for _ in range(EACH):
                began = time.perf_counter()
                call()
                samples[name].append(time.perf_counter() - began)
    floor = median(samples["no-op task"])
    rows = [
        (
            name,
            f"{median(s) * 1e6:.0f} µs",
            f"{percentile(s, 0.99) * 1e6:.0f} µs",
            f"{floor / median(s):.1f} x",
        )
        for name, s in samples.items()
    ]
    table("round trips", ("what", "p50", "p99", "faster"), rows)


if __name__ == "__main__":
    run(*sys.argv[1:])
