"""Runs inside of runs that aren't stored: what they say and take goes where it belongs."""

from typing import Any

import pytest

from tests.integration.freshness.one_process import OneProcess
from tests.unit.aio.running import run
from tta_taskcache import CachePrimitive, cache_control, cache_previous


def test_what_a_verified_run_says_is_not_said_of_the_run_around_it(here: OneProcess) -> None:
    previous: list[Any] = []

    def summary() -> int:
        previous.append(cache_previous())
        cache_control(ttl=5, tags=["inner"])
        return 1

    inner = here.task(summary, cache_verify=1.0)
    outer = here.task(inner.cache.call, name="outer")
    inner.cache.call()
    outer.cache.call()
    assert outer.cache.explain().remaining == 100
    assert outer.apply_async(cache="refresh").get() == 1
    assert previous == [None] * 3, "the entry that the outer run replaces isn't its own"
    here.cache.invalidate(tags=["inner"])
    assert outer.cache.explain().status == "miss"


@pytest.mark.parametrize("how", ["bypass", "no key", "no-store", "quick"])
def test_d1_answers_reach_through_a_run_that_is_not_stored(here: OneProcess, how: str) -> None:
    user = here.task(lambda: 1, name="user", cache_tags=("user:1",))

    def helper(_: object) -> int:
        cache_control(ttl=5)
        return int(user.cache.call())

    options: dict[str, Any] = {"cache_min_run": 60} if how == "quick" else {}
    task = here.task(helper, **options)

    def report() -> int:
        if how in ("bypass", "no-store"):
            return int(task.apply_async((1,), cache=how).get(disable_sync_subtasks=False))
        return int(task.cache.call(object() if how == "no key" else 1))

    made = here.task(report)
    assert made.cache.call() == 1
    assert made.cache.explain().remaining == 100
    here.cache.invalidate(tags=["user:1"])
    assert made.cache.explain().status == "miss"


def test_d1_a_remembered_failure_ends_with_what_it_was_made_from(here: OneProcess) -> None:
    user = here.task(lambda: 1, name="user", cache_tags=("user:1",))

    runs = []

    def report() -> int:
        runs.append(user.cache.call())
        cache_control(tags=["row:1"], stale_while_revalidate=50)
        raise LookupError("nothing of this user")

    task = here.task(report, cache_errors={LookupError: 60})
    for tag in ("user:1", "row:1"):
        for _ in range(2):
            with pytest.raises(LookupError):
                task.cache.call()
        explained = task.cache.explain()
        assert explained.made_from == (user.cache.key(),)
        assert explained.remaining == 60
        here.cache.invalidate(tags=[tag])
        assert task.cache.explain().status == "miss"
    assert len(runs) == 2


def test_what_a_primitive_that_is_off_says_is_not_said_of_the_run_around_it() -> None:
    async def inner(data: Any, _: Any) -> Any:
        cache_control(store=False)
        return data

    off = CachePrimitive(inner, enabled=False)
    outer = CachePrimitive(off.execute, name="outer")

    async def ask() -> None:
        await outer.execute("x")
        assert await outer.aget("x") == "x"

    run(ask, outer)
