"""An entry ends with those that its run was answered with (D1)."""

import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

import pytest

from tests.integration.freshness.one_process import OneProcess
from tta_taskcache import cache_control
from tta_taskcache.core.entries import marks


@pytest.fixture
def here() -> Iterator[OneProcess]:
    with OneProcess() as here:
        yield here


class Chain:
    """A report of a summary of a user, each cached."""

    def __init__(self, here: OneProcess, how: str = "call", **options: Any) -> None:
        self.here, self.runs = here, {"user": 0, "summary": 0, "report": 0}

        def ask(task: Any, *args: Any) -> Any:
            if how == "thread":
                found: list[Any] = []
                context = copy_context()
                thread = threading.Thread(
                    target=context.run, args=(lambda: found.append(task.cache.call(*args)),)
                )
                thread.start()
                thread.join()
                return found[0]
            if how == "delay":
                return task.delay(*args).get(disable_sync_subtasks=False)
            return task.cache.call(*args)

        def user(number: int) -> int:
            self.runs["user"] += 1
            cache_control(tags=[f"row:{number}"])
            return self.runs["user"]

        def summary(number: int) -> str:
            self.runs["summary"] += 1
            return f"summary of {ask(self.user, number)}"

        def report(number: int) -> str:
            self.runs["report"] += 1
            return f"report of {ask(self.summary, number)}"

        self.user = here.task(user, cache_tags=("user:{number}",), cache_key="{number}")
        self.summary = here.task(summary, cache_key="{number}")
        self.report = here.task(report, cache_key="{number}", **options)

    def ask(self, number: int = 1) -> Any:
        return self.report.cache.call(number)


@pytest.mark.parametrize("how", ["call", "delay", "thread"])
@pytest.mark.parametrize("was_stored", [False, True])
@pytest.mark.parametrize(
    "named",
    [
        {"tags": ["user:1"]}, {"tags": ["row:1"]}, {"task": "user"}, {"pattern": "user:*"},
        {"pattern": "summary:*"}, {"key": "user"},
    ],
)  # fmt: skip
def test_d1_the_end_of_an_answer_ends_what_was_made_from_it(
    here: OneProcess, how: str, named: dict[str, Any], was_stored: bool
) -> None:
    chain = Chain(here, how)
    if was_stored:
        assert chain.summary.cache.call(1) == "summary of 1"
    assert [chain.ask(), chain.ask()] == ["report of summary of 1"] * 2
    assert chain.ask(2) == "report of summary of 2"
    if "key" in named:
        named = {"key": chain.user.cache.key(1)}
    here.cache.invalidate(**named)
    again = chain.ask()
    assert again == ("report of summary of 1" if named == {"pattern": "summary:*"} else again)
    assert chain.runs["report"] == 3, "it ran again"
    is_all = "task" in named or "pattern" in named
    chain.ask(2)
    assert chain.runs["report"] == (4 if is_all else 3)


def test_d1_explain_and_entries_name_what_it_was_made_from(here: OneProcess) -> None:
    chain = Chain(here)
    chain.ask()
    keys = {chain.summary.cache.key(1), chain.user.cache.key(1)}
    assert set(chain.report.cache.explain(1).made_from) == keys


def test_d1_it_can_be_turned_off(here: OneProcess) -> None:
    chain = Chain(here, cache_depends=False)
    chain.ask()
    here.cache.invalidate(tags=["user:1"])
    chain.ask()
    assert chain.runs["report"] == 1


def test_d1_what_is_invalidated_meanwhile_ends_the_entry_at_its_birth(here: OneProcess) -> None:
    runs = []
    chain = Chain(here)

    def slow(number: int) -> Any:
        found = chain.summary.cache.call(number)
        if not runs:
            here.cache.invalidate(tags=["user:1"])
        runs.append(found)
        return found

    task = here.task(slow)
    assert [task.cache.call(1), task.cache.call(1), task.cache.call(1)] == [
        "summary of 1", "summary of 2", "summary of 2",
    ]  # fmt: skip
    assert len(runs) == 2


def test_d1_with_too_many_marks_their_tasks_stand_for_them(here: OneProcess) -> None:
    runs = []
    item = here.task(lambda number: number, name="item", cache_tags=("item:{number}",))

    def many(number: int) -> int:
        runs.append(number)
        return sum(item.cache.call(i) for i in range(number))

    task = here.task(many)
    assert task.cache.call(100) == 4950
    (entry,) = (e.entry for e in here.cache.runtime.entries("many:*"))
    assert len(entry.marks) <= 64 + len(marks.of_call("many", "k")) + 1
    here.cache.invalidate(task="item")
    task.cache.call(100)
    assert runs == [100, 100]
    here.cache.invalidate(tags=["item:0"])
    task.cache.call(100)
    assert runs == [100] * 3


@pytest.mark.parametrize(("window", "later"), [(0, "stale-dependency"), (100, "stored")])
def test_d1_what_a_stale_answer_went_into_is_no_fresher(
    here: OneProcess, window: int, later: str
) -> None:
    runs = []
    source = here.task(lambda: len(runs), name="source", cache_ttl=10, cache_stale_if_error=0,
                       cache_stale_while_revalidate=60)  # fmt: skip

    def made() -> int:
        runs.append(1)
        return int(source.apply_async().get(disable_sync_subtasks=False))

    task = here.task(made, cache_stale_while_revalidate=window)
    source.cache.call()
    here.clock.advance(30)
    here.cache.runtime.engine.refresher.recently_asked.take(source.cache.key(), here.clock(), 1)
    task.cache.call()
    assert here.fills(task) == {later: 1}
    if window:
        assert task.cache.explain().stale
