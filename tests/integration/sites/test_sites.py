"""S1 to S5, R1 to R3: where a hit is answered, and what it costs."""

import subprocess
import sys

import pytest
from celery.exceptions import TimeoutError as NotInTime

from tests.integration.app import SITES
from tests.integration.harness import Harness
from tests.support.counting import commands, round_trips
from tests.support.servers import Server
from tests.support.workers import ROOT, Worker

pytestmark = pytest.mark.every_server_kind


@pytest.mark.parametrize("name", ["cached.add", *(f"{site}.add" for site in SITES)])
def test_the_second_call_is_answered_without_running(
    harness: Harness, worker: Worker, name: str
) -> None:
    task = harness.task(name)
    first = task.delay(harness.tag, 1, 2)
    assert first.get(timeout=20) == 3
    assert not first.cache_status.hit
    second = task.delay(harness.tag, x=1, y=2)
    assert second.get(timeout=20) == 3
    assert harness.runs("add", harness.tag, 1, 2) == 1


def test_s1_a_hit_at_the_producer_sends_no_message(
    harness: Harness, worker: Worker, redis_server: Server
) -> None:
    task = harness.task("cached.add")
    computed = task.delay(harness.tag, 1)
    computed.get(timeout=20)
    with commands(redis_server) as done:
        hits = [task.delay(harness.tag, 1) for _ in range(10)]
    assert done["lpush"] == 0, "kombu publishes with LPUSH"
    assert [hit.get(timeout=20) for hit in hits] == [1] * 10
    assert len({hit.id for hit in hits}) == 10
    status = hits[0].cache_status
    assert (status.hit, status.site, status.task_id) == (True, "producer", computed.id)
    assert [hit.cache_status.layer for hit in hits] == ["l2"] + ["l1"] * 9
    with commands(redis_server) as done:
        task.delay(harness.tag, 2).get(timeout=20)
    assert done["lpush"] == 1, "the count can see a message"


def test_s1_any_process_can_get_the_result_of_a_hit(harness: Harness, worker: Worker) -> None:
    task = harness.task("cached.add")
    task.delay(harness.tag, 40, 2).get(timeout=20)
    hit = task.delay(harness.tag, 40, 2)
    assert hit.cache_status.hit
    code = (
        "import sys; from celery import Celery; app = Celery(backend=sys.argv[1]);"
        "result = app.AsyncResult(sys.argv[2]); print(result.get(timeout=10), result.state)"
    )
    command = [sys.executable, "-c", code, harness.app.conf.result_backend, hit.id]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout.split() == ["42", "SUCCESS"]


def test_s1_a_result_that_is_ignored_is_not_stored(
    harness: Harness, worker: Worker, redis_server: Server
) -> None:
    task = harness.task("cached.add")
    task.delay(harness.tag, 1).get(timeout=20)
    kept = set(redis_server.client(1).keys("celery-task-meta-*"))
    hit = task.apply_async((harness.tag, 1), ignore_result=True)
    assert hit.cache_status.hit
    assert hit.get() is None
    assert set(redis_server.client(1).keys("celery-task-meta-*")) == kept


def test_s1_the_caller_may_name_the_task_id(harness: Harness, worker: Worker) -> None:
    task = harness.task("cached.add")
    task.delay(harness.tag, 1).get(timeout=20)
    hit = task.apply_async((harness.tag, 1), task_id=f"mine-{harness.tag}")
    assert hit.id == f"mine-{harness.tag}"
    assert harness.app.AsyncResult(hit.id).get(timeout=20) == 1


def test_s2_a_hit_needs_no_pool_process(harness: Harness, worker: Worker) -> None:
    """Both pool processes are busy: a cached call comes back, an uncached one waits."""
    task = harness.task("consumer.add")
    task.delay(harness.tag, 1).get(timeout=20)
    open_gate = harness.occupy(2)
    try:
        assert task.delay(harness.tag, 1).get(timeout=20) == 1
        uncached = task.delay(harness.tag, 2)
        with pytest.raises(NotInTime):
            uncached.get(timeout=1)
        # As it went out with the busy processes, so it stays: hits pass it by.
        assert task.delay(harness.tag, 1).get(timeout=20) == 1
        assert not uncached.ready()
    finally:
        open_gate()
    assert uncached.get(timeout=20) == 2


def test_s2_what_is_sent_by_name_is_answered_too(harness: Harness, worker: Worker) -> None:
    harness.task("cached.add").delay(harness.tag, 5).get(timeout=20)
    assert harness.app.send_task("cached.add", (harness.tag, 5)).get(timeout=20) == 5
    assert harness.runs("add", harness.tag, 5, 0) == 1


