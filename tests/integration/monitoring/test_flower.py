"""Flower, a real one: hits look like fast successes, and its own metrics count them."""

import os
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest

from tests.integration.harness import MODULE, Harness
from tests.support.processes import Process
from tests.support.servers import Server, free_port
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, Worker, clean_environment

pytestmark = pytest.mark.one_server_kind

PATIENCE = 30
HIT = "task-cache-hit"

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
HEADLESS = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000")


class Flower:
    """A Flower that listens to the events of a broker."""

    def __init__(self, env: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "celery", "-A", MODULE, "flower", f"--port={port}"]
        self.process = Process(
            [*command, "--address=127.0.0.1"],
            env=clean_environment(os.environ) | env,
            cwd=ROOT,
        )

    def read(self, path: str) -> str:
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=5) as answer:  # noqa: S310 - ours
            return str(answer.read().decode())

    def is_up(self, worker: str) -> bool:
        assert self.process.exit_code is None, self.process.log
        try:
            return f'flower_worker_online{{worker="{worker}"}} 1.0' in self.read("metrics")
        except (URLError, OSError):
            return False

    def events(self, task: str) -> dict[tuple[str, str], int]:
        """How many there were of a task, by the kind of host and their type."""
        pattern = (
            rf'flower_events_total{{task="{task}",type="([^"]*)",worker="([^"@]*)@[^"]*"}} (\S+)'
        )
        found = re.findall(pattern, self.read("metrics"))
        return {(re.sub("-.*|[0-9]", "", host), kind): int(float(n)) for kind, host, n in found}


@pytest.fixture
def flower(worker: Worker, redis_server: Server) -> Iterator[Flower]:
    made = Flower(redis_server.environment)
    wait_until(lambda: made.is_up(worker.hostname), timeout=60, what="Flower")
    yield made
    made.process.terminate(10)


@pytest.fixture
def listening(harness: Harness, worker: Worker) -> Iterator[None]:
    """The worker sends events, as Flower asks it to every five seconds."""
    harness.app.control.enable_events([worker.hostname], reply=True, timeout=10)
    yield
    harness.app.control.disable_events([worker.hostname], reply=True, timeout=10)


def test_hits_are_counted_and_look_like_successes(
    flower: Flower, listening: None, harness: Harness, new_harness: Any, redis_server: Server
) -> None:
    asked = new_harness(redis_server, taskcache_send_events=True)
    for name, calls in (("consumer.add", 4), ("pool.add", 3), ("plain.add", 2)):
        for _ in range(calls):
            harness.task(name).delay(asked.tag, 1).get(timeout=PATIENCE)
    # At the producer: one that runs, and two hits; the events of the other app aren't asked for.
    for producer in (asked, harness):
        cached = producer.task("producer.add")
        for _ in range(3):
            cached.delay(asked.tag, 2).get(timeout=PATIENCE)

    def counts() -> dict[str, dict[tuple[str, str], int]]:
        names = ("consumer.add", "pool.add", "plain.add", "producer.add")
        return {name: flower.events(name) for name in names}

    def by_worker(calls: int, hits: int = 0) -> dict[tuple[str, str], int]:
        kinds = ("task-received", "task-started", "task-succeeded")
        told = {("prefork", kind): calls for kind in kinds}
        return told | ({("prefork", HIT): hits} if hits else {})

    expected = {
        "consumer.add": by_worker(4, 3),
        "pool.add": by_worker(3, 2),
        "plain.add": by_worker(2),
        "producer.add": by_worker(1) | {("producer", HIT): 2},
    }
    try:
        wait_until(lambda: counts() == expected, timeout=PATIENCE)
    except TimeoutError:
        assert counts() == expected
    _check_pages(flower)


def _check_pages(flower: Flower) -> None:
    """With their runtime: each of the calls has one, hits included."""
    runtimes = flower.read("metrics")
    assert 'flower_task_runtime_seconds_count{task="consumer.add"' in runtimes
    counted = re.search(
        r'flower_task_runtime_seconds_count{task="consumer.add",worker="[^"]*"} (\S+)', runtimes
    )
    assert counted is not None
    assert float(counted[1]) == 4


def dump(url: str, profile: Path) -> str:
    """The page as it is once its scripts have run."""
    assert CHROMIUM is not None
    done = subprocess.run(
        [CHROMIUM, *HEADLESS, f"--user-data-dir={profile}", "--dump-dom", url],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH (apt-get install chromium)")
def test_a_browser_shows_hits_as_successes(
    flower: Flower,
    listening: None,
    harness: Harness,
    new_harness: Any,
    redis_server: Server,
    tmp_path: Path,
) -> None:
    asked = new_harness(redis_server, taskcache_send_events=True)
    add = asked.task("consumer.add")
    add.delay(asked.tag, 1).get(timeout=PATIENCE)
    hit = add.delay(asked.tag, 1)
    hit.get(timeout=PATIENCE)
    cached = asked.task("producer.add")
    cached.delay(asked.tag, 2).get(timeout=PATIENCE)
    at_once = cached.delay(asked.tag, 2)
    wait_until(lambda: flower.events("producer.add").get(("producer", HIT)), timeout=PATIENCE)
    rows = re.findall(r"<tr.*?</tr>", dump(f"{flower.url}/tasks", tmp_path), re.DOTALL)
    (row,) = (row for row in rows if hit.id in row)
    assert "SUCCESS" in row
    assert re.search(r"[\d.]+ ms", row)
    assert at_once.cache_status.hit
    page = dump(f"{flower.url}/task/{at_once.id}", tmp_path)
    assert "CACHE-HIT" in page
    assert f"({asked.tag!r}, 2)" in page.replace("&#39;", "'").replace("&#x27;", "'")


def test_a_hit_waits_for_no_broker(
    new_harness: Callable[..., Harness], redis_server: Server, server_factory: Callable[..., Server]
) -> None:
    broker = server_factory()
    harness = new_harness(broker, redis_server.url(2), taskcache_send_events=True)
    harness.app.conf.result_backend = redis_server.url(1)
    add = harness.task("producer.add")
    add.cache.set("stored", harness.tag, 1)
    broker.kill()
    assert [add.delay(harness.tag, 1).get(timeout=PATIENCE) for _ in range(3)] == ["stored"] * 3
    assert harness.cache.stats().faults == 1  # the first; then none is tried for a while
