"""What a single call can ask for, and `task.cache`."""

from typing import Any

import pytest
from celery import chain

from tests.integration.benches import Bench
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import MISSING, CacheMiss

pytestmark = pytest.mark.one_server_kind


def test_refresh_runs_and_replaces_what_is_stored(bench: Bench, worker: Worker) -> None:
    task = bench.task("cached.add")
    task.cache.set(-1, bench.tag, 1)
    assert task.delay(bench.tag, 1).get(timeout=20) == -1
    fresh = task.apply_async((bench.tag, 1), cache="refresh")
    assert fresh.get(timeout=20) == 1
    assert fresh.cache_status.reason == "refresh"
    # This process' memory has the old value, and learns of the new one when it polls next.
    wait_until(lambda: task.cache.get(bench.tag, 1) == 1, what="the new value")
    assert task.delay(bench.tag, 1).get(timeout=20) == 1
    assert bench.runs("add", bench.tag, 1, 0) == 1


def test_set_replaces_what_other_processes_hold_in_memory(bench: Bench, new_bench: Any) -> None:
    here, there = bench.task("cached.add"), new_bench(bench.server).task("cached.add")
    here.cache.set(1, bench.tag, 1)
    assert there.cache.get(bench.tag, 1) == 1
    here.cache.set(2, bench.tag, 1)
    assert here.cache.get(bench.tag, 1) == 2
    wait_until(lambda: there.cache.get(bench.tag, 1) == 2, what="the new value")
    # It is kept in memory like any other.
    assert there.cache.explain(bench.tag, 1).layer == "l1"


def test_bypass_runs_and_leaves_the_cache_alone(bench: Bench, worker: Worker) -> None:
    task = bench.task("cached.add")
    task.cache.set(-1, bench.tag, 1)
    assert task.apply_async((bench.tag, 1), cache="bypass").get(timeout=20) == 1
    assert task.delay(bench.tag, 1).get(timeout=20) == -1


def test_disabled_is_a_bypass_for_all_calls_inside(bench: Bench, worker: Worker) -> None:
    task = bench.task("producer.add")
    task.cache.set(-1, bench.tag, 1)
    with bench.cache.disabled():
        result = task.delay(bench.tag, 1)
        assert task.cache.explain(bench.tag, 1).status == "bypass"
    assert result.get(timeout=20) == 1
    assert task.delay(bench.tag, 1).get(timeout=20) == -1


def test_only_answers_or_raises_and_sends_nothing(bench: Bench) -> None:
    task = bench.task("cached.add")
    with pytest.raises(CacheMiss, match=r"cached\.add.*absent"):
        task.apply_async((bench.tag, 1), cache="only")
    assert bench.app.connection_for_read().default_channel.client.llen("celery") == 0
    task.cache.set(5, bench.tag, 1)
    assert task.apply_async((bench.tag, 1), cache="only").get(timeout=5) == 5


def test_a_mode_can_be_set_on_a_signature_inside_a_canvas(bench: Bench, worker: Worker) -> None:
    more = bench.task("cached.more")
    more.cache.set(100, 1, bench.tag, 1)
    start = bench.task("cached.add").s(bench.tag, 1)
    assert chain(start, more.s(bench.tag, 1)).delay().get(timeout=20) == 100
    steps = chain(start, more.s(bench.tag, 1).set(cache="refresh"))
    assert steps.delay().get(timeout=20) == 2


def test_an_unknown_mode_names_the_known_ones(bench: Bench) -> None:
    with pytest.raises(ValueError, match=r"cache='never'.*'use'.*'only'"):
        bench.task("cached.add").apply_async((bench.tag, 1), cache="never")


def test_task_cache_by_itself(bench: Bench) -> None:
    task = bench.task("cached.add")
    assert task.cache.get(bench.tag, 1) is MISSING
    assert not task.cache.get(bench.tag, 1)
    assert task.cache.call(bench.tag, 1, y=2) == 3
    assert task.cache.call(bench.tag, x=1, y=2) == 3
    assert bench.runs("add", bench.tag, 1, 2) == 1
    assert task.cache.get(bench.tag, 1, 2) == 3
    explanation = task.cache.explain(bench.tag, 1, 2)
    assert explanation.status == "hit"
    assert explanation.arguments == {"tag": bench.tag, "x": 1, "y": 2}
    assert bench.cache.keys() == [task.cache.key(bench.tag, 1, 2)]
    task.cache.invalidate(bench.tag, 1, 2)
    assert task.cache.get(bench.tag, 1, 2) is MISSING
    task.cache.set(9, bench.tag, 1)
    task.cache.set(9, bench.tag, 2)
    stats = bench.cache.stats().tasks["cached.add"]
    assert (stats.runs, stats.fills) == (1, {"stored": 3}), "what is set has not run"
    task.cache.clear()
    assert [task.cache.get(bench.tag, x) for x in (1, 2)] == [MISSING, MISSING]
    assert bench.cache.keys() == []


def test_a_direct_call_is_a_function_call(bench: Bench) -> None:
    task = bench.task("cached.add")
    assert [task(bench.tag, 1), task(bench.tag, 1)] == [1, 1]
    assert bench.runs("add", bench.tag, 1, 0) == 2


def test_wrong_arguments_raise_as_without_a_cache(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    task = bench.task("cached.add")
    with pytest.raises(TypeError):
        task.delay()
    assert "fault" not in caplog.text
    with pytest.raises(TypeError):
        task.cache.call(bench.tag)
    with pytest.raises(TypeError):
        task.cache.key(bench.tag, 1, 2, 3, 4)


def test_invalidation_by_key_task_and_everything(bench: Bench) -> None:
    add, more = bench.task("cached.add"), bench.task("cached.more")
    for x in (1, 2):
        add.cache.set(x, bench.tag, x)
    more.cache.set(5, 1, bench.tag)
    bench.cache.invalidate(key=add.cache.key(bench.tag, 1))
    assert add.cache.get(bench.tag, 1) is MISSING
    assert add.cache.get(bench.tag, 2) == 2
    bench.cache.invalidate(task="cached.add")
    assert add.cache.get(bench.tag, 2) is MISSING
    assert more.cache.get(1, bench.tag) == 5
    bench.cache.clear()
    assert more.cache.get(1, bench.tag) is MISSING
    add.cache.set(3, bench.tag, 3)
    assert add.cache.get(bench.tag, 3) == 3
    with pytest.raises(ValueError, match="needs key=, task=, tags= or pattern="):
        bench.cache.invalidate()


def test_keys_match_a_pattern(bench: Bench) -> None:
    for name in ("cached.add", "pool.add"):
        bench.task(name).cache.set(1, bench.tag, 1)
    assert len(bench.cache.keys()) == 2
    assert bench.cache.keys("pool.*") == [bench.task("pool.add").cache.key(bench.tag, 1)]
    assert bench.cache.keys("nothing*") == []
