"""R3, S1: a group of a thousand warm calls, next to one of a thousand tasks that do nothing."""

import gc
import time
from statistics import median
from typing import Any

from celery import group

from benchmarks.show import console, ms, table
from tests.integration.harness import MODULE, Harness, make_harness
from tests.support.counting import commands
from tests.support.servers import Server, available
from tests.support.workers import Worker

CALLS = 1_000
PROCESSES = 2
ROUNDS = 5
PATIENCE = 120


def run() -> None:
    """Measure both by turns, on one worker that is running and free."""
    with Server(available()[0]) as server:
        harness = make_harness(server)
        env = server.environment
        with Worker(MODULE, env=env, concurrency=PROCESSES):
            times = _measure(harness)
            looks = _looks(harness)
        harness.app.close()
    _show(times, looks)


def _calls(harness: Harness, kind: str) -> Any:
    task = harness.task(f"{kind}.add")
    return group(task.s(harness.tag, number) for number in range(CALLS))


def _measure(harness: Harness) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {"plain": [], "cached": []}
    _time(harness, "cached")  # fills, and both sides have connected
    _time(harness, "plain")
    runs = _runs(harness)
    for _ in range(ROUNDS):
        for kind, taken in times.items():
            taken.append(_time(harness, kind))
    assert _runs(harness) == runs + ROUNDS * CALLS, "only plain tasks have run"
    return times


def _time(harness: Harness, kind: str) -> float:
    """From making the group to having all of its results."""
    gc.collect()
    started = time.perf_counter()
    values = _calls(harness, kind).apply_async().get(timeout=PATIENCE)
    taken = time.perf_counter() - started
    assert values == list(range(CALLS))
    return taken


def _runs(harness: Harness) -> int:
    return sum(harness.runs("add", harness.tag, number, 0) for number in range(CALLS))


def _looks(harness: Harness) -> int:
    """Round trips to the cache for one warm group: each reads the log."""
    with commands(harness.server) as done:
        _time(harness, "cached")
    return done["xrange"]


def _show(times: dict[str, list[float]], looks: int) -> None:
    names = {
        "plain": "plain tasks, run by the worker",
        "cached": "cached, answered at the producer",
    }
    rows = [
        (names[kind], ms(median(taken)), ms(min(taken)), ms(median(taken) / CALLS))
        for kind, taken in times.items()
    ]
    title = f"group of {CALLS:,} calls, from apply_async to get"
    table(title, ("calls", "median", "fastest", "a call"), rows)
    ratio = median(times["plain"]) / median(times["cached"])
    console.print(
        f"warm to plain: {ratio:.1f} times as fast; {looks} round trips to the cache. "
        f"A worker of {PROCESSES} processes; {ROUNDS} rounds by turns\n"
    )
