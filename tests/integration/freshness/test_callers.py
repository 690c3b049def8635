"""What a caller says of freshness: greatest age, no-store, modes of a block; and runs too quick."""

from datetime import timedelta
from typing import Any, Self

import pytest
from celery import Celery

from tests.integration.harness import Harness
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import MISSING, CachedTask, CacheMiss, TaskCache
from tta_taskcache.celery.config.settings import Settings
from tta_taskcache.testing import FakeClock


class Source:
    """A cached task in a process of its own, on a fake clock."""

    def __init__(self, **options: Any) -> None:
        self.app = Celery(set_as_current=False, broker="memory://", backend="cache+memory://")
        self.app.conf.task_always_eager = True
        self.cache = TaskCache(self.app)
        self.clock = FakeClock()
        self.runs = 0

        options = {"cache_ttl": 100, "shared": False, **options}

        @self.app.task(base=CachedTask, name="source", **options)
        def source(x: int) -> int:
            self.runs += 1
            return self.runs

        self.task: Any = source

    def __enter__(self) -> Self:
        self.block = self.cache.substituted(Settings(), self.clock)
        self.block.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.block.__exit__(None, None, None)


def ask(source: Source, **options: Any) -> int:
    value: int = source.task.apply_async((1,), **options).get()
    return value


def test_d3_an_older_answer_is_a_miss_and_replaced() -> None:
    with Source() as source:
        assert ask(source) == 1
        source.clock.advance(30)
        assert ask(source, cache_max_age=30) == 1
        source.clock.advance(1)
        assert ask(source, cache_max_age=timedelta(seconds=30)) == 2
        assert ask(source) == 2
        assert source.task.s(1).set(cache_max_age=0).apply_async().get() == 2, "0 s old"
        source.clock.advance(1)
        assert source.task.s(1).set(cache_max_age=0).apply_async().get() == 3


def test_d3_a_greatest_age_refuses_what_is_stale() -> None:
    with Source(cache_ttl=10, cache_stale_while_revalidate=100) as source:
        assert ask(source) == 1
        source.clock.advance(20)
        assert ask(source, cache_max_age=50) == 2


def test_d3_a_block_has_a_mode_and_an_age() -> None:
    with Source() as source:
        call, get = source.task.cache.call, source.task.cache.get
        assert call(1) == 1
        with source.cache.mode("refresh"):
            assert call(1) == 2
            assert ask(source) == 3
            assert ask(source, cache="use") == 3
            with source.cache.disabled():
                assert call(1) == 4
        assert call(1) == 3
        source.clock.advance(5)
        with source.cache.mode(max_age=4):
            assert get(1) is MISSING
            assert call(1) == 5
            assert get(1) == 5
        with source.cache.mode("only"), pytest.raises(CacheMiss):
            call(2)


def test_d3_no_store_reads_and_stores_nothing() -> None:
    with Source() as source:
        assert ask(source, cache="no-store") == 1
        assert ask(source) == 2
        assert ask(source, cache="no-store") == 2
        with source.cache.mode("no-store"):
            assert source.task.cache.call(7) == 3
            assert source.task.cache.call(7) == 4
        assert source.cache.stats().tasks["source"].fills == {"no-store": 3, "stored": 1}


@pytest.mark.parametrize("wrong", [-1, True, "30", float("nan"), float("inf")])
def test_a_wrong_age_is_refused(wrong: Any) -> None:
    with Source() as source, pytest.raises(ValueError, match="cache_max_age="):
        ask(source, cache_max_age=wrong)


def test_what_runs_faster_is_not_stored() -> None:
    with Source(cache_min_run=60) as source:
        assert [ask(source), ask(source)] == [1, 2]
        assert source.cache.stats().tasks["source"].fills == {"min-run": 2}
        assert source.task.cache.set(7, 1)
        assert ask(source) == 7


@pytest.mark.one_server_kind
def test_d3_ages_and_modes_reach_the_worker(harness: Harness, worker: Worker) -> None:
    task = harness.task("counted")
    key = harness.tag

    def ask_it(**options: Any) -> Any:
        return task.apply_async((key,), **options).get(timeout=20)

    def stored() -> Any:
        return task.cache.get(key)

    assert ask_it(cache="no-store") == 1
    assert stored() is MISSING
    assert ask_it() == 2
    wait_until(lambda: stored() == 2, what="the fill")
    assert ask_it(cache_max_age=3600) == 2
    assert ask_it(cache_max_age=0) == 3
    wait_until(lambda: stored() == 3, what="its place is taken")


def test_d3_a_quick_run_in_a_worker_replaces_what_was_too_old(
    harness: Harness, worker: Worker
) -> None:
    """The producer's miss says why it is one: the run isn't the first of its call."""
    quick = harness.task("quick")
    quick.cache.set(0, harness.tag)
    wait_until(lambda: (quick.delay(harness.tag).cache_status.age or 0) > 0.01, what="its age")
    assert quick.apply_async((harness.tag,), cache_max_age=0.01).get(timeout=30) == 1
    wait_until(lambda: quick.delay(harness.tag).get(timeout=30) == 1, timeout=10, what="Δ")
