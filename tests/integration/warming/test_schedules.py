"""Beat has our entries, with whatever scheduler, and two beats don't do the work twice."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.warming.warm_app import make_app
from tests.integration.warming.warm_harness import MODULE, environment
from tests.support.processes import Process
from tests.support.servers import Server, ServerKind
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, Worker, clean_environment
from tta_taskcache import TaskCache

PATIENCE = 60


@pytest.fixture(scope="module")
def server(redis_kind: ServerKind) -> Iterator[Server]:
    """Where everything is."""
    with Server(redis_kind) as server:
        yield server


@pytest.fixture(scope="module")
def worker(server: Server) -> Iterator[Worker]:
    with Worker(MODULE, env=environment(server), concurrency=2) as worker:
        yield worker


@pytest.fixture
def app(server: Server, worker: Worker) -> Iterator[Any]:
    for database in (1, 2, 3):
        server.client(database).flushdb()
    app = make_app(*environment(server).values())
    app.finalize()
    yield app
    app.close()


@pytest.fixture
def beat(server: Server, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """`beat(*options)`: one more `celery beat`."""
    running: list[Process] = []

    def start(*options: str, **more: str) -> Process:
        place = tmp_path / f"beat-{len(running)}"
        command = [sys.executable, "-m", "celery", "-A", MODULE, "beat", "--loglevel=INFO"]
        command += [f"--schedule={place}", "--pidfile=", "--max-interval=1", *options]
        env = clean_environment(os.environ) | {"PYTHONUNBUFFERED": "1"} | more
        running.append(Process(command, env=env | environment(server), cwd=ROOT))
        return running[-1]

    yield start
    for process in running:
        process.terminate(10)


def runs(app: Any, name: str) -> int:
    return int(app.run_counts.get(name) or 0)


def fires(app: Any) -> None:
    """Wait until each entry has had an effect."""
    cache = TaskCache(app)
    app.tasks["report"].cache.set(1, 1)
    wait_until(lambda: runs(app, "ticks:a") >= 2, timeout=PATIENCE, what="warming")
    wait_until(lambda: not cache.keys("report:*"), timeout=PATIENCE, what="invalidation")
    wait_until(lambda: runs(app, "own"), timeout=PATIENCE, what="the app's own entry")


def test_entries_fire(app: Any, worker: Worker, beat: Callable[..., Process]) -> None:
    aside = TaskCache(app).runtime.warming_store
    assert aside is not None
    calls = [("k1", 9, '{"args": ["a"], "kwargs": {}}'), ("k2", 5, '{"args": ["b"], "kwargs": {}}')]
    aside.count_hot("popular", [*calls, ("k3", 1, '{"args": ["c"], "kwargs": {}}')], 100)
    beat()
    fires(app)
    wait_until(
        lambda: worker.log.count("warmed popular") >= 2, timeout=PATIENCE, what="two warmings"
    )
    assert [runs(app, f"popular:{name}") for name in "abc"] == [1, 1, 0]


def test_two_beats_do_not_double_the_work(
    app: Any, worker: Worker, beat: Callable[..., Process]
) -> None:
    before = len(worker.log)
    beats = [beat(), beat()]

    def sent(by: Process) -> int:
        return by.log.count("Sending due task tta_taskcache.warm:ticks")

    wait_until(lambda: min(map(sent, beats)) >= 6, timeout=PATIENCE)
    for each in beats:
        each.terminate(10)
    # A beat alone has none refused; of two that send in one turn, one is. A message that a busy
    # machine leaves for a whole turn is neither: it has expired.
    log = worker.log[before:]
    done, refused = log.count("warmed ticks:"), log.count("warming ticks: another")
    assert 2 <= done <= max(map(sent, beats)) + 2
    assert refused >= 2
    assert runs(app, "ticks:a") <= done + 1, "a turn runs each call once"


def test_a_scheduler_in_a_database(
    app: Any, worker: Worker, beat: Callable[..., Process], tmp_path: Path
) -> None:
    django = {
        "DJANGO_SETTINGS_MODULE": "tests.integration.warming.beat_settings",
        "BEAT_DATABASE": str(tmp_path / "beat.sqlite3"),
    }
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity=0"],
        env=clean_environment(os.environ) | django,
        cwd=ROOT,
        check=True,
    )
    beat("--scheduler=django_celery_beat.schedulers:DatabaseScheduler", **django)
    fires(app)
