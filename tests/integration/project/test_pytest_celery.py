"""An application tested with pytest-celery's in-process fixtures, as its authors would.

pytest-celery 1 has a `celery_worker` of its own, which is a container; the one in a thread has to
be asked for by its module. docs/testing.md is run here as a project of its own: fixtures of a
session would stay for all other tests.
"""

import gc
import logging
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, chain, chord, group, signals
from celery.contrib import pytest as in_process
from celery.contrib.testing.app import TestApp, setup_default_app

from tests.support.servers import Server, ServerKind
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, clean_environment
from tta_taskcache import CachedTask, CacheMiss, TaskCache

pytestmark = pytest.mark.one_server_kind

celery_worker = in_process.celery_worker

#: kombu's memory transport looks for messages once a second by default.
QUICK = {"broker_transport_options": {"polling_interval": 0.01}}

EAGER = pytest.mark.celery(task_always_eager=True)


@dataclass
class Project:
    """The application: its tasks, and what ran in them, as the worker is in this process."""

    app: Celery
    runs: list[Any] = field(default_factory=list)
    started: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.cache = TaskCache(self.app)

        def add(x: int, y: int) -> int:
            self.runs.append((x, y))
            return x + y

        def total(numbers: list[int]) -> int:
            self.runs.append(numbers)
            return sum(numbers)

        def gated(x: int) -> int:
            self.runs.append(x)
            self.started.release()
            assert self.go.wait(20)
            return x

        self.add, self.total, self.gated = map(self.task, (add, total, gated))
        self.at_consumer = self.task(add, name="at_consumer", cache_sites=("consumer",))
        self.at_pool = self.task(add, name="at_pool", cache_sites=("pool",))

    def task(self, function: Any, name: str | None = None, **options: Any) -> Any:
        name = name or function.__name__
        return self.app.task(name=name, base=CachedTask, shared=False, **options)(function)


@pytest.fixture(scope="module")
def server(redis_kind: ServerKind) -> Iterator[Server]:
    """One of its own: the worker that other modules share would take the messages."""
    with Server(redis_kind) as server:
        yield server


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """A worker in this process sets the level of the root logger, for all tests to come."""
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]


@pytest.fixture
def project(celery_app: Celery) -> Project:
    return Project(celery_app)


@pytest.fixture
def received() -> Iterator[list[str]]:
    """The names of the tasks that the worker has got messages of."""
    names: list[str] = []

    def note(request: Any, **_: Any) -> None:
        names.append(request.name)

    signals.task_received.connect(note)
    yield names
    signals.task_received.disconnect(note)


def got(result: Any) -> Any:
    return result.get(timeout=20, interval=0.01)


class InProcess:
    """What holds wherever the cache is."""

    def test_a_hit_at_each_site(
        self, project: Project, received: list[str], celery_worker: Any
    ) -> None:
        first = project.add.delay(1, 2)
        assert got(first) == 3
        again = project.add.delay(1, 2)
        assert got(again) == got(project.app.AsyncResult(again.id)) == 3
        assert (first.cache_status.hit, again.cache_status.site) == (False, "producer")
        assert received.count("add") == 1
        for task in (project.at_consumer, project.at_pool):
            assert [got(task.delay(1, 2)) for _ in range(2)] == [3, 3]
            assert received.count(task.name) == 2
        assert project.runs == [(1, 2)] * 3
        stats = project.cache.stats().tasks
        for site in ("consumer", "pool"):
            assert {hit.split("/")[0] for hit in stats[f"at_{site}"].hits} == {site}

    def test_canvas_of_hits(self, project: Project, celery_worker: Any) -> None:
        add, total = project.add, project.total

        def all_of_it() -> list[Any]:
            return [
                got(chain(add.s(1, 2), add.s(4)).delay()),
                got(group(add.s(1, 2), add.s(5, 6)).delay()),
                got(chord([add.s(1, 2), add.s(5, 6)], total.s()).delay()),
            ]

        cold = all_of_it()
        assert cold == [7, [3, 11], 14]
        ran = len(project.runs)
        assert all_of_it() == cold
        assert len(project.runs) == ran

    @pytest.mark.parametrize(
        ("celery_worker_pool", "celery_worker_parameters"), [("threads", {"concurrency": 2})]
    )
    def test_equal_calls_run_once(
        self, project: Project, received: list[str], celery_worker: Any
    ) -> None:
        first = project.gated.delay(1)
        assert project.started.acquire(timeout=20)
        second = project.gated.delay(1)
        wait_until(lambda: received.count("gated") == 2, what="the second message")
        project.go.set()
        assert [got(first), got(second)] == [1, 1]
        assert project.runs == [1]

    def test_clear_and_disabled(self, project: Project, celery_worker: Any) -> None:
        add, cache = project.add, project.cache
        assert got(add.delay(1, 2)) == 3
        with cache.disabled():
            bypassed = add.delay(1, 2)
            assert got(bypassed) == 3
        assert bypassed.cache_status.reason == "bypass"
        cache.clear()
        assert got(add.delay(1, 2)) == 3
        assert len(project.runs) == 3

    @EAGER
    def test_eager(self, project: Project) -> None:
        add = project.add
        results = [add.delay(1, 2), add.delay(1, y=2)]
        assert [got(result) for result in results] == [3, 3]
        assert [result.cache_status.hit for result in results] == [False, True]
        assert add.apply_async((1, 2), cache="only").get() == 3
        with pytest.raises(CacheMiss):
            add.apply_async((7, 7), cache="only")
        assert chain(add.s(1, 2), add.s(4)).delay().get() == 7
        assert chord([add.s(1, 2), add.s(3, 4)], project.total.s()).delay().get() == 7 + 3
        assert project.runs == [(1, 2), (3, 4), [3, 7]]
        with project.cache.disabled():
            assert got(add.delay(1, 2)) == 3
        assert project.runs[3:] == [(1, 2)]

    def test_an_app_that_is_gone_leaves_no_thread(self, celery_config: dict[str, Any]) -> None:
        before = set(sys._current_frames())
        for _ in range(3):
            app = TestApp(config={**celery_config, "task_always_eager": True})
            with setup_default_app(app):
                assert Project(app).add.delay(1, 2).get() == 3
            del app
        gc.collect()
        wait_until(lambda: set(sys._current_frames()) <= before, what="the end of threads")


