"""F4: a cache that takes longer than a task isn't asked; which replies count as slow."""

from types import SimpleNamespace
from typing import Any

import pytest

from tta_taskcache.celery.worker.offload.slow_cache import NEVER_SLOW, SlowCache
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import Count, Look, LookMany
from tta_taskcache.stores.wrappers.breaker import Breaker, GuardedStore
from tta_taskcache.stores.wrappers.reply_times import IN_A_ROW, ReplyTimes
from tta_taskcache.testing import FakeClock, FaultyStore

LOOK = Look("key", ())


def reply_times(*seconds: float) -> ReplyTimes:
    times = ReplyTimes()
    for each in seconds:
        times.note(LOOK, each)
    return times


class Guarded:
    """A store whose replies take as long as a test says, and requests of tasks that use it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.faulty = FaultyStore(MemoryStore(10, 1_000, self.clock), self.clock.advance)
        breaker = Breaker(lambda _: None, self.clock)
        self.store = GuardedStore(self.faulty, breaker, self.clock)
        self.slow_cache = SlowCache()

    def replies_in(self, seconds: float) -> None:
        self.faulty.delay(seconds)
        for _ in range(IN_A_ROW):
            self.store.execute(LOOK)

    def request(self, name: str, mode: str = "use", **task: Any) -> Any:
        runtime = SimpleNamespace(store=self.store)
        policy = SimpleNamespace(cost=task.pop("cost", 0))
        return SimpleNamespace(
            task=SimpleNamespace(
                name=name, cache_runtime=runtime, cache_policy=policy, **{"rate_limit": None} | task
            ),
            request_dict={"taskcache": {"mode": mode}},
            on_success=lambda _: None,
        )

    def run(self, request: Any, seconds: float) -> None:
        """Let a request end in the pool."""
        self.slow_cache.watch(request)
        request.on_success((0, "", seconds))

    def passes(self, request: Any) -> bool:
        return self.slow_cache.is_too_slow_for(request)


def test_f4_a_task_that_takes_longer_than_a_reply_asks_and_a_shorter_one_does_not() -> None:
    guarded = Guarded()
    requests = [guarded.request(name) for name in ("short", "long", "new")]
    for request, seconds in zip(requests, (0.01, 10.0), strict=False):
        guarded.run(request, seconds)

    def passed(seconds: float) -> list[bool]:
        guarded.replies_in(seconds)
        return [guarded.passes(request) for request in requests]

    assert passed(NEVER_SLOW / 2) == [False, False, False]
    assert passed(0.15) == [True, False, False]
    assert passed(NEVER_SLOW / 2) == [False, False, False]


def test_f4_what_costs_more_than_time_asks_nevertheless() -> None:
    guarded = Guarded()
    guarded.run(guarded.request("short"), 0.01)
    guarded.replies_in(0.15)
    assert guarded.passes(guarded.request("short"))
    assert not guarded.passes(guarded.request("short", cost=0.1))
    assert not guarded.passes(guarded.request("short", rate_limit="1/m"))
    assert not guarded.passes(guarded.request("short", "refresh"))


def test_f4_what_the_cache_took_in_the_pool_is_no_run_time() -> None:
    guarded = Guarded()
    guarded.replies_in(0.15)
    guarded.run(guarded.request("short"), 0.31)  # it looked, and filled
    assert guarded.passes(guarded.request("short"))
    guarded.run(guarded.request("long", "slow"), 0.31)  # it passed the cache by
    assert not guarded.passes(guarded.request("long"))


def test_f4_one_call_in_a_while_asks_whether_it_has_become_better() -> None:
    slow_cache = SlowCache()
    assert [slow_cache.may_try() for _ in range(100)].count(True) == 1


def test_f4_a_store_that_is_given_up_is_not_asked() -> None:
    guarded = Guarded()
    request = guarded.request("any")
    assert not guarded.slow_cache.is_down(request)
    guarded.faulty.fail(times=1)
    with pytest.raises(StoreUnavailable):
        guarded.store.execute(LOOK)
    assert guarded.slow_cache.is_down(request)
    guarded.clock.advance(60)
    assert not guarded.slow_cache.is_down(request), "somebody has to try"


def test_one_quick_reply_among_the_last_ones_is_enough() -> None:
    assert reply_times(*[0.2] * (IN_A_ROW - 1), 0.001).usual == 0.001
    assert reply_times(*[0.2] * IN_A_ROW, 0.001, 0.2, 0.2).usual == 0.001
    assert reply_times(*[0.2] * (IN_A_ROW - 1)).usual == 0
    assert reply_times(0.001, *[0.2] * IN_A_ROW).usual == 0.2


def test_what_does_much_at_once_may_take_longer() -> None:
    times = ReplyTimes()
    for _ in range(IN_A_ROW):
        times.note(LookMany((LOOK,) * 500), 0.1)
    assert times.usual < 0.01
    for _ in range(IN_A_ROW):
        times.note(Count({}), 10.0)
    assert times.usual < 0.01
