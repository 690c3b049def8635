"""Batches (D5) in their caller's own process: round trips, callers at once, freshness, modes."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.integration.batches.conftest import BatchHarness, count_commands
from tests.integration.freshness.one_process import OneProcess
from tests.support.waiting import wait_until
from tta_taskcache import MISSING, CachedTask, CacheMiss, cache_control, cache_previous
from tta_taskcache.errors import BatchResultError
from tta_taskcache.stores.protocol import LookMany, Poll, Together

pytestmark = pytest.mark.one_server_kind

New = Callable[..., BatchHarness]


def texts(*numbers: int) -> list[str]:
    return [f"text {number}" for number in numbers]


def sizes(commands: list[Any]) -> list[tuple[str, int]]:
    """Each command that is a round trip, with the number of looks or fills in it."""
    found = []
    for each in commands:
        if isinstance(each, LookMany):
            found.append(("look", len(each.looks)))
        elif isinstance(each, Together):
            found.append(("fill", len(each.commands)))
        elif not isinstance(each, Poll):
            found.append((type(each).__name__, 1))
    commands.clear()
    return found


def test_d5_a_thousand_texts_of_which_a_hundred_are_new(new_batches: New) -> None:
    batches = new_batches()
    commands = count_commands(batches)
    old, every = texts(*range(900)), texts(*range(1000))
    call = batches.embed.cache.call
    call(batches.tag, old)
    assert sizes(commands) == [("look", 500), ("look", 400), ("fill", 500), ("fill", 400)]
    assert call(batches.tag, every) == [f"<{text}>" for text in every]
    assert sizes(commands) == [("look", 100), ("fill", 100)], "two round trips"
    assert batches.sizes() == [900, 100]

    other = new_batches(batches.server)  # whose memory is empty
    other.tag, commands = batches.tag, count_commands(other)
    more = every[100:] + texts(*range(1000, 1100))
    assert other.embed.cache.call(batches.tag, more) == [f"<{text}>" for text in more]
    assert sizes(commands) == [("look", 500), ("look", 500), ("fill", 100)], "500 a round trip"
    assert batches.sizes() == [900, 100, 100]


def test_d5_eight_callers_at_once_run_each_text_once(new_batches: New) -> None:
    batches = new_batches()
    others = [new_batches(batches.server) for _ in range(2)]
    start = threading.Barrier(8)

    def ask(number: int) -> bool:
        first = number * 30
        asked = texts(*range(first, first + 100), first)
        start.wait()
        task = others[number % 2].embed
        return bool(task.cache.call(batches.tag, asked) == [f"<{text}>" for text in asked])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(8)))
    assert batches.ran() == dict.fromkeys(texts(*range(310)), 1)


def test_d5_callers_wait_for_what_others_run_after_they_ran_their_own(new_batches: New) -> None:
    batches = new_batches()
    batches.shut()
    results: dict[str, Any] = {}

    def ask(name: str, *numbers: int) -> threading.Thread:
        def run() -> None:
            results[name] = batches.embed.cache.call(batches.tag, texts(*numbers))

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    first = ask("first", 1, 2)
    assert batches.started() == texts(1, 2)
    second = ask("second", 2, 3)
    assert batches.started() == texts(3), "it doesn't wait before it has run its own"
    batches.open("go", "go")
    first.join(60)
    second.join(60)
    assert results == {
        "first": [f"<{text}>" for text in texts(1, 2)],
        "second": [f"<{text}>" for text in texts(2, 3)],
    }
    assert batches.ran() == dict.fromkeys(texts(1, 2, 3), 1)
    stats = batches.cache.stats().tasks["embed"]
    assert stats.coalesced == 1


def test_d5_when_another_fails_its_items_run_here(new_batches: New) -> None:
    batches = new_batches()
    batches.shut()
    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(batches.embed.cache.call, batches.tag, texts(1, 2))
        assert batches.started() == texts(1, 2)
        waiting = pool.submit(batches.embed.cache.call, batches.tag, texts(2))
        wait_until(lambda: batches.cache.runtime.single_flight._watched or True)
        batches.open("fail")
        assert batches.started() == texts(2)
        batches.open()
        with pytest.raises(ValueError, match=batches.tag):
            failing.result(60)
        assert waiting.result(60) == ["<text 2>"]
    assert batches.embed.cache.get(batches.tag, texts(1, 2)) == [MISSING, "<text 2>"]


class Batch(OneProcess):
    """A task that squares numbers, on a fake clock; its runs, and how it fails."""

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.runs: list[list[int]] = []
        self.fails = False
        self.returns: Callable[[list[int]], Any] = lambda numbers: [n * n for n in numbers]

        def squares(numbers: list[int], by: int = 1) -> Any:
            self.runs.append(list(numbers))
            if self.fails:
                raise ConnectionError(by)
            return self.returns(numbers)

        self.squares = self.task(squares, cache_each="numbers", **options)

    def call(self, *numbers: int) -> Any:
        return self.squares.cache.call(list(numbers))


def test_d5_a_run_that_fails_stores_nothing() -> None:
    with Batch() as batch:
        assert batch.call(1) == [1]
        batch.fails = True
        with pytest.raises(ConnectionError):
            batch.call(1, 2)
        batch.fails = False
        assert batch.call(1, 2) == [1, 4]
        assert batch.runs == [[1], [2], [2]]
        assert batch.fills(batch.squares) == {"stored": 2}


def test_d5_too_few_results_are_an_error_with_both_numbers_and_store_nothing() -> None:
    with Batch() as batch:
        batch.returns = lambda numbers: [1] * (len(numbers) - 1)
        with pytest.raises(BatchResultError, match="returned 2 results for 3 items"):
            batch.squares.delay([1, 2, 3]).get()
        assert batch.squares.cache.get([1, 2]) == [MISSING, MISSING]


def test_d5_each_item_has_a_lifetime_of_its_own() -> None:
    with Batch(cache_ttl=lambda result: 10 if result == 1 else 100) as batch:
        batch.call(1, 2)
        batch.clock.advance(50)
        assert batch.call(1, 2) == [1, 4]
        assert batch.runs == [[1, 2], [1]]


def test_d5_cache_if_and_max_bytes_are_of_each_result() -> None:
    with Batch(cache_if=lambda result: result != 4) as batch:
        assert batch.call(1, 2, 3) == [1, 4, 9]
        assert batch.call(1, 2, 3) == [1, 4, 9]
        assert batch.runs == [[1, 2, 3], [2]]
    with Batch(cache_max_bytes=3) as batch:
        batch.returns = lambda numbers: ["x" * number for number in numbers]
        batch.call(1, 9)
        assert batch.squares.cache.get([1, 9]) == ["x", MISSING]


def test_d5_stale_results_stand_in_for_a_failed_run_if_each_item_has_one() -> None:
    with Batch(cache_ttl=10, cache_stale_if_error=100) as batch:
        batch.call(1, 2)
        batch.clock.advance(20)
        batch.fails = True
        assert batch.call(2, 1) == [4, 1]
        batch.clock.advance(20)
        with pytest.raises(ConnectionError):
            batch.call(1, 3)


def test_d5_stale_items_are_refreshed_by_one_run(new_batches: New) -> None:
    with Batch(cache_ttl=10, cache_stale_while_revalidate=100) as batch:
        batch.call(1, 2, 3)
        batch.clock.advance(20)
        # Without Redis, nobody else could refresh: the caller does, all of them together.
        assert batch.call(1, 2) == [1, 4]
        assert batch.runs == [[1, 2, 3], [1, 2]]


def test_d5_modes_and_ages() -> None:
    with Batch() as batch:
        batch.call(1, 2)
        batch.clock.advance(30)
        ask = batch.squares.apply_async
        assert ask(([1, 3],), cache="no-store").get() == [1, 9]
        assert batch.squares.cache.get([3]) == [MISSING]
        assert ask(([1, 2],), cache="bypass").get() == [1, 4]
        assert ask(([1, 1],), cache="refresh").get() == [1, 1]
        assert ask(([1, 2],), cache_max_age=10).get() == [1, 4]
        assert batch.runs == [[1, 2], [3], [1, 2], [1], [2]]
        assert ask(([2, 1],), cache="only").get() == [4, 1]
        with pytest.raises(CacheMiss):
            ask(([1, 5],), cache="only")
        with batch.cache.mode("only"), pytest.raises(CacheMiss, match="1 of 2 items"):
            batch.call(1, 5)


def test_d5_without_the_cache_callers_get_the_same_form() -> None:
    with Batch() as batch:
        batch.returns = lambda numbers: {number: number * number for number in numbers}
        with batch.cache.disabled():
            assert batch.squares.delay([2, 1]).get() == [4, 1]
            assert batch.call(2, 1) == [4, 1]
            batch.returns = lambda _: {2: 4}
            with pytest.raises(BatchResultError, match="1 of 2"):
                batch.call(2, 1)


def test_d5_an_empty_list_runs_nothing() -> None:
    with Batch() as batch:
        result = batch.squares.delay([])
        assert result.get() == []
        assert result.cache_status.hit
        assert batch.call() == []
        assert batch.squares.apply_async(([],), cache="refresh").get() == []
        assert batch.runs == []


def test_d5_what_the_run_decides_is_of_each_item_that_ran() -> None:
    with Batch() as batch:

        def decide(numbers: list[int]) -> list[int]:
            assert cache_previous() is None
            cache_control(tags=["all"], ttl=10)
            return numbers

        batch.returns = decide
        batch.call(1, 2)
        batch.clock.advance(5)
        assert batch.squares.cache.get([1]) == [1]
        batch.cache.invalidate(tags=["all"])
        assert batch.squares.cache.get([1, 2]) == [MISSING, MISSING]


def test_d5_an_item_ends_by_its_tag_and_ends_what_was_made_from_it() -> None:
    with Batch(cache_tags=("n:{numbers}",)) as batch:
        made: list[int] = []

        def total(limit: int) -> int:
            made.append(limit)
            return int(sum(batch.call(*range(limit))))

        task = batch.task(total)
        assert [task.cache.call(3), task.cache.call(2)] == [5, 1]
        batch.cache.invalidate(tags=["n:2"])
        assert batch.squares.cache.get([1, 2]) == [1, MISSING]
        assert [task.cache.call(3), task.cache.call(2)] == [5, 1]
        assert made == [3, 2, 3], "that of two numbers wasn't made from it"


def test_d5_counts_are_of_items_and_a_runs_cost_is_shared() -> None:
    with Batch(cache_cost=6.0) as batch:
        batch.call(1, 2, 3)
        batch.call(1, 2, 4)
        stats = batch.cache.stats().tasks["squares"]
        assert sum(stats.hits.values()) == 2
        assert sum(stats.misses.values()) == 4
        assert (stats.runs, stats.run_cost) == (2, 12.0)
        assert stats.saved_cost == 4.0, "two thirds of the first run"


def test_d5_shadow_mode_counts_items_and_runs_all() -> None:
    with Batch(cache_shadow=True) as batch:
        batch.call(1, 2)
        assert batch.squares.delay([2, 3]).get() == [4, 9]
        assert batch.runs == [[1, 2], [2, 3]]
        assert batch.cache.stats().tasks["squares"].shadow == {"hit": 1, "miss": 3}


def test_d5_the_cache_of_one_task_knows_items() -> None:
    with Batch(cache_key="{numbers}") as batch:
        handle = batch.squares.cache
        assert handle.set({1: "one", 2: "two"}, [2, 1])
        assert handle.get([1, 3, 2]) == ["one", MISSING, "two"]
        with pytest.raises(BatchResultError, match="1 results for 2 items"):
            handle.set(["one"], [1, 2])
        handle.invalidate([1, 7])
        explained = handle.explain([1, 2, 2])
        assert (explained.status, explained.reason) == ("miss", "1 of 2 items are stored")
        assert [one.status for one in explained.items] == ["miss", "hit"]
        assert handle.key([1]).startswith("squares:1:")
        with pytest.raises(TypeError, match="2 items"):
            handle.key([1, 2])
        assert handle.explain([2]).status == "hit"


def test_d5_the_page_on_batches() -> None:
    """The block of code of docs/batches.md."""
    page = (Path(__file__).parents[3] / "docs" / "batches.md").read_text()
    block = page.split("```python\n")[1].split("```")[0]
    got: list[list[str]] = []

    class Client:
        def embed(self, texts: list[str], model: str) -> list[list[float]]:
            got.append(texts)
            return [[float(ord(text))] for text in texts]

    with OneProcess() as process:
        names: dict[str, Any] = {"client": Client(), "CachedTask": CachedTask, "app": process.app}
        names["__name__"] = "page"
        exec(block, names)  # noqa: S102 - the page's own code
        assert got == [["a", "b", "c"], ["d"]]
        assert names["embed"].delay(["c", "d", "a", "d"]).get() == [
            [99.0],
            [100.0],
            [97.0],
            [100.0],
        ]
