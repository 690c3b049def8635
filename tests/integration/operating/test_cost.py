"""Cost: what a run cost is kept with its result, and a hit saves that."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from tests.support.waiting import wait_until
from tta_taskcache import MISSING, CachedTask, TaskCache
from tta_taskcache.observability.counters import Stats, TaskStats
from tta_taskcache.stores.exchanges.ledger import KEPT, days_since

Make = Callable[..., Any]


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    yield app
    app.close()


@pytest.fixture
def make(app: Celery) -> Make:
    def make(**options: Any) -> Any:
        @app.task(base=CachedTask, name="t", shared=False, **options)
        def t(number: int) -> int:
            if number < 0:
                raise ValueError(number)
            return number

        app.finalize()
        return t

    return make


def counted(app: Celery) -> TaskStats:
    return TaskCache(app).stats().tasks["t"]


@pytest.mark.parametrize(
    ("cost", "spent"),
    [(2, 2), (0.5, 0.5), (Decimal("1.25"), 1.25), (lambda result: result * 10, 70)],
)
def test_a_hit_saves_what_the_run_has_cost(
    app: Celery, make: Make, cost: Any, spent: float
) -> None:
    task = make(cache_cost=cost)
    for _ in range(4):
        assert task.delay(7).get() == 7
    assert (counted(app).run_cost, counted(app).saved_cost) == (spent, 3 * spent)
    (item,) = TaskCache(app).runtime.entries("*")
    assert item.entry.cost == spent
    assert item.entry.run_seconds == pytest.approx(counted(app).run_seconds)


def test_a_hit_saves_what_its_own_run_has_cost(app: Celery, make: Make) -> None:
    """Not what runs cost by now, or on average."""
    task = make(cache_cost=lambda result: result)
    for number in (1, 100, 1, 1, 100):
        task.cache.call(number)
    assert counted(app).saved_cost == 1 + 1 + 100


@pytest.mark.parametrize("cost", [lambda _: -1, lambda _: "much", lambda _: 1 / 0, lambda _: None])
def test_f1_a_cost_that_cant_be_told_harms_nobody(app: Celery, make: Make, cost: Any) -> None:
    task = make(cache_cost=cost)
    assert [task.delay(7).get() for _ in range(2)] == [7, 7]
    stats = TaskCache(app).stats()
    assert (stats.tasks["t"].saved_cost, stats.tasks["t"].runs, stats.faults) == (0, 1, 1)


def test_what_was_set_has_cost_nothing(app: Celery, make: Make) -> None:
    task = make(cache_cost=2)
    task.cache.set(1, 1)
    task.cache.call(1)
    assert (counted(app).run_cost, counted(app).saved_cost) == (0, 0)


def test_a_result_that_stands_in_for_a_failed_run_saves_nothing(app: Celery, make: Make) -> None:
    task = make(cache_cost=2, cache_ttl=0.01, cache_stale_if_error=60)
    task.cache.set("old", -1)
    wait_until(lambda: task.cache.get(-1) is MISSING)
    before = counted(app)
    assert task.cache.call(-1) == "old"
    assert counted(app).stale == {"stale-if-error": 1}
    assert (counted(app).saved_seconds, counted(app).saved_cost) == (before.saved_seconds, 0)


def test_the_ledger_has_days(app: Celery, make: Make) -> None:
    task = make(cache_cost=2)
    for _ in range(2):
        task.cache.call(1)
    cache, today = TaskCache(app), datetime.now(UTC).date()
    of_today = cache.stats(since=today - timedelta(days=1))
    assert of_today == cache.stats()
    assert of_today.tasks["t"].saved_cost == 2
    assert cache.stats(since=today + timedelta(days=2)) == Stats({})


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.integers(-3, 2 * KEPT))
def test_days_are_counted_from_the_first_that_is_kept_until_now(today: date, back: int) -> None:
    now = datetime(today.year, today.month, today.day, 23, 59, 59, tzinfo=UTC).timestamp()
    days = days_since(today - timedelta(days=back), now)
    assert len(days) == max(0, min(back, KEPT) + 1)
    assert not days or days[-1] == today.isoformat()
    assert list(days) == sorted(set(days))
