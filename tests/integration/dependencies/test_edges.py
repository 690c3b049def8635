"""Answers that reach a run by side ways are dependencies, too; and what they can't be (D1, D4)."""

import asyncio
import threading
from contextvars import copy_context
from typing import Any

import pytest

from tests.integration.freshness.one_process import OneProcess
from tta_taskcache import NOT_MODIFIED, cache_control, cache_previous
from tta_taskcache.cache.runs.current_run import CurrentRun
from tta_taskcache.core.entries.entry import Position


def test_d1_d2_what_a_soft_invalidated_answer_went_into_is_stale(here: OneProcess) -> None:
    source = here.task(lambda: 1, name="source", cache_stale_while_revalidate=60)
    report = here.task(source.cache.call, name="report", cache_stale_while_revalidate=60)
    plain = here.task(source.cache.call, name="plain")
    source.cache.call()
    here.cache.invalidate(task="source", soft=True)
    # Another process has asked for the refresh: these are served the old answer meanwhile.
    here.cache.runtime.engine.refresher.recently_asked.take(source.cache.key(), here.clock(), 1)
    assert source.cache.explain().stale
    assert [report.cache.call(), plain.cache.call()] == [1, 1]
    assert report.cache.explain().stale
    assert here.fills(plain) == {"stale-dependency": 1}


def test_d1_what_stands_in_for_a_failed_run_is_an_answer_that_went_in(here: OneProcess) -> None:
    fails: list[bool] = []

    def source() -> int:
        if fails:
            raise ConnectionError
        return 1

    task = here.task(source, cache_ttl=10, cache_stale_if_error=600, cache_tags=("a",))
    report = here.task(task.cache.call, name="report", cache_stale_while_revalidate=500)
    task.cache.call()
    here.clock.advance(20)
    fails.append(True)
    assert report.cache.call() == 1
    explained = report.cache.explain()
    assert explained.made_from == (task.cache.key(),)
    assert explained.stale
    here.cache.invalidate(tags=["a"])
    assert report.cache.explain().status == "miss"


@pytest.mark.parametrize("errors", [{}, {LookupError: 60}])
def test_d1_a_failure_that_was_caught_is_an_answer(
    here: OneProcess, errors: dict[type[Exception], float]
) -> None:
    def user(number: int) -> int:
        raise LookupError(number)

    task = here.task(user, cache_tags=("user:{number}",), cache_errors=errors)

    def report() -> str:
        try:
            return str(task.cache.call(1))
        except LookupError:
            return "nobody"

    made = here.task(report)
    assert made.cache.call() == "nobody"
    here.cache.invalidate(tags=["user:1"])
    assert made.cache.explain().status == "miss"


def test_d1_d4_a_renewed_entry_ends_with_what_its_value_was_made_from(here: OneProcess) -> None:
    user = here.task(lambda: 1, name="user", cache_tags=("user:1",))
    runs = []

    def report() -> Any:
        runs.append(1)
        if cache_previous() is not None:
            return NOT_MODIFIED
        cache_control(tags=["row:7"], stale_while_revalidate=30)
        return user.cache.call()

    task = here.task(report)
    for tag in ("user:1", "row:7"):
        task.cache.call()
        task.apply_async(cache="refresh").get()
        assert task.cache.explain().made_from == (user.cache.key(),)
        assert task.cache.explain().remaining == 130, "its window is kept"
        here.cache.invalidate(tags=[tag])
        assert task.cache.explain().status == "miss"
    assert len(runs) == 4


def test_a_quick_run_that_finds_nothing_changed_renews(here: OneProcess) -> None:
    def fetch() -> Any:
        return NOT_MODIFIED if cache_previous() is not None else 1

    task = here.task(fetch, cache_min_run=60)
    assert task.cache.set(1)
    here.clock.advance(50)
    assert task.apply_async(cache="refresh").get() == 1
    assert task.cache.explain().remaining == 100
    assert here.fills(task) == {"stored": 2}


def test_a_quick_run_that_replaces_an_entry_is_stored(here: OneProcess) -> None:
    runs = []

    def count() -> int:
        runs.append(1)
        return len(runs)

    task = here.task(count, cache_min_run=60, cache_stale_if_error=1000)
    assert task.cache.set(0)
    assert task.apply_async(cache="refresh").get() == 1
    assert task.cache.call() == 1, "who comes later doesn't get the old value"
    here.clock.advance(200)
    assert [task.cache.call(), task.cache.call()] == [2, 2]


@pytest.mark.parametrize("how", ["aget", "acall"])
def test_d1_answers_taken_in_a_loop_inside_a_run_are_dependencies(
    here: OneProcess, how: str
) -> None:
    user = here.task(lambda: 1, name="user", cache_tags=("user:1",))
    user.cache.call()
    report = here.task(lambda: asyncio.run(getattr(user.cache, how)()), name="report")
    assert report.cache.call() == 1
    assert report.cache.explain().made_from == (user.cache.key(),)
    here.cache.invalidate(tags=["user:1"])
    assert report.cache.explain().status == "miss"


def test_d1_threads_note_their_answers_at_once() -> None:
    """With a check and a write that others come between, an older position would be lost."""
    for _ in range(200):
        current = CurrentRun()
        start = threading.Barrier(8)

        def note(number: int, current: CurrentRun = current, start: Any = start) -> None:
            start.wait()
            current.depend((f"k:{number}",), Position("i", 100 + number), float(number))

        threads = [threading.Thread(target=copy_context().run, args=(note, n)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert current.born(Position("i", 200))[0] == Position("i", 100)
        assert current.staleness == 7
        assert len(current.marks) == 8
