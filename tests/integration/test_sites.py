"""S1 to S5, R1 to R3: where a hit is answered, and what it costs."""

import subprocess
import sys

import pytest
from celery.exceptions import TimeoutError as NotInTime

from tests.integration.app import SITES
from tests.integration.benches import Bench
from tests.support.counting import commands, round_trips
from tests.support.servers import Server
from tests.support.workers import ROOT, Worker

pytestmark = pytest.mark.every_server_kind


@pytest.mark.parametrize("name", ["cached.add", *(f"{site}.add" for site in SITES)])
def test_the_second_call_is_answered_without_running(
    bench: Bench, worker: Worker, name: str
) -> None:
    task = bench.task(name)
    first = task.delay(bench.tag, 1, 2)
    assert first.get(timeout=20) == 3
    assert not first.cache_status.hit
    second = task.delay(bench.tag, x=1, y=2)
    assert second.get(timeout=20) == 3
    assert bench.runs("add", bench.tag, 1, 2) == 1


def test_s1_a_hit_at_the_producer_sends_no_message(
    bench: Bench, worker: Worker, redis_server: Server
) -> None:
    task = bench.task("cached.add")
    computed = task.delay(bench.tag, 1)
    computed.get(timeout=20)
    with commands(redis_server) as done:
        hits = [task.delay(bench.tag, 1) for _ in range(10)]
    assert done["lpush"] == 0, "kombu publishes with LPUSH"
    assert [hit.get(timeout=20) for hit in hits] == [1] * 10
    assert len({hit.id for hit in hits}) == 10
    status = hits[0].cache_status
    assert (status.hit, status.site, status.task_id) == (True, "producer", computed.id)
    assert [hit.cache_status.layer for hit in hits] == ["l2"] + ["l1"] * 9
    with commands(redis_server) as done:
        task.delay(bench.tag, 2).get(timeout=20)
    assert done["lpush"] == 1, "the count can see a message"


def test_s1_any_process_can_get_the_result_of_a_hit(bench: Bench, worker: Worker) -> None:
    task = bench.task("cached.add")
    task.delay(bench.tag, 40, 2).get(timeout=20)
    hit = task.delay(bench.tag, 40, 2)
    assert hit.cache_status.hit
    code = (
        "import sys; from celery import Celery; app = Celery(backend=sys.argv[1]);"
        "result = app.AsyncResult(sys.argv[2]); print(result.get(timeout=10), result.state)"
    )
    command = [sys.executable, "-c", code, bench.app.conf.result_backend, hit.id]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout.split() == ["42", "SUCCESS"]


def test_s1_a_result_that_is_ignored_is_not_stored(
    bench: Bench, worker: Worker, redis_server: Server
) -> None:
    task = bench.task("cached.add")
    task.delay(bench.tag, 1).get(timeout=20)
    kept = set(redis_server.client(1).keys("celery-task-meta-*"))
    hit = task.apply_async((bench.tag, 1), ignore_result=True)
    assert hit.cache_status.hit
    assert hit.get() is None
    assert set(redis_server.client(1).keys("celery-task-meta-*")) == kept


def test_s1_the_caller_may_name_the_task_id(bench: Bench, worker: Worker) -> None:
    task = bench.task("cached.add")
    task.delay(bench.tag, 1).get(timeout=20)
    hit = task.apply_async((bench.tag, 1), task_id=f"mine-{bench.tag}")
    assert hit.id == f"mine-{bench.tag}"
    assert bench.app.AsyncResult(hit.id).get(timeout=20) == 1


def test_s2_a_hit_needs_no_pool_process(bench: Bench, worker: Worker) -> None:
    """Both pool processes are busy: a cached call comes back, an uncached one waits."""
    task = bench.task("consumer.add")
    task.delay(bench.tag, 1).get(timeout=20)
    open_gate = bench.occupy(2)
    try:
        assert task.delay(bench.tag, 1).get(timeout=20) == 1
        uncached = task.delay(bench.tag, 2)
        with pytest.raises(NotInTime):
            uncached.get(timeout=1)
        # As it went out with the busy processes, so it stays: hits pass it by.
        assert task.delay(bench.tag, 1).get(timeout=20) == 1
        assert not uncached.ready()
    finally:
        open_gate()
    assert uncached.get(timeout=20) == 2


def test_s2_what_is_sent_by_name_is_answered_too(bench: Bench, worker: Worker) -> None:
    bench.task("cached.add").delay(bench.tag, 5).get(timeout=20)
    assert bench.app.send_task("cached.add", (bench.tag, 5)).get(timeout=20) == 5
    assert bench.runs("add", bench.tag, 5, 0) == 1


