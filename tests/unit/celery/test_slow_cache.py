"""F4: a cache that takes longer than a task isn't asked; which replies count as slow."""

import pytest

from tta_taskcache.celery.worker.offload.slow_cache import NEVER_SLOW, SlowCache
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.stores.breaker import Breaker, GuardedStore
from tta_taskcache.stores.memory_store import MemoryStore
from tta_taskcache.stores.protocol import Count, Look, LookMany
from tta_taskcache.stores.reply_times import IN_A_ROW, ReplyTimes
from tta_taskcache.testing import FakeClock, FaultyStore

LOOK = Look("key", ())


def reply_times(*seconds: float) -> ReplyTimes:
    times = ReplyTimes()
    for each in seconds:
        times.note(LOOK, each)
    return times


class Guarded:
    """A store whose replies take as long as a test says."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.faulty = FaultyStore(MemoryStore(10, 1_000, self.clock), self.clock.advance)
        breaker = Breaker(lambda _: None, self.clock)
        self.store = GuardedStore(self.faulty, breaker, self.clock)

    def replies_in(self, seconds: float) -> None:
        self.faulty.delay(seconds)
        for _ in range(IN_A_ROW):
            self.store.execute(LOOK)


def test_f4_a_task_that_takes_longer_than_a_reply_asks_and_a_shorter_one_does_not() -> None:
    guarded, slow_cache = Guarded(), SlowCache()
    slow_cache.note_run("short", 0.01)
    slow_cache.note_run("long", 10.0)
    asked = {
        seconds: (
            guarded.replies_in(seconds),
            [slow_cache.too_slow_for(task, guarded.store) for task in ("short", "long", "new")],
        )[1]
        for seconds in (NEVER_SLOW / 2, 0.15, NEVER_SLOW / 2)
    }
    assert asked == {NEVER_SLOW / 2: [0, 0, 0], 0.15: [pytest.approx(0.15), 0, 0]}


def test_f4_what_the_cache_took_in_the_pool_is_no_run_time() -> None:
    guarded, slow_cache = Guarded(), SlowCache()
    guarded.replies_in(0.15)
    slow_cache.note_pool_run("short", 0.31, guarded.store)  # it looked, and filled
    assert slow_cache.too_slow_for("short", guarded.store)


def test_f4_a_store_that_is_given_up_is_not_asked() -> None:
    guarded, slow_cache = Guarded(), SlowCache()
    assert not slow_cache.is_down(guarded.store)
    guarded.faulty.fail(times=1)
    with pytest.raises(StoreUnavailable):
        guarded.store.execute(LOOK)
    assert slow_cache.is_down(guarded.store)
    guarded.clock.advance(60)
    assert not slow_cache.is_down(guarded.store), "somebody has to try"


def test_one_quick_reply_among_the_last_ones_is_enough() -> None:
    assert reply_times(0.2, 0.2, 0.001).usual == 0.001
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
