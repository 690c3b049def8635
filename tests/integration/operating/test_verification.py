"""Verification and shadow mode: what runs anyway, what is compared, and what is served."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from celery import Celery
from celery.exceptions import Retry
from hypothesis import given
from hypothesis import strategies as st

from tta_taskcache import MISSING, CachedTask, CacheMiss, TaskCache
from tta_taskcache.core.results.differences import differences
from tta_taskcache.observability.counters import TaskStats


class Source:
    """What tasks read, and how often."""

    def __init__(self) -> None:
        self.runs = 0
        self.value: Any = {"items": [{"price": 5}], "same": float("nan")}
        self.error: Exception | None = None
        self.before_return: Callable[[], object] = lambda: None

    def read(self) -> Any:
        self.runs += 1
        if self.error is not None:
            raise self.error
        self.before_return()
        return self.value


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    app.conf.task_always_eager = True
    app.conf.task_store_eager_result = False
    yield app
    app.close()


@pytest.fixture
def make(app: Celery, source: Source) -> Callable[..., Any]:
    """A task that reads the source."""

    def make(**options: Any) -> Any:
        @app.task(base=CachedTask, name="t", shared=False, **options)
        def t(key: str) -> Any:
            return source.read()

        app.finalize()
        return t

    return make


def stats(app: Celery) -> TaskStats:
    return TaskCache(app).stats().tasks["t"]


def test_a_pure_task_is_never_reported(app, source, make, caplog) -> None:
    task = make(cache_verify=1.0)
    for _ in range(5):
        assert task.delay("a").get()["items"] == [{"price": 5}]
    assert source.runs == 5
    assert stats(app).verified == {"same": 4}
    assert stats(app).hits == {}
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING and "verif" in r.message]


def test_an_impure_task_is_reported_with_the_difference(app, source, make, caplog) -> None:
    task = make(cache_verify=1.0)
    first = task.delay("a")
    first.get()
    source.value = {"items": [{"price": 6}], "same": float("nan")}
    assert task.delay("a").get()["items"] == [{"price": 6}], "what has run is what is returned"
    assert stats(app).verified == {"different": 1}
    (warning,) = [r.getMessage() for r in caplog.records if "verification" in r.message]
    assert "verification of task t" in warning
    assert "$.items[0].price: stored 5, returned 6" in warning
    assert task.cache.key("a") in warning
    assert first.id in warning
    assert "same" not in warning.partition("?")[2]


def test_a_bad_key_is_found(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    """An argument that counts is ignored."""

    @app.task(base=CachedTask, name="t", shared=False, cache_ignore=("currency",), cache_verify=1.0)
    def price(item: int, currency: str) -> str:
        return f"{item} {currency}"

    assert [price.delay(1, money).get() for money in ("EUR", "USD")] == ["1 EUR", "1 USD"]
    assert stats(app).verified == {"different": 1}
    assert "stored '1 EUR', returned '1 USD'" in caplog.text


def test_only_the_share_is_verified(app, source, make, monkeypatch) -> None:
    task = make(cache_verify=0.25)
    draws = iter([0.9, 0.3, 0.25, 0.24, 0.9])
    monkeypatch.setattr("tta_taskcache.celery.calls.identification.random", lambda: next(draws))
    for _ in range(5):
        task.delay("a").get()
    assert source.runs == 2
    assert stats(app).hits == {"pool/l1": 3}
    assert stats(app).verified == {"same": 1}


def test_a_run_that_fails_is_not_the_callers_failure(app, source, make) -> None:
    task = make(cache_verify=1.0)
    task.delay("a").get()
    source.error = ConnectionError("down")
    assert task.delay("a").get()["items"] == [{"price": 5}]
    assert stats(app).verified == {"failed": 1}


def test_a_run_that_is_retried_is_retried(source, make) -> None:
    task = make(cache_verify=1.0)
    task.cache.call("a")
    source.error = Retry()
    with pytest.raises(Retry):
        task.cache.call("a")


def test_what_an_invalidation_ended_meanwhile_is_not_reported(app, source, make, caplog) -> None:
    task = make(cache_verify=1.0)
    task.delay("a").get()
    source.value = "changed"
    source.before_return = lambda: TaskCache(app).clear()
    assert task.delay("a").get() == "changed"
    assert stats(app).verified == {"outdated": 1}
    assert "returned something else" not in caplog.text


def test_a_result_that_cant_be_stored_is_not_compared(app, source, make) -> None:
    task = make(cache_verify=1.0)
    task.cache.call("a")
    source.value = {1, 2}
    assert task.cache.call("a") == {1, 2}
    assert stats(app).verified == {"incomparable": 1}


def test_what_never_runs_is_not_verified(source, make) -> None:
    task = make(cache_verify=1.0)
    task.cache.call("a")
    assert task.cache.get("a")["items"] == [{"price": 5}]
    assert task.apply_async(("a",), cache="only").get()["items"] == [{"price": 5}]
    assert source.runs == 1


def test_a_remembered_failure_is_not_verified(app, source, make) -> None:
    task = make(cache_verify=1.0, cache_errors={KeyError: 60})
    source.error = KeyError("gone")
    for _ in range(2):
        with pytest.raises(KeyError):
            task.cache.call("a")
    assert source.runs == 1
    assert stats(app).verified == {}


# Shadow mode


@pytest.mark.parametrize("how", ["task", "app"])
def test_in_shadow_mode_everything_runs_and_is_counted(app, source, make, how: str) -> None:
    if how == "app":
        app.conf.taskcache_shadow = True
    task = make(cache_cost=3, **({"cache_shadow": True} if how == "task" else {}))
    for key in ("a", "a", "b", "a"):
        task.delay(key).get()
    assert source.runs == 4
    counted = stats(app)
    assert counted.shadow == {"hit": 2, "miss": 2}
    assert counted.shadow_cost == 6
    assert (counted.hits, counted.saved_cost, counted.run_cost) == ({}, 0.0, 12)
    assert counted.verified == {"same": 2}
    assert counted.fills == {"stored": 2}, "a hit wouldn't have made it live for longer"


def test_in_shadow_mode_nothing_is_served(source, make) -> None:
    task = make(cache_shadow=True)
    task.cache.call("a")
    assert task.cache.get("a") is MISSING
    with pytest.raises(CacheMiss):
        task.apply_async(("a",), cache="only")
    source.error = ValueError("mine")
    with pytest.raises(ValueError, match="mine"):
        task.cache.call("a")


def test_a_task_may_leave_the_shadow(app, source, make) -> None:
    app.conf.taskcache_shadow = True
    task = make(cache_shadow=False)
    assert [task.delay("a").get()["items"] for _ in range(2)] == [[{"price": 5}]] * 2
    assert source.runs == 1
    assert stats(app).shadow == {}


def test_an_impure_task_is_found_in_the_shadow(app, source, make, caplog) -> None:
    task = make(cache_shadow=True)
    task.cache.call("a")
    source.value = 6
    assert task.cache.call("a") == 6
    assert stats(app).verified == {"different": 1}
    assert "returned something else" in caplog.text


# Differences

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_a_value_does_not_differ_from_itself(value: Any) -> None:
    assert differences(value, value) == ()


@pytest.mark.parametrize(
    ("stored", "returned", "said"),
    [
        (1, 1.0, "$: stored 1, returned 1.0"),
        (1, True, "$: stored 1, returned True"),
        ([1, 2], [1], "$: stored 2 items, returned 1"),
        ({"a": 1}, {}, "$.a: stored 1, returned without it"),
        ({}, {"a": 1}, "$.a: stored without it, returned 1"),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}]}, "$.a[0].b: stored 1, returned 2"),
        ("x" * 200, "y", f"$: stored '{'x' * 78}…, returned 'y'"),
    ],
)
def test_differences_are_named(stored: Any, returned: Any, said: str) -> None:
    assert differences(stored, returned) == (said,)


class Plain:
    def __init__(self, x: int) -> None:
        self.x = x


def test_objects_without_equality_are_compared_by_their_attributes() -> None:
    assert differences([Plain(1)], [Plain(1)]) == ()
    assert differences([Plain(1)], [Plain(2)]) == ("$[0].x: stored 1, returned 2",)


def test_no_more_than_ten_differences_are_named() -> None:
    assert len(differences(list(range(100)), list(range(1, 101)))) == 10
