"""What hits cost that tasks get: at the producer, against a task that does nothing.

`python -m benchmarks.task_hits`: a Redis server and a worker of its own; what is compared runs by
turns, and ratios are of one run.
"""

import os
import sys
import time
from collections.abc import Callable
from statistics import median

from celery import Celery, group, uuid

from benchmarks.show import percentile, table
from tests.support.servers import Server, available
from tests.support.workers import Worker
from tta_taskcache import CachedTask

ROUNDS, EACH = 15, 40

MODULE = "benchmarks.task_hits"


def make_app(*, write_behind: bool = False) -> Celery:
    """The application of the measured tasks, in the producer and in the worker."""
    app = Celery("task_hits", set_as_current=False)
    base = os.environ.get("BENCHMARK_REDIS", "redis://127.0.0.1")
    app.conf.update(
        broker_url=f"{base}/0",
        result_backend=f"{base}/1",
        taskcache_url=f"{base}/2",
        taskcache_write_behind=write_behind,
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
            _round_trips(mine, make_app(write_behind=True))
            _groups(mine)


def _round_trips(app: Celery, behind: Celery) -> None:
    later = behind.tasks["hit"]
    later.cache.set(1, 1)
    noop, hit = app.tasks["noop"], app.tasks["hit"]

    ways: dict[str, Callable[[], object]] = {
        "no-op task": lambda: noop.delay(1).get(),
        "hit": lambda: hit.delay(1).get(),
        "hit, written behind": lambda: later.delay(1).get(),
        "hit, long way (an id of the caller's)": lambda: hit.apply_async(
            (1,), task_id=uuid()
        ).get(),
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


def _groups(app: Celery, size: int = 1_000) -> None:
    samples: dict[str, list[float]] = {"noop": [], "hit": []}
    for _ in range(3):
        for name, taken in samples.items():
            task = app.tasks[name]
            began = time.perf_counter()
            group(task.s(1) for _ in range(size)).apply_async().get()
            taken.append(time.perf_counter() - began)
    plain, warm = median(samples["noop"]), median(samples["hit"])
    rows = [
        (f"group of {size:,}", f"{plain:.2f} s", f"{warm:.2f} s", f"{plain / warm:.1f} x"),
    ]
    table("groups", ("what", "no-op tasks", "warm calls", "faster"), rows)


if __name__ == "__main__":
    run(*sys.argv[1:])
