"""One run per key (C1, C4) where callers compute: `task.cache.call`, eager calls, many at once."""

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.integration.harness import Harness
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tta_taskcache import CachedTask, TaskCache

pytestmark = pytest.mark.one_server_kind

ROOT = Path(__file__).parents[3]
PATIENCE = 60


def test_c1_c4_64_processes_ask_for_one_cold_key_and_one_computes(redis_server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.coalescing.stampede", redis_server.url(2), "64"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"runs": 1, "values": 64, "codes": [0], "different": 1}


def test_c1_c4_1000_equal_messages_over_two_workers_run_once(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness], own_worker: Any
) -> None:
    harness = new_harness(server_factory())
    for _ in range(2):
        own_worker(harness, concurrency=4)
    results = [harness.task("steered").delay(harness.tag) for _ in range(1_000)]
    assert harness.counts.blpop([f"started:{harness.tag}"], timeout=PATIENCE)
    others = [harness.task("plain.add").delay(harness.tag, 1, n) for n in range(20)]
    assert [r.get(timeout=PATIENCE) for r in others] == list(range(1, 21)), "others aren't delayed"
    harness.counts.rpush(f"order:{harness.tag}", "done")
    values = {tuple(result.get(timeout=PATIENCE)) for result in results}
    assert len(values) == 1
    assert harness.runs("steered", harness.tag, 0) == 1


class Alone:
    """An app of this process, whose task waits until it is told to go on."""

    def __init__(self, url: str | None, **conf: Any) -> None:
        self.app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
        self.app.conf.update({"taskcache_url": url, "taskcache_timeout": 5.0, **conf})
        self.started, self.go_on = threading.Semaphore(0), threading.Semaphore(0)
        self.runs: list[int] = []
        self.fails: list[int] = []

        @self.app.task(base=CachedTask, shared=False, name="alone")
        def counting_harness_alone(n: int) -> int:
            self.runs.append(n)
            self.started.release()
            assert self.go_on.acquire(timeout=PATIENCE)
            if self.fails:
                raise ValueError(self.fails.pop())
            return n

        self.task: Any = counting_harness_alone
        self.cache = TaskCache(self.app)
        self.app.finalize()


@pytest.fixture(params=["redis", "memory"])
def counting_harness_alone(request: pytest.FixtureRequest, redis_server: Server) -> Alone:
    return Alone(redis_server.url(2) if request.param == "redis" else None)


def call(counting_harness_alone: Alone) -> Any:
    return counting_harness_alone.task.cache.call(1)


def apply(counting_harness_alone: Alone) -> Any:
    return counting_harness_alone.task.apply((1,)).get()


@pytest.mark.parametrize("ask", [call, apply])
def test_c1_equal_calls_in_threads_run_once(
    counting_harness_alone: Alone, ask: Callable[[Alone], Any]
) -> None:
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(ask, counting_harness_alone) for _ in range(8)]
        assert counting_harness_alone.started.acquire(timeout=PATIENCE)
        counting_harness_alone.go_on.release(8)
        assert [each.result(PATIENCE) for each in asked] == [1] * 8
    assert counting_harness_alone.runs == [1]


def test_c1_c6_when_the_leader_fails_the_others_run(counting_harness_alone: Alone) -> None:
    counting_harness_alone.fails.append(7)
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(call, counting_harness_alone) for _ in range(4)]
        assert counting_harness_alone.started.acquire(timeout=PATIENCE)
        counting_harness_alone.go_on.release()
        for _ in range(3):
            assert counting_harness_alone.started.acquire(timeout=PATIENCE), "side by side"
        counting_harness_alone.go_on.release(3)
        outcomes = [each.exception(PATIENCE) or each.result() for each in asked]
    assert sorted(map(str, outcomes)) == ["1", "1", "1", "7"]


def test_c1_what_can_be_switched_off(redis_server: Server) -> None:
    counting_harness_alone = Alone(
        redis_server.url(2), task_annotations={"alone": {"cache_coalesce": False}}
    )
    with ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(call, counting_harness_alone) for _ in range(3)]
        for _ in range(3):
            assert counting_harness_alone.started.acquire(timeout=PATIENCE), "each runs for itself"
        counting_harness_alone.go_on.release(3)
        assert [each.result(PATIENCE) for each in asked] == [1] * 3


def test_c3_a_computation_that_asks_for_itself_does_not_wait(redis_server: Server) -> None:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.update(taskcache_url=redis_server.url(2))
    depth: list[int] = []

    @app.task(base=CachedTask, shared=False, name="recursive")
    def recursive(n: int) -> int:
        depth.append(n)
        return n if len(depth) > 2 else int(recursive.cache.call(n))

    assert recursive.cache.call(5) == 5
    assert depth == [5, 5, 5]


def test_f1_with_redis_gone_nobody_waits(redis_server: Server) -> None:
    counting_harness_alone = Alone(redis_server.url(2))
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(call, counting_harness_alone)
        assert counting_harness_alone.started.acquire(timeout=PATIENCE)
        redis_server.kill()
        others = [threads.submit(call, counting_harness_alone) for _ in range(2)]
        for _ in range(2):
            assert counting_harness_alone.started.acquire(timeout=PATIENCE)
        counting_harness_alone.go_on.release(3)
        assert [each.result(PATIENCE) for each in (first, *others)] == [1] * 3


def test_f1_a_lost_reply_leaves_no_lease_behind(redis_server: Server) -> None:
    """The look was executed and took the lease; its caller never heard of it, and runs."""
    with Proxy(redis_server.port) as proxy:
        counting_harness_alone = Alone(proxy.url(2), taskcache_timeout=0.25)
        counting_harness_alone.go_on.release(3)
        assert call(counting_harness_alone) == 1
        leases = redis_server.client(2)
        proxy.drop_replies()
        assert counting_harness_alone.task.cache.call(2) == 2
        proxy.heal()
        wait_until(lambda: not leases.keys("taskcache:l:*"), what="the end of the lease")
