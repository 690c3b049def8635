"""Stale results (RFC 5861), remembered failures, and what isn't stored: at each site."""

from typing import Any

import pytest
from kombu.exceptions import OperationalError

from tests.integration.app import SITES, Gone
from tests.integration.harness import Harness
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind

KINDS = ("cached", *SITES)


def sources(harness: Harness) -> int:
    return harness.runs("source", harness.tag)


def explained(task: Any, *args: Any) -> str:
    return str(task.cache.explain(*args))


def become_stale(harness: Harness, task: Any, word: str) -> None:
    wait_until(lambda: word in explained(task, harness.tag), what=f"an entry that is {word}")


@pytest.mark.parametrize("kind", KINDS)
def test_r5_stale_is_served_while_one_refresh_runs(
    harness: Harness, worker: Worker, kind: str
) -> None:
    task = harness.task(f"{kind}.revalidated")
    assert task.delay(harness.tag).get(timeout=20) == 1
    become_stale(harness, task, "(stale)")
    results = [task.delay(harness.tag) for _ in range(20)]
    values = [result.get(timeout=20) for result in results]
    assert values[0] == 1
    assert set(values) <= {1, 2}, "the refresh may be done by the last of them"
    wait_until(lambda: sources(harness) == 2, what="the refresh")
    wait_until(lambda: task.cache.get(harness.tag) == 2, what="its value")
    if kind in ("cached", "producer"):
        assert results[0].cache_status.stale
        assert results[0].cache_status.hit
        assert harness.cache.stats().tasks[task.name].stale["stale"] >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_refreshes_go_to_their_own_queue_once(
    harness: Harness, worker: Worker, redis_server: Server, kind: str
) -> None:
    task = harness.task(f"{kind}.queued")
    assert task.delay(harness.tag).get(timeout=20) == 1
    become_stale(harness, task, "(stale)")
    values = [task.delay(harness.tag).get(timeout=20) for _ in range(10)]
    assert values == [1] * 10
    queued = redis_server.client(0)
    assert queued.llen("refreshes") == 1, "nobody reads that queue, and nobody waits for it"
    assert sources(harness) == 1


def test_a_refresh_that_comes_too_late_has_nothing_to_do(harness: Harness, worker: Worker) -> None:
    task = harness.task("cached.revalidated")
    assert task.delay(harness.tag).get(timeout=20) == 1
    task.apply_async((harness.tag,), cache="refresh").get(timeout=20)
    assert sources(harness) == 2
    late = task.apply_async((harness.tag,), cache="revalidate")
    assert late.get(timeout=20) == 2
    assert sources(harness) == 2


def test_a_refresh_that_is_early_runs(harness: Harness, worker: Worker) -> None:
    """What it is to replace is fresh: chance had it refreshed, and isn't asked again."""
    task = harness.task("early")
    number = task.delay(harness.tag).get(timeout=20)
    for _ in range(4):
        before, number = (
            number,
            task.apply_async((harness.tag,), cache="revalidate").get(timeout=20),
        )
        assert number == before + 1


@pytest.mark.parametrize("kind", KINDS)
def test_r5_the_last_result_stands_in_for_a_run_that_fails(
    harness: Harness, worker: Worker, kind: str
) -> None:
    task = harness.task(f"{kind}.kept")
    assert task.delay(harness.tag).get(timeout=20) == 1
    become_stale(harness, task, "only stands in")
    harness.counts.set(f"broken:{harness.tag}", 1)
    assert task.delay(harness.tag).get(timeout=20) == 1
    assert sources(harness) == 4, "it was tried three times"
    assert [task.delay(harness.tag).get(timeout=20) for _ in range(5)] == [1] * 5
    assert sources(harness) == 4, "what fails isn't hammered"


def test_r5_the_next_try_replaces_the_last_result(harness: Harness, worker: Worker) -> None:
    harness.cache.runtime.engine.parts.try_again = 0.1
    task = harness.task("cached.kept")
    assert task.cache.call(harness.tag) == 1
    become_stale(harness, task, "only stands in")
    harness.counts.set(f"broken:{harness.tag}", 1)
    assert task.cache.call(harness.tag) == 1
    harness.counts.delete(f"broken:{harness.tag}")
    failed = sources(harness)
    wait_until(lambda: task.cache.call(harness.tag) > failed, what="the next try")
    assert task.cache.call(harness.tag) == sources(harness)
    stats = harness.cache.stats().tasks[task.name]
    assert stats.stale["stale-if-error"] >= 1


def test_r5_the_source_dies(harness: Harness, worker: Worker) -> None:
    task, served = harness.task("cached.dying"), []
    assert task.delay(harness.tag).get(timeout=20) == 1
    harness.counts.set(f"broken:{harness.tag}", 1)

    def fails() -> bool:
        try:
            served.append(task.delay(harness.tag).get(timeout=20))
        except ConnectionError:
            return True
        return False

    wait_until(fails, what="the end of the window")
    assert set(served) == {1}, "the last good value, until then"
    assert "nothing is stored" in explained(task, harness.tag)
    stats = harness.cache.stats().tasks[task.name]
    assert {"stale", "stale-if-error"} <= stats.stale.keys()
    # One in the background, and those that the last value stood in for; each was tried three times.
    wait_until(lambda: sources(harness) > 4 and sources(harness) % 3 == 1, what="the retries")
    harness.counts.delete(f"broken:{harness.tag}")
    value = task.delay(harness.tag).get(timeout=20)
    assert value == sources(harness)
    assert task.delay(harness.tag).get(timeout=20) == value


