"""C2: what a worker fetches while calls wait in it for equal ones, and after."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.harness import Harness
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind

PATIENCE = 30


@pytest.fixture
def own(server_factory: Callable[..., Server], new_harness: Callable[..., Harness]) -> Harness:
    return new_harness(server_factory())


def prefetch_count(harness: Harness, worker: Worker) -> int:
    """The prefetch count that Celery reckons with."""
    stats = harness.app.control.inspect([worker.hostname], timeout=5).stats()
    return int(stats[worker.hostname]["prefetch_count"])


def follow(harness: Harness, times: int) -> list[Any]:
    """A run that a test ends, and calls that wait for it."""
    task = harness.task("steered")
    results = [task.delay(harness.tag)]
    assert harness.counts.blpop([f"started:{harness.tag}"], timeout=PATIENCE), "nobody leads"
    results += [task.delay(harness.tag) for _ in range(times)]
    queue = harness.server.client(0)
    wait_until(lambda: queue.llen("celery") == 0, timeout=PATIENCE, what="all to be fetched")
    return results


def end(harness: Harness, results: list[Any]) -> None:
    harness.counts.rpush(f"order:{harness.tag}", "done")
    assert len({tuple(result.get(timeout=PATIENCE)) for result in results}) == 1
    assert harness.runs("steered", harness.tag, 0) == 1


@pytest.mark.parametrize("multiplier", [1, 4])
def test_c2_followers_leave_slots_free_without_prefetching(
    own: Harness, own_worker: Any, multiplier: int
) -> None:
    conf = {"worker_disable_prefetch": True, "worker_prefetch_multiplier": multiplier}
    worker = own_worker(own, conf, concurrency=2)
    results = follow(own, 6)
    assert own.task("plain.add").delay(own.tag, 1, 2).get(timeout=PATIENCE) == 3
    end(own, results)
    # Each slot is fetched for again, and nothing beyond.
    open_gate = own.occupy(2)
    for _ in range(3):
        own.task("plain.add").delay(own.tag, 1, 2)
    assert prefetch_count(own, worker) == 2 * multiplier
    assert own.server.client(0).llen("celery") == 3
    open_gate()


def test_c2_followers_leave_the_prefetch_count_as_it_was_with_a_limit(
    own: Harness, own_worker: Any
) -> None:
    conf = {"worker_eta_task_limit": 20, "worker_prefetch_multiplier": 8}
    worker = own_worker(own, conf, concurrency=2)
    before = prefetch_count(own, worker)
    end(own, follow(own, 12))
    assert prefetch_count(own, worker) == before
