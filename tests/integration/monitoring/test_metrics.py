"""Metrics: a worker and a producer tell exactly what has happened, each at one address."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.integration.monitoring.scraping import Series, fetch, parse, scrape, series
from tests.support.processes import Process
from tests.support.servers import Server, free_port
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, Worker, clean_environment

MODULE = "tests.integration.monitoring.metered"
PATIENCE = 90


def environment(server: Server, **conf: object) -> dict[str, str]:
    return server.environment | {"APP_CONF": json.dumps(conf)}


@dataclass
class Plant:
    """A worker, and a producer that has made its calls."""

    server: Server
    worker: Worker
    port: int
    produced: dict[Series, float]
    worked: dict[Series, float]
    texts: tuple[str, str]


@pytest.fixture(scope="module")
def plant(server: Server) -> Iterator[Plant]:
    """One worker of two processes, without L1: which process gets a call is chance."""
    port, own_port = free_port(), free_port()
    with Server(server.kind) as own:
        conf = {"taskcache_metrics_port": port, "taskcache_l1_max_entries": 0}
        with Worker(MODULE, env=environment(own, **conf)) as worker:
            yield _make_calls(own, worker, port, own_port)


def _make_calls(server: Server, worker: Worker, port: int, own_port: int) -> Plant:
    env = environment(server, taskcache_l1_max_staleness=60, taskcache_l1_max_entries=100)
    producer = Process(
        [sys.executable, "-m", MODULE, str(own_port), str(port)],
        env=clean_environment(os.environ) | env,
        cwd=ROOT,
    )
    try:
        wait_until(
            lambda: "script is done" in producer.log or producer.exit_code is not None,
            timeout=PATIENCE,
        )
        assert producer.exit_code is None, producer.log + worker.log
        texts = fetch(own_port), fetch(port)
    finally:
        producer.terminate(5)
    return Plant(server, worker, port, parse(texts[0]), parse(texts[1]), texts)


def misses(task: str, site: str, reason: str, count: float) -> tuple[Series, float]:
    return series("misses_total", task=task, site=site, reason=reason), count


def hits(task: str, site: str, layer: str, count: float) -> tuple[Series, float]:
    return series("hits_total", task=task, site=site, layer=layer), count


def looks(task: str, site: str, layer: str, count: float) -> tuple[Series, float]:
    return series("latency_seconds_count", task=task, site=site, layer=layer), count


def of_task(task: str, **counts: float) -> dict[Series, float]:
    return {series(name, task=task): count for name, count in counts.items()}


PRODUCER = dict(
    [
        misses("everywhere", "producer", "absent", 1),
        hits("everywhere", "producer", "l2", 1),
        hits("everywhere", "producer", "l1", 2),
        misses("everywhere", "direct", "invalidated", 2),
        misses("everywhere", "direct", "absent", 1),
        misses("in_pool", "producer", "site", 3),
        misses("in_consumer", "producer", "site", 3),
        misses("meeting", "producer", "site", 2),
        misses("leading", "producer", "site", 3),
        misses("late", "producer", "site", 3),
        misses("verified", "producer", "absent", 1),
        misses("verified", "producer", "verify", 2),
        misses("impure", "producer", "absent", 1),
        misses("impure", "producer", "verify", 2),
        misses("odd", "producer", "absent", 1),
        looks("everywhere", "producer", "none", 1),
        looks("everywhere", "producer", "l2", 1),
        looks("everywhere", "producer", "l1", 2),
        looks("everywhere", "direct", "none", 3),
        looks("verified", "producer", "none", 3),
        looks("impure", "producer", "none", 3),
        looks("odd", "producer", "none", 1),
    ]
) | {
    series("saved_cost_total", task="everywhere"): 7.5,
    series("fills_total", task="everywhere"): 1,
    series("invalidations_total"): 1,
    # Of its own: the replacement that `set` has announced, and the invalidation.
    series("invalidation_lag_seconds_count"): 2,
    # Of `verified` and `impure`: those of `everywhere` were ended.
    series("l1_entries"): 2,
}

WORKER = {
    **of_task("everywhere", fills_total=1, run_seconds_count=1, run_cost_total=2.5),
    **of_task("in_pool", fills_total=1, run_seconds_count=1, run_cost_total=1.5),
    **of_task("in_pool", saved_cost_total=3.0),
    **of_task("in_consumer", fills_total=1, run_seconds_count=1, run_cost_total=1),
    **of_task("in_consumer", saved_cost_total=2),
    **of_task("meeting", fills_total=2, run_seconds_count=2),
    **of_task("leading", fills_total=1, run_seconds_count=1, run_cost_total=7),
    **of_task("leading", coalesced_saved_cost_total=14),
    **of_task("shadowed", fills_total=1, run_seconds_count=3, run_cost_total=12),
    **of_task("shadowed", shadow_misses_total=1, shadow_hits_total=2, shadow_saved_cost_total=8),
    **of_task("verified", fills_total=1, run_seconds_count=3),
    **of_task("late", fills_total=1, run_seconds_count=3),
    **of_task("impure", fills_total=1, run_seconds_count=3),
    **of_task("odd", run_seconds_count=1),
    series("fills_refused_total", task="odd", reason="cache-if"): 1,
    series("verifications_total", task="shadowed", outcome="same"): 2,
    series("verifications_total", task="verified", outcome="same"): 2,
    series("verifications_total", task="late", outcome="same"): 2,
    series("verifications_total", task="impure", outcome="different"): 2,
    series("errors_total", operation="cost"): 1,
    series("coalesced_total", task="leading", site="consumer"): 2,
    series("lease_wait_seconds_count", task="leading", site="consumer"): 2,
    **dict(
        [
            misses("in_pool", "consumer", "site", 3),
            misses("in_pool", "pool", "absent", 1),
            hits("in_pool", "pool", "l2", 2),
            misses("in_consumer", "consumer", "absent", 1),
            hits("in_consumer", "consumer", "l2", 2),
            misses("meeting", "consumer", "site", 2),
            misses("meeting", "pool", "absent", 2),
            # The third joins the second, without a look of its own.
            misses("leading", "consumer", "absent", 2),
            hits("leading", "consumer", "l2", 2),
            looks("in_pool", "pool", "none", 1),
            looks("in_pool", "pool", "l2", 2),
            looks("in_consumer", "consumer", "none", 1),
            looks("in_consumer", "consumer", "l2", 2),
            looks("meeting", "pool", "none", 2),
            looks("leading", "consumer", "none", 2),
            # Of a verified call the last look is where it runs.
            misses("verified", "pool", "verify", 2),
            looks("verified", "pool", "none", 2),
            misses("late", "consumer", "absent", 1),
            misses("late", "consumer", "verify", 2),
            misses("late", "pool", "verify", 2),
            looks("late", "consumer", "none", 3),
            looks("late", "pool", "none", 2),
            misses("impure", "pool", "verify", 2),
            looks("impure", "pool", "none", 2),
        ]
    ),
}


def counted(found: dict[Series, float]) -> dict[Series, float]:
    """What counts something, and how much of it: how long things took is another matter."""
    timed = ("_sum", "_seconds_total", "_created", "_bytes")
    return {name: value for name, value in found.items() if value and not name[0].endswith(timed)}


def test_f2_a_producer_tells_exactly_what_it_did(plant: Plant) -> None:
    assert counted(plant.produced) == PRODUCER


def test_f2_a_worker_tells_exactly_what_its_processes_did(plant: Plant) -> None:
    assert counted(plant.worked) == WORKER


def test_a_hit_saves_the_run_less_the_lookup(plant: Plant) -> None:
    for task, site, found, calls in (
        ("everywhere", "producer", plant.produced, 3),
        ("in_pool", "pool", plant.worked, 2),
        ("in_consumer", "consumer", plant.worked, 2),
    ):
        run = plant.worked[series("run_seconds_sum", task=task)]
        looked = sum(
            found.get(series("latency_seconds_sum", task=task, site=site, layer=layer), 0.0)
            for layer in ("l1", "l2")
        )
        saved = found[series("saved_seconds_total", task=task)]
        assert saved == pytest.approx(calls * run - looked, abs=1e-6)
        assert 0 < looked < calls * run


def test_a_coalesced_call_is_counted_apart(plant: Plant) -> None:
    run = plant.worked[series("run_seconds_sum", task="leading")]
    saved = plant.worked[series("coalesced_saved_seconds_total", task="leading")]
    assert saved == pytest.approx(2 * run, abs=1e-6)
    assert series("saved_seconds_total", task="leading") not in plant.worked


def test_promtool_has_nothing_to_say(plant: Plant) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool on PATH (Debian: prometheus)")
    for text in plant.texts:
        ours = "".join(line for line in text.splitlines(keepends=True) if "taskcache_" in line)
        done = subprocess.run(
            [promtool, "check", "metrics"],
            input=ours,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_f2_what_a_process_did_outlives_it(plant: Plant) -> None:
    """Killed ones as well, and the processes that take their place count on."""
    before = scrape(plant.port)
    (victim, *_) = plant.worker.pool_pids()
    os.kill(victim, signal.SIGKILL)
    wait_until(
        lambda: not psutil.pid_exists(victim) and len(plant.worker.pool_pids()) == 2,
        timeout=PATIENCE,
    )
    assert counted(scrape(plant.port)) == counted(before)
    run = (
        "import tests.integration.monitoring.metered as m; [m.get(m.in_pool, 3) for _ in range(4)]"
    )
    _run(plant.server, run)
    again = series("hits_total", task="in_pool", site="pool", layer="l2")
    assert scrape(plant.port)[again] == before[again] + 4


def test_a_port_that_is_taken_is_told_and_harms_nobody(plant: Plant) -> None:
    env = environment(plant.server, taskcache_metrics_port=plant.port)
    with Worker(MODULE, env=env, concurrency=1, queues=["nobody"]) as second:
        assert f"no metrics on port {plant.port} (taskcache_metrics_port)" in second.log


def test_prometheus_clients_own_multiprocess_mode(plant: Plant, tmp_path: Path) -> None:
    port = free_port()
    env = environment(plant.server, taskcache_metrics_port=port)
    env["PROMETHEUS_MULTIPROC_DIR"] = str(tmp_path)
    with Worker(MODULE, env=env, queues=["apart"]):
        call = "m.meeting.apply_async(('multi', {}), queue='apart')"
        _run(
            plant.server,
            "import tests.integration.monitoring.metered as m;"
            f"a, b = {call.format(0)}, {call.format(1)}; a.get(timeout=30), b.get(timeout=30)",
        )
        found = scrape(port)
    assert found[series("run_seconds_count", task="meeting")] == 2
    assert found[series("fills_total", task="meeting")] == 2
    assert found[series("l1_entries")] == 2
    assert list(tmp_path.glob("counter_*.db"))


def _run(server: Server, code: str) -> None:
    env = clean_environment(os.environ) | environment(server)
    subprocess.run([sys.executable, "-c", code], env=env, cwd=ROOT, check=True, timeout=PATIENCE)
