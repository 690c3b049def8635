"""Sweeps (I3): the memory of what has ended comes back, whoever is interrupted; and queued ends."""

import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.integration.harness import Harness
from tests.support.proxy import Proxy
from tests.support.servers import Server, free_port
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache.cache.engine import sweeping
from tta_taskcache.celery.warming import maintenance_tasks
from tta_taskcache.stores.sweep_commands import SweepProgress

pytestmark = pytest.mark.one_server_kind

#: More than a few batches.
MANY = 450

#: What a test waits at most (s); how long things take isn't tested here.
PATIENCE = 30

Worked = Callable[..., Worker]


def fill(harness: Harness, count: int = MANY, first: int = 0) -> set[str]:
    """Entries of one task: their keys."""
    cache = harness.task("cached.add").cache
    for number in range(first, first + count):
        cache.set(number, harness.tag, number)
    return {cache.key(harness.tag, number) for number in range(first, first + count)}


def stored(harness: Harness, server: Server | None = None) -> set[str]:
    """Keys of all entries that take up memory, ended or not."""
    names = (server or harness.server).client(2).scan_iter(match="taskcache:e:*")
    return {name.decode().removeprefix("taskcache:e:{").removesuffix("}") for name in names}


def asked(harness: Harness) -> bool:
    return bool(harness.cache.runtime.run(sweeping.request()))


def progress(harness: Harness) -> SweepProgress:
    found = harness.cache.runtime.run(sweeping.progress())
    assert found is not None
    return found


def batch(harness: Harness, now: SweepProgress) -> SweepProgress:
    runtime = harness.cache.runtime
    return runtime.run(sweeping.batch(runtime.engine, now))


def finish(harness: Harness, now: SweepProgress) -> SweepProgress:
    while not now.is_over:
        now = batch(harness, now)
    return now


@pytest.fixture
def own(server_factory: Callable[..., Server], new_harness: Callable[..., Harness]) -> Harness:
    """An app on a server of its own: nobody else takes its messages."""
    return new_harness(server_factory())


END: dict[str, Callable[[Harness], Any]] = {
    "task": lambda harness: harness.cache.invalidate(task="cached.add"),
    "pattern": lambda harness: harness.cache.invalidate(pattern="cached.add:*"),
    "tags": lambda harness: harness.cache.invalidate(tags=[f"tag:{harness.tag}"]),
    "clear": lambda harness: harness.cache.clear(),
}


@pytest.mark.parametrize("how", ["task", "pattern", "clear"])
def test_only_what_has_ended_is_dropped(own: Harness, how: str) -> None:
    ended = fill(own)
    END[how](own)
    fresh = fill(own, 50, MANY)
    assert stored(own) == ended | fresh
    end = finish(own, SweepProgress())
    assert stored(own) == fresh
    assert end.dropped == len(ended)
    assert end.freed > 0
    assert progress(own).is_over


def test_what_ended_by_tag_is_dropped_too(own: Harness) -> None:
    steered = own.task("steered").cache
    steered.set(1, own.tag)
    kept = fill(own, 3)
    END["tags"](own)
    assert finish(own, SweepProgress()).dropped == 1
    assert stored(own) == kept


def test_what_is_filled_meanwhile_stays(own: Harness) -> None:
    ended = fill(own)
    END["task"](own)
    now, fresh, batches = SweepProgress(), set[str](), 0
    while not now.is_over:
        # Over ended entries, and beside them.
        fresh |= fill(own, 10, batches * 10) | fill(own, 5, MANY + batches * 5)
        now, batches = batch(own, now), batches + 1
    assert batches > 2
    assert stored(own) == fresh
    assert not ended & stored(own) - fresh