class TestInMemory(InProcess):
    """Broker, results and cache in the memory of this process: no server at all."""

    @pytest.fixture
    def celery_config(self) -> dict[str, Any]:
        return QUICK

    @EAGER
    @pytest.mark.parametrize("turn", [1, 2])
    def test_each_app_has_a_memory_of_its_own(self, project: Project, turn: int) -> None:
        assert not project.add.delay(1, 2).cache_status.hit

    @EAGER
    @pytest.mark.parametrize("celery_parameters", [{"task_cls": "tta_taskcache:CachedTask"}])
    def test_every_task_of_an_app_may_be_cached(self, celery_app: Celery) -> None:
        """But not Celery's own, as the one that `celery_worker` asks its worker with."""
        runs = []

        def twice(x: int) -> int:
            runs.append(x)
            return 2 * x

        double, ping = celery_app.task(twice, shared=False), celery_app.tasks["celery.ping"]
        assert [double.delay(2).get() for _ in range(2)] == [4, 4]
        assert runs == [2]
        assert not hasattr(ping.delay(), "cache_status")


class TestOnRedis(InProcess):
    """Broker, results and, as nobody says otherwise, cache on Redis."""

    @pytest.fixture
    def celery_config(self, redis_server: Server) -> dict[str, Any]:
        return {
            "broker_url": redis_server.url(0),
            "result_backend": redis_server.url(1),
            "taskcache_timeout": 2.0,
        }

    @EAGER
    def test_entries_outlive_the_app(self, project: Project, celery_config: Any) -> None:
        """What a user has to clear between tests."""
        assert not project.add.delay(1, 2).cache_status.hit
        app = TestApp(config={**celery_config, "task_always_eager": True})
        with setup_default_app(app):
            other = Project(app)
            assert other.add.delay(1, 2).cache_status.hit
            other.cache.clear()
            assert not other.add.delay(1, 2).cache_status.hit


def blocks_of_the_docs() -> dict[str, str]:
    """The documentation's code, by the file name in each block's first line."""
    text = (ROOT / "docs/testing.md").read_text()
    blocks = re.findall(r"```python\n(# (\S+).*?)```", text, re.DOTALL)
    files: dict[str, str] = {}
    for code, name in blocks:
        files[name] = files.get(name, "") + code
    return files


def run_the_docs(where: Path, *arguments: str, **environment: str) -> str:
    for name, code in blocks_of_the_docs().items():
        (where / name).write_text(code)
    strict = "-Werror::pytest.PytestUnraisableExceptionWarning"
    command = [sys.executable, "-m", "pytest", "-q", "-pno:cacheprovider", "-pno:valkey", strict]
    done = subprocess.run(
        [*command, *arguments],
        cwd=where,
        env=clean_environment({**environment, "PATH": "", "PYTHONPATH": str(ROOT)}),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_documentation_runs(tmp_path: Path) -> None:
    assert re.search(r"\d passed", run_the_docs(tmp_path))


def test_the_documentation_runs_on_redis(redis_server: Server, tmp_path: Path) -> None:
    """Twice: the second time, the entries of the first are there."""
    for _ in range(2):
        run_the_docs(tmp_path, "test_eager.py", TEST_CACHE_URL=redis_server.url(4))
    assert redis_server.client(4).keys("*")