def test_r5_when_the_source_heals_the_next_refresh_replaces_the_value(
    harness: Harness, worker: Worker
) -> None:
    task = harness.task("cached.revalidated")
    assert task.delay(harness.tag).get(timeout=20) == 1
    harness.counts.set(f"broken:{harness.tag}", 1)
    become_stale(harness, task, "(stale)")
    assert task.delay(harness.tag).get(timeout=20) == 1
    wait_until(lambda: sources(harness) == 2, what="a refresh that fails")
    harness.counts.delete(f"broken:{harness.tag}")
    wait_until(lambda: task.delay(harness.tag).get(timeout=20) == 3, what="the next one")
    assert sources(harness) == 3


def test_a_refresh_that_was_asked_for_fails_openly(harness: Harness, worker: Worker) -> None:
    task = harness.task("cached.kept_shortly")
    assert task.delay(harness.tag).get(timeout=20) == 1
    harness.counts.set(f"broken:{harness.tag}", 1)
    with pytest.raises(ConnectionError, match=harness.tag):
        task.apply_async((harness.tag,), cache="refresh").get(timeout=20)


def test_stale_if_error_without_an_earlier_result(harness: Harness, worker: Worker) -> None:
    harness.counts.set(f"broken:{harness.tag}", 1)
    with pytest.raises(ConnectionError, match=harness.tag):
        harness.task("cached.kept_shortly").delay(harness.tag).get(timeout=20)


def test_followers_get_what_stands_in(harness: Harness, worker: Worker) -> None:
    task = harness.task("cached.kept_once")
    assert task.delay(harness.tag).get(timeout=20) == 1
    become_stale(harness, task, "only stands in")
    harness.counts.set(f"broken:{harness.tag}", 1)
    results = [task.delay(harness.tag) for _ in range(10)]
    assert [result.get(timeout=20) for result in results] == [1] * 10
    assert sources(harness) == 2, "one of them tried"


@pytest.mark.parametrize("kind", KINDS)
def test_a_remembered_failure_is_raised_again(harness: Harness, worker: Worker, kind: str) -> None:
    task = harness.task(f"{kind}.gone")
    for _ in range(4):
        result = task.apply_async(
            (harness.tag,), link_error=harness.task("note_error").s(tag=harness.tag)
        )
        with pytest.raises(KeyError) as raised:
            result.get(timeout=20)
        assert type(raised.value).__name__ == "Gone"
        assert raised.value.args == (harness.tag, 404)
        assert harness.app.AsyncResult(result.id).state == "FAILURE"
    assert harness.runs("gone", harness.tag) == 1
    wait_until(lambda: harness.counts.llen(f"errors:{harness.tag}") == 4, what="each errback")


def test_a_remembered_failure_is_the_tasks_not_the_callers(
    harness: Harness, worker: Worker
) -> None:
    for _ in range(2):
        result = harness.task("unreachable").delay(harness.tag)  # raises nothing
        with pytest.raises(OperationalError, match=harness.tag):
            result.get(timeout=20)
    assert result.cache_status.hit
    assert harness.runs("unreachable", harness.tag) == 1


def test_a_remembered_failure_is_forgotten_in_time(harness: Harness) -> None:
    task = harness.task("gone_shortly")
    for _ in range(3):
        with pytest.raises(Gone):
            task.cache.call(harness.tag)
    assert harness.runs("gone", harness.tag) == 1
    assert "a failure, remembered" in explained(task, harness.tag)
    with pytest.raises(Gone, match=harness.tag):
        task.cache.get(harness.tag)
    become_stale(harness, task, "nothing is stored")
    with pytest.raises(Gone):
        task.cache.call(harness.tag)
    assert harness.runs("gone", harness.tag) == 2


def test_what_is_not_stored_is_counted_by_reason(harness: Harness) -> None:
    odd, small = harness.task("odd_only"), harness.task("small_only")
    for _ in range(2):
        assert [odd.cache.call(harness.tag, number) for number in (1, 2)] == [1, 2]
        assert [len(small.cache.call(harness.tag, size)) for size in (8, 9)] == [8, 9]
        assert odd.cache.call(harness.tag, None) is None
    assert harness.runs("odd_only", harness.tag, 1) == 1
    assert harness.runs("odd_only", harness.tag, 2) == 2
    assert harness.runs("small_only", harness.tag, 8) == 1
    assert harness.runs("small_only", harness.tag, 9) == 2
    stats = harness.cache.stats().tasks
    assert stats["odd_only"].fills == {"cache-if": 2, "cache-if-failed": 2, "stored": 1}
    assert stats["small_only"].fills == {"stored": 1, "too-large": 2}


def test_cache_validate_refuses_on_read(harness: Harness, worker: Worker) -> None:
    task = harness.task("checked")
    assert task.delay(harness.tag).get(timeout=20) == harness.tag
    assert task.delay(harness.tag).cache_status.hit
    harness.counts.set(f"refused:{harness.tag}", 1)
    refused = task.delay(harness.tag)
    assert (refused.cache_status.hit, refused.cache_status.reason) == (False, "invalid")
    assert refused.get(timeout=20) == harness.tag
    assert harness.runs("checked", harness.tag) == 2
    assert "cache_validate refuses" in explained(task, harness.tag)
