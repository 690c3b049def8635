"""Stale results (RFC 5861), remembered failures, and what isn't stored: at each site."""

from typing import Any

import pytest
from kombu.exceptions import OperationalError

from tests.integration.app import SITES, Gone
from tests.integration.benches import Bench
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache.cache import refresher

pytestmark = pytest.mark.one_server_kind

KINDS = ("cached", *SITES)


def sources(bench: Bench) -> int:
    return bench.runs("source", bench.tag)


def explained(task: Any, *args: Any) -> str:
    return str(task.cache.explain(*args))


def become_stale(bench: Bench, task: Any, word: str) -> None:
    wait_until(lambda: word in explained(task, bench.tag), what=f"an entry that is {word}")


@pytest.mark.parametrize("kind", KINDS)
def test_r5_stale_is_served_while_one_refresh_runs(bench: Bench, worker: Worker, kind: str) -> None:
    task = bench.task(f"{kind}.revalidated")
    assert task.delay(bench.tag).get(timeout=20) == 1
    become_stale(bench, task, "(stale)")
    results = [task.delay(bench.tag) for _ in range(20)]
    values = [result.get(timeout=20) for result in results]
    assert values[0] == 1
    assert set(values) <= {1, 2}, "the refresh may be done by the last of them"
    wait_until(lambda: sources(bench) == 2, what="the refresh")
    wait_until(lambda: task.cache.get(bench.tag) == 2, what="its value")
    if kind in ("cached", "producer"):
        assert results[0].cache_status.stale
        assert results[0].cache_status.hit
        assert bench.cache.stats().tasks[task.name].stale["stale"] >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_refreshes_go_to_their_own_queue_once(
    bench: Bench, worker: Worker, redis_server: Server, kind: str
) -> None:
    task = bench.task(f"{kind}.queued")
    assert task.delay(bench.tag).get(timeout=20) == 1
    become_stale(bench, task, "(stale)")
    values = [task.delay(bench.tag).get(timeout=20) for _ in range(10)]
    assert values == [1] * 10
    queued = redis_server.client(0)
    assert queued.llen("refreshes") == 1, "nobody reads that queue, and nobody waits for it"
    assert sources(bench) == 1


def test_a_refresh_that_comes_too_late_has_nothing_to_do(bench: Bench, worker: Worker) -> None:
    task = bench.task("cached.revalidated")
    assert task.delay(bench.tag).get(timeout=20) == 1
    task.apply_async((bench.tag,), cache="refresh").get(timeout=20)
    assert sources(bench) == 2
    late = task.apply_async((bench.tag,), cache="revalidate")
    assert late.get(timeout=20) == 2
    assert sources(bench) == 2


def test_a_refresh_that_is_early_runs(bench: Bench, worker: Worker) -> None:
    """What it is to replace is fresh: chance had it refreshed, and isn't asked again."""
    task = bench.task("early")
    number = task.delay(bench.tag).get(timeout=20)
    for _ in range(4):
        before, number = number, task.apply_async((bench.tag,), cache="revalidate").get(timeout=20)
        assert number == before + 1


@pytest.mark.parametrize("kind", KINDS)
def test_r5_the_last_result_stands_in_for_a_run_that_fails(
    bench: Bench, worker: Worker, kind: str
) -> None:
    task = bench.task(f"{kind}.kept")
    assert task.delay(bench.tag).get(timeout=20) == 1
    become_stale(bench, task, "only stands in")
    bench.counts.set(f"broken:{bench.tag}", 1)
    assert task.delay(bench.tag).get(timeout=20) == 1
    assert sources(bench) == 4, "it was tried three times"
    assert [task.delay(bench.tag).get(timeout=20) for _ in range(5)] == [1] * 5
    assert sources(bench) == 4, "what fails isn't hammered"


def test_r5_the_next_try_replaces_the_last_result(
    bench: Bench, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refresher, "TRY_AGAIN", 0.1)
    task = bench.task("cached.kept")
    assert task.cache.call(bench.tag) == 1
    become_stale(bench, task, "only stands in")
    bench.counts.set(f"broken:{bench.tag}", 1)
    assert task.cache.call(bench.tag) == 1
    bench.counts.delete(f"broken:{bench.tag}")
    failed = sources(bench)
    wait_until(lambda: task.cache.call(bench.tag) > failed, what="the next try")
    assert task.cache.call(bench.tag) == sources(bench)
    stats = bench.cache.stats().tasks[task.name]
    assert stats.stale["stale-if-error"] >= 1


def test_r5_the_source_dies(bench: Bench, worker: Worker) -> None:
    task, served = bench.task("cached.dying"), []
    assert task.delay(bench.tag).get(timeout=20) == 1
    bench.counts.set(f"broken:{bench.tag}", 1)

    def fails() -> bool:
        try:
            served.append(task.delay(bench.tag).get(timeout=20))
        except ConnectionError:
            return True
        return False

    wait_until(fails, what="the end of the window")
    assert set(served) == {1}, "the last good value, until then"
    assert "nothing is stored" in explained(task, bench.tag)
    stats = bench.cache.stats().tasks[task.name]
    assert {"stale", "stale-if-error"} <= stats.stale.keys()
    # One in the background, and those that the last value stood in for; each was tried three times.
    wait_until(lambda: sources(bench) > 4 and sources(bench) % 3 == 1, what="the retries")
    bench.counts.delete(f"broken:{bench.tag}")
    value = task.delay(bench.tag).get(timeout=20)
    assert value == sources(bench)
    assert task.delay(bench.tag).get(timeout=20) == value


