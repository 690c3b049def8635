"""What a single call can ask for, and `task.cache`."""

from typing import Any

import pytest
from celery import chain

from tests.integration.harness import Harness
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import MISSING, CacheMiss

pytestmark = pytest.mark.one_server_kind


def test_refresh_runs_and_replaces_what_is_stored(harness: Harness, worker: Worker) -> None:
    task = harness.task("cached.add")
    task.cache.set(-1, harness.tag, 1)
    assert task.delay(harness.tag, 1).get(timeout=20) == -1
    fresh = task.apply_async((harness.tag, 1), cache="refresh")
    assert fresh.get(timeout=20) == 1
    assert fresh.cache_status.reason == "refresh"
    # This process' memory has the old value, and learns of the new one when it polls next.
    wait_until(lambda: task.cache.get(harness.tag, 1) == 1, what="the new value")
    assert task.delay(harness.tag, 1).get(timeout=20) == 1
    assert harness.runs("add", harness.tag, 1, 0) == 1


def test_set_replaces_what_other_processes_hold_in_memory(
    harness: Harness, new_harness: Any
) -> None:
    here, there = harness.task("cached.add"), new_harness(harness.server).task("cached.add")
    here.cache.set(1, harness.tag, 1)
    assert there.cache.get(harness.tag, 1) == 1
    here.cache.set(2, harness.tag, 1)
    assert here.cache.get(harness.tag, 1) == 2
    wait_until(lambda: there.cache.get(harness.tag, 1) == 2, what="the new value")
    # It is kept in memory like any other.
    assert there.cache.explain(harness.tag, 1).layer == "l1"


def test_bypass_runs_and_leaves_the_cache_alone(harness: Harness, worker: Worker) -> None:
    task = harness.task("cached.add")
    task.cache.set(-1, harness.tag, 1)
    assert task.apply_async((harness.tag, 1), cache="bypass").get(timeout=20) == 1
    assert task.delay(harness.tag, 1).get(timeout=20) == -1


def test_disabled_is_a_bypass_for_all_calls_inside(harness: Harness, worker: Worker) -> None:
    task = harness.task("producer.add")
    task.cache.set(-1, harness.tag, 1)
    with harness.cache.disabled():
        result = task.delay(harness.tag, 1)
        assert task.cache.explain(harness.tag, 1).status == "bypass"
    assert result.get(timeout=20) == 1
    assert task.delay(harness.tag, 1).get(timeout=20) == -1


def test_only_answers_or_raises_and_sends_nothing(harness: Harness) -> None:
    task = harness.task("cached.add")
    with pytest.raises(CacheMiss, match=r"cached\.add.*absent"):
        task.apply_async((harness.tag, 1), cache="only")
    assert harness.app.connection_for_read().default_channel.client.llen("celery") == 0
    task.cache.set(5, harness.tag, 1)
    assert task.apply_async((harness.tag, 1), cache="only").get(timeout=5) == 5


def test_a_mode_can_be_set_on_a_signature_inside_a_canvas(harness: Harness, worker: Worker) -> None:
    more = harness.task("cached.more")
    more.cache.set(100, 1, harness.tag, 1)
    start = harness.task("cached.add").s(harness.tag, 1)
    assert chain(start, more.s(harness.tag, 1)).delay().get(timeout=20) == 100
    steps = chain(start, more.s(harness.tag, 1).set(cache="refresh"))
    assert steps.delay().get(timeout=20) == 2


def test_an_unknown_mode_names_the_known_ones(harness: Harness) -> None:
    with pytest.raises(ValueError, match=r"cache='never'.*'use'.*'only'"):
        harness.task("cached.add").apply_async((harness.tag, 1), cache="never")


def test_task_cache_by_itself(harness: Harness) -> None:
    task = harness.task("cached.add")
    assert task.cache.get(harness.tag, 1) is MISSING
    assert not task.cache.get(harness.tag, 1)
    assert task.cache.call(harness.tag, 1, y=2) == 3
    assert task.cache.call(harness.tag, x=1, y=2) == 3
    assert harness.runs("add", harness.tag, 1, 2) == 1
    assert task.cache.get(harness.tag, 1, 2) == 3
    explanation = task.cache.explain(harness.tag, 1, 2)
    assert explanation.status == "hit"
    assert explanation.arguments == {"tag": harness.tag, "x": 1, "y": 2}
    assert harness.cache.keys() == [task.cache.key(harness.tag, 1, 2)]
    task.cache.invalidate(harness.tag, 1, 2)
    assert task.cache.get(harness.tag, 1, 2) is MISSING
    task.cache.set(9, harness.tag, 1)
    task.cache.set(9, harness.tag, 2)
    stats = harness.cache.stats().tasks["cached.add"]
    assert (stats.runs, stats.fills) == (1, {"stored": 3}), "what is set has not run"
    task.cache.clear()
    assert [task.cache.get(harness.tag, x) for x in (1, 2)] == [MISSING, MISSING]
    assert harness.cache.keys() == []


def test_a_direct_call_is_a_function_call(harness: Harness) -> None:
    task = harness.task("cached.add")
    assert [task(harness.tag, 1), task(harness.tag, 1)] == [1, 1]
    assert harness.runs("add", harness.tag, 1, 0) == 2


def test_wrong_arguments_raise_as_without_a_cache(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    task = harness.task("cached.add")
    with pytest.raises(TypeError):
        task.delay()
    assert "fault" not in caplog.text
    with pytest.raises(TypeError):
        task.cache.call(harness.tag)
    with pytest.raises(TypeError):
        task.cache.key(harness.tag, 1, 2, 3, 4)


def test_invalidation_by_key_task_and_everything(harness: Harness) -> None:
    add, more = harness.task("cached.add"), harness.task("cached.more")
    for x in (1, 2):
        add.cache.set(x, harness.tag, x)
    more.cache.set(5, 1, harness.tag)
    harness.cache.invalidate(key=add.cache.key(harness.tag, 1))
    assert add.cache.get(harness.tag, 1) is MISSING
    assert add.cache.get(harness.tag, 2) == 2
    harness.cache.invalidate(task="cached.add")
    assert add.cache.get(harness.tag, 2) is MISSING
    assert more.cache.get(1, harness.tag) == 5
    harness.cache.clear()
    assert more.cache.get(1, harness.tag) is MISSING
    add.cache.set(3, harness.tag, 3)
    assert add.cache.get(harness.tag, 3) == 3
    with pytest.raises(ValueError, match="needs key=, task=, tags= or pattern="):
        harness.cache.invalidate()


def test_keys_match_a_pattern(harness: Harness) -> None:
    for name in ("cached.add", "pool.add"):
        harness.task(name).cache.set(1, harness.tag, 1)
    assert len(harness.cache.keys()) == 2
    assert harness.cache.keys("pool.*") == [harness.task("pool.add").cache.key(harness.tag, 1)]
    assert harness.cache.keys("nothing*") == []
