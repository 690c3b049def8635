"""Calls through Celery: a no-op, hits at each site, a cache by hand, calls in flight, groups."""

import importlib.util
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import psutil
from celery import Celery, group

from benchmarks.comparison.app import make_app
from benchmarks.comparison.turns import Case, Row, by_turns, cost
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker

MODULE = "benchmarks.comparison.app"
NOOP = "no-op task"
PATIENCE = 120

#: Calls of a drain, followers of one call, and calls of a group.
DRAINED = 1_000
FOLLOWERS = (1, 10, 100, 1_000)
GROUPS = (1, 10, 100, 1_000, 10_000)


def run(server: Server, app: Celery, rounds: int) -> tuple[list[Row], list[str]]:
    """Measure all of them on one worker of two processes."""
    missing: list[str] = []
    with Worker(MODULE, env=server.environment) as worker:
        rows = _round_trips(server, app, rounds, missing)
        rows += _drained(server, app, worker, max(3, rounds // 3))
        rows += _groups(app, max(3, rounds // 3))
        rows += _in_flight(app, missing)
    return rows, missing


def _round_trips(server: Server, app: Celery, rounds: int, missing: list[str]) -> list[Row]:
    plain, cached = app.tasks["plain.nothing"], app.tasks["cached.nothing"]
    urls = (server.url(0), server.url(1), server.url(2))
    app_behind = make_app(*urls, taskcache_write_behind=True)
    behind = app_behind.tasks["cached.nothing"]
    numbers = itertools.count(1_000_000)
    raw: Any = server.client(4)
    raw.set("by-hand", json.dumps(7))
    cached.cache.set(7, 7)

    def by_hand() -> Any:
        stored = raw.get("by-hand")
        return plain.delay(7).get(timeout=PATIENCE) if stored is None else json.loads(stored)

    cases = [
        Case(NOOP, lambda: plain.delay(7).get(timeout=PATIENCE), calls=30),
        Case("no-op task, enqueued only", lambda: plain.delay(7), NOOP, 30),
        Case("redis.get before delay, by hand", by_hand, NOOP, 30),
        Case("hit at the producer", lambda: cached.delay(7).get(timeout=PATIENCE), NOOP, 30),
        Case(
            "hit at the producer, with a link",
            lambda: cached.apply_async((7,), link=plain.si(1)).get(timeout=PATIENCE),
            NOOP,
            30,
        ),
        Case(
            "hit at the producer, write-behind",
            lambda: behind.delay(7).get(timeout=PATIENCE),
            NOOP,
            30,
        ),
        Case("miss", lambda: cached.delay(next(numbers)).get(timeout=PATIENCE), NOOP, 30),
    ]
    if importlib.util.find_spec("dogpile"):
        cases.insert(3, Case("dogpile before delay, by hand", _dogpile(server, plain), NOOP, 30))
    else:
        missing.append("dogpile.cache isn't installed")
    rows = by_turns("call and result", cases, rounds)
    for row, case in zip(rows, cases, strict=True):
        row.extra |= cost(server, case.call)
    app_behind.close()
    return rows


def _dogpile(server: Server, plain: Any) -> Callable[[], Any]:
    from dogpile.cache import make_region  # noqa: PLC0415 - an optional peer

    region = make_region().configure("dogpile.cache.redis", arguments={"url": server.url(4)})
    return lambda: region.get_or_create("n:7", lambda: plain.delay(7).get(timeout=PATIENCE))


def _drained(server: Server, app: Celery, worker: Worker, rounds: int) -> list[Row]:
    """Messages that wait in a queue until all have results: throughput, and CPU by process."""
    kinds = {
        NOOP: "plain.nothing",
        "hits at the consumer": "consumer.nothing",
        "hits in the pool": "pool.nothing",
        "misses": "cached.nothing",
    }
    numbers = itertools.count(2_000_000)
    for kind in ("consumer", "pool"):
        app.tasks[f"{kind}.nothing"].cache.set(7, 7)
    rows = {name: Row("drained by a worker", name, NOOP) for name in kinds}
    results: Any = server.client(1)
    for number in range(-1, rounds):
        taken: dict[str, float] = {}
        for name, task in kinds.items():
            results.flushdb()
            app.control.cancel_consumer("celery", reply=True)
            for _ in range(DRAINED):
                app.send_task(task, (next(numbers) if name == "misses" else 7,))
            before = _cpu(worker)
            started = time.perf_counter()
            app.control.add_consumer("celery", reply=False)
            wait_until(lambda: results.dbsize() >= DRAINED, timeout=PATIENCE)
            taken[name] = (time.perf_counter() - started) / DRAINED
            main, pool = (b - a for a, b in zip(before, _cpu(worker), strict=True))
            if number >= 0:
                row = rows[name]
                row.wall.append(taken[name])
                row.ratios.append(taken[name] / taken[NOOP])
                row.extra |= {
                    "main_cpu_us": main / DRAINED * 1e6,
                    "pool_cpu_us": pool / DRAINED * 1e6,
                }
    return list(rows.values())


def _cpu(worker: Worker) -> tuple[float, float]:
    """CPU seconds of a worker's main process, and of its pool."""

    def of(pid: int) -> float:
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)

    return of(worker.main_pid), sum(map(of, worker.pool_pids()))


def _groups(app: Celery, rounds: int) -> list[Row]:
    rows = []
    for size in GROUPS:
        times: dict[str, Row] = {
            kind: Row("group", f"{size:,} calls, {kind}", f"{size:,} calls, plain")
            for kind in ("plain", "cached")
        }
        few = 1 if size > 1_000 else rounds  # noqa: PLR2004 - the largest takes long
        for number in range(-1, few):
            taken = {}
            for kind in times:
                started = time.perf_counter()
                calls = group(app.tasks[f"{kind}.nothing"].s(n) for n in range(size))
                values = calls.apply_async().get(timeout=PATIENCE)
                taken[kind] = time.perf_counter() - started
                assert values == list(range(size))
            if number >= 0:
                for kind, row in times.items():
                    row.wall.append(taken[kind])
                    row.ratios.append(taken[kind] / taken["plain"])
        rows += times.values()
    return rows


def _in_flight(app: Celery, missing: list[str]) -> list[Row]:
    """Equal calls that are sent while the first runs, until each caller has an answer."""
    rows = []
    for name in ("plain", "consumer", "celery-singleton", "celery-once"):
        if f"{name}.sleep" not in app.tasks:
            missing.append(f"{name} isn't installed")
            continue
        task = app.tasks[f"{name}.sleep"]
        for calls in FOLLOWERS if name == "consumer" else (100,):
            title = f"{calls:,} equal calls, {'ours' if name == 'consumer' else name}"
            row = Row("equal calls in flight", title, "100 equal calls, plain")
            started = time.perf_counter()
            results = [task.delay(f"{name}-{calls}", 0.1) for _ in range(calls)]
            # celery-once has no result for those that it drops.
            answered = [r for r in results if r is not None and r.id]
            values = [r.get(timeout=PATIENCE) for r in {r.id: r for r in answered}.values()]
            row.wall.append(time.perf_counter() - started)
            row.extra |= {"callers": calls, "ids": len(values), "dropped": calls - len(answered)}
            rows.append(row)
    return rows