def test_r5_when_the_source_heals_the_next_refresh_replaces_the_value(
    bench: Bench, worker: Worker
) -> None:
    task = bench.task("cached.revalidated")
    assert task.delay(bench.tag).get(timeout=20) == 1
    bench.counts.set(f"broken:{bench.tag}", 1)
    become_stale(bench, task, "(stale)")
    assert task.delay(bench.tag).get(timeout=20) == 1
    wait_until(lambda: sources(bench) == 2, what="a refresh that fails")
    bench.counts.delete(f"broken:{bench.tag}")
    wait_until(lambda: task.delay(bench.tag).get(timeout=20) == 3, what="the next one")
    assert sources(bench) == 3


def test_a_refresh_that_was_asked_for_fails_openly(bench: Bench, worker: Worker) -> None:
    task = bench.task("cached.kept_shortly")
    assert task.delay(bench.tag).get(timeout=20) == 1
    bench.counts.set(f"broken:{bench.tag}", 1)
    with pytest.raises(ConnectionError, match=bench.tag):
        task.apply_async((bench.tag,), cache="refresh").get(timeout=20)


def test_stale_if_error_without_an_earlier_result(bench: Bench, worker: Worker) -> None:
    bench.counts.set(f"broken:{bench.tag}", 1)
    with pytest.raises(ConnectionError, match=bench.tag):
        bench.task("cached.kept_shortly").delay(bench.tag).get(timeout=20)


def test_followers_get_what_stands_in(bench: Bench, worker: Worker) -> None:
    task = bench.task("cached.kept_once")
    assert task.delay(bench.tag).get(timeout=20) == 1
    become_stale(bench, task, "only stands in")
    bench.counts.set(f"broken:{bench.tag}", 1)
    results = [task.delay(bench.tag) for _ in range(10)]
    assert [result.get(timeout=20) for result in results] == [1] * 10
    assert sources(bench) == 2, "one of them tried"


@pytest.mark.parametrize("kind", KINDS)
def test_a_remembered_failure_is_raised_again(bench: Bench, worker: Worker, kind: str) -> None:
    task = bench.task(f"{kind}.gone")
    for _ in range(4):
        result = task.apply_async(
            (bench.tag,), link_error=bench.task("note_error").s(tag=bench.tag)
        )
        with pytest.raises(KeyError) as raised:
            result.get(timeout=20)
        assert type(raised.value).__name__ == "Gone"
        assert raised.value.args == (bench.tag, 404)
        assert bench.app.AsyncResult(result.id).state == "FAILURE"
    assert bench.runs("gone", bench.tag) == 1
    wait_until(lambda: bench.counts.llen(f"errors:{bench.tag}") == 4, what="each errback")


def test_a_remembered_failure_is_the_tasks_not_the_callers(bench: Bench, worker: Worker) -> None:
    for _ in range(2):
        result = bench.task("unreachable").delay(bench.tag)  # raises nothing
        with pytest.raises(OperationalError, match=bench.tag):
            result.get(timeout=20)
    assert result.cache_status.hit
    assert bench.runs("unreachable", bench.tag) == 1


def test_a_remembered_failure_is_forgotten_in_time(bench: Bench) -> None:
    task = bench.task("gone_shortly")
    for _ in range(3):
        with pytest.raises(Gone):
            task.cache.call(bench.tag)
    assert bench.runs("gone", bench.tag) == 1
    assert "a failure, remembered" in explained(task, bench.tag)
    with pytest.raises(Gone, match=bench.tag):
        task.cache.get(bench.tag)
    become_stale(bench, task, "nothing is stored")
    with pytest.raises(Gone):
        task.cache.call(bench.tag)
    assert bench.runs("gone", bench.tag) == 2


def test_what_is_not_stored_is_counted_by_reason(bench: Bench) -> None:
    odd, small = bench.task("odd_only"), bench.task("small_only")
    for _ in range(2):
        assert [odd.cache.call(bench.tag, number) for number in (1, 2)] == [1, 2]
        assert [len(small.cache.call(bench.tag, size)) for size in (8, 9)] == [8, 9]
        assert odd.cache.call(bench.tag, None) is None
    assert bench.runs("odd_only", bench.tag, 1) == 1
    assert bench.runs("odd_only", bench.tag, 2) == 2
    assert bench.runs("small_only", bench.tag, 8) == 1
    assert bench.runs("small_only", bench.tag, 9) == 2
    stats = bench.cache.stats().tasks
    assert stats["odd_only"].fills == {"cache-if": 2, "cache-if-failed": 2, "stored": 1}
    assert stats["small_only"].fills == {"stored": 1, "too-large": 2}


def test_cache_validate_refuses_on_read(bench: Bench, worker: Worker) -> None:
    task = bench.task("checked")
    assert task.delay(bench.tag).get(timeout=20) == bench.tag
    assert task.delay(bench.tag).cache_status.hit
    bench.counts.set(f"refused:{bench.tag}", 1)
    refused = task.delay(bench.tag)
    assert (refused.cache_status.hit, refused.cache_status.reason) == (False, "invalid")
    assert refused.get(timeout=20) == bench.tag
    assert bench.runs("checked", bench.tag) == 2
    assert "cache_validate refuses" in explained(task, bench.tag)