def test_what_is_filled_meanwhile_stays_when_they_race(own: Harness) -> None:
    """A writer that never waits for the sweeps, and refills just what they are about to drop."""
    cache = own.task("cached.add").cache
    fill(own)
    END["task"](own)

    def refill() -> None:
        for number in range(MANY):
            assert cache.set(-number, own.tag, number)

    rounds = 0
    with ThreadPoolExecutor(1) as writers:
        writing = writers.submit(refill)
        while not writing.done():
            finish(own, SweepProgress())
            rounds += 1
    writing.result()
    finish(own, SweepProgress())
    assert rounds > 1
    assert [cache.get(own.tag, n) for n in range(MANY)] == [-n for n in range(MANY)]
    assert len(stored(own)) == MANY


def test_an_interrupted_sweep_goes_on_from_where_it_was(own: Harness) -> None:
    ended = fill(own)
    END["task"](own)
    left = batch(own, batch(own, SweepProgress()))
    assert left.cursor
    assert len(stored(own)) == len(ended) - left.dropped > 0
    # Another process knows no more than what was noted.
    found = progress(own)
    assert found == left
    end = finish(own, own.cache.runtime.run(sweeping.resume(found)))
    assert not stored(own)
    assert end.dropped == len(ended)


def test_a_request_during_a_round_leads_to_another(own: Harness) -> None:
    fill(own)
    END["task"](own)
    now = batch(own, SweepProgress())
    assert now.cursor
    fill(own)
    END["task"](own)
    assert not asked(own), "one is under way"
    rounds = 1
    while not now.is_over:
        before, now = now, batch(own, now)
        rounds += not now.is_over and now.request > before.request
    assert rounds == 2
    assert not stored(own)


def test_a_request_after_the_end_starts_one(own: Harness) -> None:
    assert asked(own)
    assert not asked(own)
    finish(own, SweepProgress())
    assert asked(own)


@pytest.mark.parametrize("how", ["task", "pattern", "clear"])
def test_a_worker_does_it(own: Harness, own_worker: Worked, how: str) -> None:
    fill(own)
    END[how](own)
    fresh = fill(own, 20, MANY)
    own_worker(own)
    wait_until(lambda: progress(own).is_over, timeout=PATIENCE, what="the end of the sweep")
    assert stored(own) == fresh


def test_a_worker_goes_on_with_one_sent_to_it(own: Harness, own_worker: Worked) -> None:
    """Slices: a message carries how far the one before has come."""
    fill(own)
    END["task"](own)
    own.server.client(0).delete("celery")  # the message is lost
    left = batch(own, SweepProgress())
    assert left.cursor
    so_far = {name: getattr(left, name) for name in left.__slots__}
    own.app.tasks[maintenance_tasks.SWEEP].apply_async((so_far,), ignore_result=True)
    own_worker(own)
    wait_until(lambda: progress(own).is_over, timeout=PATIENCE, what="the end of the sweep")
    assert not stored(own)


def test_a_worker_does_it_in_slices(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness], own_worker: Worked
) -> None:
    """A sweep that takes long lets other tasks have their turn."""
    server = server_factory()
    with Proxy(server.port) as proxy:
        harness = new_harness(server, proxy.url(2))
        fill(harness, 1_000)
        END["task"](harness)
        proxy.delay(0.02)
        worker = own_worker(harness, concurrency=1)
        wait_until(lambda: progress(harness).visited, timeout=PATIENCE, what="the first slice")
        assert harness.task("plain.add").delay(harness.tag, 1, 2).get(timeout=PATIENCE) == 3
        wait_until(lambda: progress(harness).is_over, timeout=2 * PATIENCE, what="the end")
        wait_until(lambda: worker.log.count("received") == worker.log.count("succeeded"))
    done = re.findall(r"Task ([\w.]+)\[\S+ succeeded", worker.log)
    assert done[0] == done[-1] == maintenance_tasks.SWEEP
    assert "plain.add" in done
    assert not stored(harness)


