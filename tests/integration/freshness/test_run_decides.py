"""What a run says of its entry: cache_control, cache_previous, NOT_MODIFIED (D4)."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.integration.freshness.one_process import OneProcess
from tta_taskcache import MISSING, NOT_MODIFIED, TaskCacheError, cache_control, cache_previous


@pytest.fixture
def here() -> Iterator[OneProcess]:
    with OneProcess() as here:
        yield here


def saying(here: OneProcess, said: dict[str, Any], **options: Any) -> Any:
    def run(x: int) -> int:
        cache_control(**said)
        return x

    return here.task(run, **options)


def test_a_run_decides_how_long_its_result_is_fresh(here: OneProcess) -> None:
    task = saying(here, {"ttl": timedelta(seconds=5), "stale_while_revalidate": 5})
    task.cache.call(1)
    assert task.cache.explain(1).remaining == 10
    here.clock.advance(6)
    assert task.cache.explain(1).stale
    here.clock.advance(5)
    assert task.cache.get(1) is MISSING


def test_a_run_decides_a_window_for_errors(here: OneProcess) -> None:
    fails: list[bool] = []

    def run() -> int:
        if fails:
            raise ConnectionError
        cache_control(ttl=5, stale_if_error=60)
        return 1

    task = here.task(run)
    task.cache.call()
    here.clock.advance(10)
    fails.append(True)
    assert task.cache.call() == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [({"ttl": 0}, "ttl"), ({"ttl": -5}, "ttl"), ({"store": False}, "cache-control")],
)
def test_a_run_may_leave_its_result_unstored(
    here: OneProcess, said: dict[str, Any], reason: str
) -> None:
    task = saying(here, said)
    assert [task.cache.call(1), task.cache.call(1)] == [1, 1]
    assert here.fills(task) == {reason: 2}


def test_tags_add_up_and_the_last_word_counts(here: OneProcess) -> None:
    def run() -> int:
        cache_control(tags=["a"], ttl=5)
        cache_control(tags=["b"], ttl=7, cost=3)
        return 1

    task = here.task(run)
    task.cache.call()
    assert task.cache.explain().remaining == 7
    assert here.cache.stats().tasks["run"].run_cost == 3
    for tag in ("a", "b"):
        here.cache.invalidate(tags=[tag])
        assert task.cache.get() is MISSING
        task.cache.call()


def test_ttl_and_tags_of_the_result(here: OneProcess) -> None:
    task = here.task(
        lambda x: {"expires_in": x, "account": 7},
        name="token",
        cache_ttl=lambda answer: answer["expires_in"] - 30,
        cache_tags=lambda result: [f"account:{result['account']}"],
    )
    task.cache.call(90)
    assert task.cache.explain(90).remaining == 60
    task.cache.call(20)
    assert here.fills(task) == {"stored": 1, "ttl": 1}
    here.cache.invalidate(tags=["account:7"])
    assert task.cache.get(90) is MISSING
    task.cache.call("x")
    assert here.fills(task) == {"stored": 1, "ttl": 1, "cache-ttl-failed": 1}


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"ttl": "5"}, TypeError), ({"ttl": True}, TypeError), ({"ttl": 1e9}, ValueError),
        ({"tags": "a"}, TypeError), ({"store": 1}, TypeError), ({"etag": 5}, TypeError),
        ({"stale_if_error": -1}, ValueError), ({"cost": -1}, ValueError),
        ({"cost": "1"}, TypeError),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(said: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind, match=f"{next(iter(said))}|cost"):
        cache_control(**said)


class Tagged:
    """A source with ETags: what it transfers is counted."""

    def __init__(self, here: OneProcess) -> None:
        self.version, self.transfers, self.asked = 1, 0, 0

        def fetch() -> Any:
            self.asked += 1
            previous = cache_previous()
            if previous is not None and previous.etag == f'"{self.version}"':
                return NOT_MODIFIED
            self.transfers += 1
            cache_control(etag=f'"{self.version}"')
            return {"version": self.version, "body": "x" * 100_000}

        self.task = here.task(fetch)


def test_d4_a_hundred_refreshes_transfer_once(here: OneProcess) -> None:
    source = Tagged(here)
    first = source.task.cache.call()
    for _ in range(100):
        here.clock.advance(50)
        assert source.task.apply_async(cache="refresh").get() == first
    assert (source.asked, source.transfers) == (101, 1)
    assert source.task.cache.explain().remaining == 100, "renewed"
    source.version = 2
    assert source.task.apply_async(cache="refresh").get()["version"] == 2
    assert source.transfers == 2


def test_d4_what_was_invalidated_is_no_previous_result(here: OneProcess) -> None:
    source = Tagged(here)
    source.task.cache.call()
    source.task.cache.clear()
    source.task.cache.call()
    assert source.transfers == 2


def test_d4_without_a_previous_result_it_is_an_error(here: OneProcess) -> None:
    task = here.task(lambda: NOT_MODIFIED, name="wrong")
    with pytest.raises(TaskCacheError, match="cache_previous"):
        task.cache.call()
    assert cache_previous() is None