def test_s3_the_pool_looks_a_last_time(bench: Bench, worker: Worker) -> None:
    """Two equal messages wait for the pool: the second finds what the first has stored."""
    task = bench.task("pool.add")
    open_gate = bench.occupy(1)
    other = bench.occupy(1)
    results = [task.delay(bench.tag, 7) for _ in range(2)]
    open_gate()
    assert [result.get(timeout=20) for result in results] == [7, 7]
    other()
    assert bench.runs("add", bench.tag, 7, 0) == 1


def test_s5_eta_and_countdown_are_not_answered_at_the_producer(
    bench: Bench, worker: Worker
) -> None:
    task = bench.task("cached.add")
    task.delay(bench.tag, 1).get(timeout=20)
    later = task.apply_async((bench.tag, 1), countdown=1)
    assert not later.cache_status.hit
    assert later.state == "PENDING"
    assert later.get(timeout=20) == 1
    assert bench.runs("add", bench.tag, 1, 0) == 1, "when its time came, it was answered"


def test_s5_retries_run(bench: Bench, worker: Worker) -> None:
    task = bench.task("retries")
    assert task.delay(bench.tag).get(timeout=30) == 2
    assert bench.runs("retries", bench.tag) == 3
    assert task.delay(bench.tag).get(timeout=30) == 2
    assert bench.runs("retries", bench.tag) == 3


@pytest.mark.parametrize("which", range(7))
def test_r1_any_value_is_a_value(bench: Bench, worker: Worker, which: int) -> None:
    task = bench.task("value")
    first = task.delay(bench.tag, which).get(timeout=20)
    second = task.delay(bench.tag, which)
    assert second.cache_status.hit
    assert second.get(timeout=20) == first
    assert type(second.get()) is type(first)
    assert bench.runs("value", bench.tag, which) == 1


def test_r1b_what_its_serializer_cant_carry_is_returned_and_not_cached(bench: Bench) -> None:
    task = bench.task("unserializable")
    assert task.cache.call(bench.tag) == {"a", bench.tag}
    assert task.cache.call(bench.tag) == {"a", bench.tag}
    assert bench.runs("unserializable", bench.tag) == 2
    assert bench.cache.stats().tasks["unserializable"].fills == {"unserializable": 2}


def test_r2_a_caller_that_mutates_a_result_changes_nothing(bench: Bench, worker: Worker) -> None:
    task = bench.task("value")
    task.delay(bench.tag, 6).get(timeout=20)
    for _ in range(3):
        result = task.delay(bench.tag, 6)
        assert result.cache_status.hit
        value = result.get()
        assert value == {"a": [1]}
        value["a"].append(2)
        direct = task.cache.get(bench.tag, 6)
        assert direct == {"a": [1]}
        direct.clear()


def test_r3_round_trips_of_ours(new_bench, server_factory, own_worker) -> None:
    """L1 hit 0, L2 hit 1, a cold call through all three sites 2."""
    broker, caches = server_factory(), server_factory()
    bench = new_bench(broker, caches.url(0))
    other = new_bench(broker, caches.url(0))
    own_worker(bench, concurrency=1)
    task = bench.task("cached.add")
    # Everybody has connected and opened the log.
    task.delay(bench.tag, 0).get(timeout=20)
    other.task("cached.add").delay(bench.tag, 0).get(timeout=20)
    bench.app.send_task("cached.add", (bench.tag, 0)).get(timeout=20)
    cold = []
    for x in range(1, 6):
        with round_trips(caches) as trips:
            assert task.delay(bench.tag, x).get(timeout=20) == x
        cold.append(trips.count)
    # A machine that stalls for 50 ms makes a site look again.
    assert min(cold) == 2
    assert max(cold) <= 4
    with round_trips(caches) as trips:
        assert other.task("cached.add").delay(bench.tag, 1).cache_status.layer == "l2"
    assert trips.count == 1
    l1 = other.cache.runtime.engine.parts.l1
    l1.max_staleness = 60.0
    with round_trips(caches) as trips:
        for _ in range(20):
            assert other.task("cached.add").delay(bench.tag, 1).cache_status.layer == "l1"
    assert trips.count == 0


@pytest.mark.parametrize("pool", ["solo", "threads"])
@pytest.mark.parametrize("name", ["cached.add", "consumer.add", "pool.add"])
def test_s3_other_pools(new_bench, server_factory, own_worker, pool: str, name: str) -> None:
    bench = new_bench(server_factory())
    own_worker(bench, pool=pool)
    task = bench.task(name)
    assert [task.delay(bench.tag, 1).get(timeout=20) for _ in range(3)] == [1, 1, 1]
    assert bench.app.send_task(name, (bench.tag, 1)).get(timeout=20) == 1
    assert bench.runs("add", bench.tag, 1, 0) == 1
