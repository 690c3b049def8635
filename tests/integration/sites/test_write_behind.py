"""`taskcache_write_behind`: results of hits are stored a bit later, and only a kill loses any."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, states

from tests.support.counting import commands
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.celery.patches.results.new_results import NewResult, make_result
from tta_taskcache.celery.sites.write_behind import WriteBehind
from tta_taskcache.core.events import Event, Fault


def make_task(base: str, *observers: Any) -> Any:
    """A cached task of a producer whose results are stored behind."""
    app = Celery("behind", broker="memory://", set_as_current=False)
    app.conf.update(result_backend=f"{base}/1")
    TaskCache(app, url=f"{base}/2", write_behind=True, l1_max_staleness=3600.0, observers=observers)

    @app.task(name="double", base=CachedTask, shared=False)
    def double(x: int) -> int:
        return 2 * x

    app.finalize()
    task = app.tasks["double"]
    task.cache.set(2, 1)
    first = task.delay(1)
    assert first.get() == 2
    assert app.AsyncResult(first.id).state == states.SUCCESS  # it is stored
    return task


def base_of(server: Server) -> str:
    return server.url(1).rsplit("/", 1)[0]


def is_stored(server: Server, task_id: str) -> bool:
    return bool(server.client(1).exists(f"celery-task-meta-{task_id}"))


def test_results_are_stored_together_and_soon(redis_server: Server) -> None:
    task = make_task(base_of(redis_server))
    with commands(redis_server) as counted:
        results = [task.delay(1) for _ in range(200)]
        wait_until(lambda: is_stored(redis_server, results[-1].id), what="the last result")
    assert counted["set"] == counted["publish"] == 200
    assert counted["exec"] < 200
    assert all(is_stored(redis_server, result.id) for result in results)


def test_another_process_waits_as_for_any_task(redis_server: Server) -> None:
    task = make_task(base_of(redis_server))
    other = Celery("other", broker="memory://", set_as_current=False)
    other.conf.result_backend = redis_server.url(1)
    assert other.AsyncResult(task.delay(1).id).get(timeout=10) == 2


def test_who_asks_here_finds_it_stored(redis_server: Server) -> None:
    task = make_task(base_of(redis_server))
    for _ in range(20):
        assert task.app.AsyncResult(task.delay(1).id).state == states.SUCCESS
    result = task.delay(1)
    result.forget()  # and it isn't stored after that
    assert task.app.AsyncResult(result.id).state == states.PENDING


def new_result(task: Any, task_id: str) -> NewResult:
    return make_result(task.app.backend, task_id, 2, None, None)


def test_a_flush_stores_all(redis_server: Server) -> None:
    task = make_task(base_of(redis_server))
    behind = WriteBehind(linger=3600.0)
    behind.put(new_result(task, "a"), lambda _: None)
    behind.put(new_result(task, "b"), lambda _: None)
    assert not is_stored(redis_server, "a")
    behind.flush()
    assert is_stored(redis_server, "a")
    assert is_stored(redis_server, "b")


def test_what_waits_is_bounded(redis_server: Server) -> None:
    task = make_task(base_of(redis_server))
    behind = WriteBehind(linger=3600.0, most=2)
    behind.put(new_result(task, "a"), lambda _: None)
    assert not is_stored(redis_server, "a")
    behind.put(new_result(task, "b"), lambda _: None)
    assert is_stored(redis_server, "b")


def test_a_failure_is_told_of(
    redis_server: Server, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []
    task = make_task(base_of(redis_server), events.append)
    backend = type(task.app.backend)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(backend, "ensure", refuse)
    task.delay(1)
    wait_until(lambda: any(isinstance(event, Fault) for event in events), what="the fault")
    assert "1 results of hits are lost" in caplog.text


SCRIPT = """
import json, os, signal, sys
from tests.integration.sites.test_write_behind import make_task
task = make_task(sys.argv[1])
ids = [task.delay(1).id for _ in range(50)]
if sys.argv[2] == "kill":
    task.app.AsyncResult(ids[-1]).state  # stores these
    ids.append(task.delay(1).id)
print(json.dumps(ids), flush=True)
if sys.argv[2] == "fork":
    if os.fork() == 0:
        os._exit(0)  # the child stores nothing, and has none to
    os.kill(os.getpid(), signal.SIGKILL)  # the parent has stored all before
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("end", ["exit", "fork", "kill"])
def test_what_a_process_has_stored_at_its_end(redis_server: Server, end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, base_of(redis_server), end],
        stdout=subprocess.PIPE,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == (0 if end == "exit" else -signal.SIGKILL)
    ids = json.loads(done.stdout)
    kept = ids[:50]  # the last one of a process that is killed may be lost: docs/operating.md
    assert all(is_stored(redis_server, task_id) for task_id in kept)