def test_s3_the_pool_looks_a_last_time(harness: Harness, worker: Worker) -> None:
    """Two equal messages wait for the pool: the second finds what the first has stored."""
    task = harness.task("pool.add")
    open_gate = harness.occupy(1)
    other = harness.occupy(1)
    results = [task.delay(harness.tag, 7) for _ in range(2)]
    open_gate()
    assert [result.get(timeout=20) for result in results] == [7, 7]
    other()
    assert harness.runs("add", harness.tag, 7, 0) == 1


def test_s5_eta_and_countdown_are_not_answered_at_the_producer(
    harness: Harness, worker: Worker
) -> None:
    task = harness.task("cached.add")
    task.delay(harness.tag, 1).get(timeout=20)
    later = task.apply_async((harness.tag, 1), countdown=1)
    assert not later.cache_status.hit
    assert later.state == "PENDING"
    assert later.get(timeout=20) == 1
    assert harness.runs("add", harness.tag, 1, 0) == 1, "when its time came, it was answered"


def test_s5_retries_run(harness: Harness, worker: Worker) -> None:
    task = harness.task("retries")
    assert task.delay(harness.tag).get(timeout=30) == 2
    assert harness.runs("retries", harness.tag) == 3
    assert task.delay(harness.tag).get(timeout=30) == 2
    assert harness.runs("retries", harness.tag) == 3


@pytest.mark.parametrize("which", range(7))
def test_r1_any_value_is_a_value(harness: Harness, worker: Worker, which: int) -> None:
    task = harness.task("value")
    first = task.delay(harness.tag, which).get(timeout=20)
    second = task.delay(harness.tag, which)
    assert second.cache_status.hit
    assert second.get(timeout=20) == first
    assert type(second.get()) is type(first)
    assert harness.runs("value", harness.tag, which) == 1


def test_r1b_what_its_serializer_cant_carry_is_returned_and_not_cached(harness: Harness) -> None:
    task = harness.task("unserializable")
    assert task.cache.call(harness.tag) == {"a", harness.tag}
    assert task.cache.call(harness.tag) == {"a", harness.tag}
    assert harness.runs("unserializable", harness.tag) == 2
    assert harness.cache.stats().tasks["unserializable"].fills == {"unserializable": 2}


def test_r2_a_caller_that_mutates_a_result_changes_nothing(
    harness: Harness, worker: Worker
) -> None:
    task = harness.task("value")
    task.delay(harness.tag, 6).get(timeout=20)
    for _ in range(3):
        result = task.delay(harness.tag, 6)
        assert result.cache_status.hit
        value = result.get()
        assert value == {"a": [1]}
        value["a"].append(2)
        direct = task.cache.get(harness.tag, 6)
        assert direct == {"a": [1]}
        direct.clear()


def test_r3_round_trips_of_ours(new_harness, server_factory, own_worker) -> None:
    """L1 hit 0, L2 hit 1, a cold call through all three sites 2."""
    broker, caches = server_factory(), server_factory()
    harness = new_harness(broker, caches.url(0))
    other = new_harness(broker, caches.url(0))
    own_worker(harness, concurrency=1)
    task = harness.task("cached.add")
    # Everybody has connected and opened the log.
    task.delay(harness.tag, 0).get(timeout=20)
    other.task("cached.add").delay(harness.tag, 0).get(timeout=20)
    harness.app.send_task("cached.add", (harness.tag, 0)).get(timeout=20)
    cold = []
    for x in range(1, 6):
        with round_trips(caches) as trips:
            assert task.delay(harness.tag, x).get(timeout=20) == x
        cold.append(trips.count)
    # A machine that stalls for 50 ms makes a site look again.
    assert min(cold) == 2
    assert max(cold) <= 4
    with round_trips(caches) as trips:
        assert other.task("cached.add").delay(harness.tag, 1).cache_status.layer == "l2"
    assert trips.count == 1
    l1 = other.cache.runtime.engine.parts.l1
    l1.max_staleness = 60.0
    with round_trips(caches) as trips:
        for _ in range(20):
            assert other.task("cached.add").delay(harness.tag, 1).cache_status.layer == "l1"
    assert trips.count == 0


@pytest.mark.parametrize("pool", ["solo", "threads"])
@pytest.mark.parametrize("name", ["cached.add", "consumer.add", "pool.add"])
def test_s3_other_pools(new_harness, server_factory, own_worker, pool: str, name: str) -> None:
    harness = new_harness(server_factory())
    own_worker(harness, pool=pool)
    task = harness.task(name)
    assert [task.delay(harness.tag, 1).get(timeout=20) for _ in range(3)] == [1, 1, 1]
    assert harness.app.send_task(name, (harness.tag, 1)).get(timeout=20) == 1
    assert harness.runs("add", harness.tag, 1, 0) == 1