def test_an_invalidation_takes_effect_without_a_broker(
    redis_server: Server, new_harness: Callable[..., Harness], caplog: pytest.LogCaptureFixture
) -> None:
    harness = new_harness(redis_server, broker_url=f"redis://127.0.0.1:{free_port()}/0")
    fill(harness, 3)
    with caplog.at_level(logging.WARNING, "tta_taskcache"):
        assert harness.cache.invalidate(pattern="cached.add:*") is None
    assert not harness.cache.keys()
    (record,) = (r for r in caplog.records if "keeps its memory" in r.getMessage())
    assert record.levelno == logging.WARNING


def test_a_queued_invalidation_outlasts_redis(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness], own_worker: Worked
) -> None:
    broker, held = server_factory(), server_factory()
    harness = new_harness(broker, held.url(2))
    worker = own_worker(harness)
    held.kill()
    result = harness.cache.invalidate(pattern="cached.add:*", queue=True)
    assert result is not None
    retried = f"Task {maintenance_tasks.INVALIDATE}[{result.id}] retry"
    wait_until(lambda: retried in worker.log, timeout=PATIENCE, what="a retry")
    assert not result.ready()
    held.restart()
    assert result.get(timeout=2 * PATIENCE) is None
    control = held.client(2).hgetall("taskcache:{log}:control")
    assert b"sequence" in control, "it has reached Redis"


def test_a_queued_invalidation_ends_what_it_names(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness], own_worker: Worked
) -> None:
    """Redis can't be reached, and then it can, with the entries it had."""
    broker, held = server_factory(), server_factory()
    with Proxy(held.port) as proxy:
        harness = new_harness(broker, proxy.url(2))
        ended = fill(harness, 3)
        worker = own_worker(harness)
        proxy.refuse()
        proxy.cut()
        result = harness.cache.invalidate(task="cached.add", queue=True)
        assert result is not None
        retried = f"Task {maintenance_tasks.INVALIDATE}[{result.id}] retry"
        wait_until(lambda: retried in worker.log, timeout=PATIENCE, what="a retry")
        assert stored(harness, held) == ended
        proxy.accept()
        assert result.get(timeout=2 * PATIENCE) is None
        wait_until(lambda: not stored(harness, held), timeout=PATIENCE, what="the sweep")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, ValueError),
        ({"queue": True}, ValueError),
        ({"tags": []}, ValueError),
        ({"tags": "user:1"}, TypeError),
        ({"tags": [1]}, TypeError),
        ({"tags": 1}, TypeError),
        ({"pattern": ""}, TypeError),
        ({"pattern": b"x*"}, TypeError),
    ],
)
def test_invalidate_tells_what_is_wrong(
    harness: Harness, arguments: dict[str, Any], error: type[Exception]
) -> None:
    kept = fill(harness, 1)
    with pytest.raises(error, match=r"invalidate\("):
        harness.cache.invalidate(**arguments)
    assert set(harness.cache.keys()) == kept


def test_a_round_begins_anew_after_its_end_is_noted(own: Harness) -> None:
    """Whoever takes over between two rounds begins the next one, with the newest request."""
    fill(own)
    END["task"](own)
    now = batch(own, SweepProgress())
    asked(own)
    while now.cursor:
        now = batch(own, now)
    found = progress(own)
    assert (found.is_over, found.cursor, found.visited) == (False, "", 0)
    begun = own.cache.runtime.run(sweeping.resume(found))
    assert begun == replace(SweepProgress(), request=now.request)
    assert finish(own, begun).is_over


def test_i4_an_invalidation_is_queued_while_results_and_cache_are_down(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness], free_port: int
) -> None:
    broker = server_factory()
    gone = f"redis://127.0.0.1:{free_port}"
    retry = {"retry_policy": {"max_retries": 0}}
    harness = new_harness(
        broker, f"{gone}/2", result_backend=f"{gone}/1", result_backend_transport_options=retry
    )
    assert harness.cache.invalidate(tags=["x"], queue=True) is not None
    assert broker.client(0).llen("celery") == 1
