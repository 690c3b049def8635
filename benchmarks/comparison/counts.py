"""Counts, which are the same on a busy machine: round trips, commands, allocations, imports."""

import gc
import itertools
import subprocess
import sys
import tracemalloc
from typing import Any

from celery import Celery

from benchmarks.comparison.lookups import without_l1
from benchmarks.comparison.turns import cost
from tests.support.servers import Server

#: Most of each that is allowed.
BOUNDS = {
    "L1 hit: round trips": 0,
    "L1 hit: blocks kept": 0,
    "L2 hit: round trips": 1,
    "L2 hit: commands": 5,
    "L2 hit: bytes to the server": 500,
    "miss, read through: round trips": 2,
    "miss, read through: commands, those of scripts included": 27,
    "modules imported by the package": 3,
}


def measure(server: Server, app: Celery) -> dict[str, float]:
    """Count them."""
    task: Any = app.tasks["cached.nothing"]
    task.cache.set(7, 7)
    app.conf.taskcache_l1_max_staleness = 3600
    counted: dict[str, float] = {}
    with without_l1(app):
        l2 = cost(server, lambda: task.cache.get(7))
    task.cache.get(7)
    counted["L1 hit: round trips"] = round(cost(server, lambda: task.cache.get(7))["round_trips"])
    counted["L1 hit: blocks kept"] = _kept(lambda: task.cache.get(7))
    # A hand-over of counters rides along once a second.
    counted["L2 hit: round trips"] = round(l2["round_trips"])
    counted["L2 hit: commands"] = round(l2["commands"])
    counted["L2 hit: bytes to the server"] = l2["bytes_to_server"]
    numbers = itertools.count(1_000)
    miss = cost(server, lambda: task.cache.call(next(numbers)))
    counted["miss, read through: round trips"] = round(miss["round_trips"])
    counted["miss, read through: commands, those of scripts included"] = round(miss["commands"])
    counted["modules imported by the package"] = _modules()
    return counted


def _kept(call: Any, calls: int = 1_000) -> int:
    """Blocks of memory that are kept a call: a leak shows as one or more."""
    for _ in range(100):
        call()
    gc.collect()
    tracemalloc.start()
    before = len(tracemalloc.take_snapshot().traces)
    for _ in itertools.repeat(None, calls):
        call()
    gc.collect()
    after = len(tracemalloc.take_snapshot().traces)
    tracemalloc.stop()
    return max(0, after - before) // calls


def _modules() -> int:
    """Our modules that ``import tta_taskcache`` loads."""
    code = (
        "import sys, tta_taskcache; print(sum(m.startswith('tta_taskcache') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)  # noqa: S603 - ourselves
    return int(done.stdout)
