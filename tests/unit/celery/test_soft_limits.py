"""A soft time limit that strikes in the cache's code is the task's (F8), wherever it strikes."""

from collections.abc import Callable
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery
from kombu import serialization

from tta_taskcache import CachedTask, TaskCache


def strike(*_: Any, **__: Any) -> Any:
    raise SoftTimeLimitExceeded


def mend(*_: Any, **__: Any) -> Any:
    return "1"


PLACES = ["cache_validate", "cache_if", "cache_key", "cache_tags", "cache_cost"]


def make_task(**options: Any) -> Any:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)

    @app.task(base=CachedTask, shared=False, name="struck", **options)
    def struck(n: int) -> int:
        return n

    TaskCache(app)
    app.finalize()
    return struck


@pytest.fixture
def codec() -> Any:
    """A serializer whose functions a test replaces; kombu wraps what they raise."""
    functions: dict[str, Callable[[Any], Any]] = {"dumps": str, "loads": int}
    serialization.register(
        "struck",
        lambda value: functions["dumps"](value),  # noqa: PLW0108 - replaced later
        lambda data: functions["loads"](data),  # noqa: PLW0108
        content_type="application/x-struck",
        content_encoding="utf-8",
    )
    yield functions
    serialization.unregister("struck")


@pytest.mark.parametrize("place", PLACES)
def test_f8_in_a_function_of_the_policy(place: str) -> None:
    task = make_task(**{place: strike})
    if place == "cache_validate":
        task.cache.set(1, 1)
    with pytest.raises(SoftTimeLimitExceeded):
        task.apply((1,)).get()


@pytest.mark.parametrize("function", ["dumps", "loads"])
def test_f8_in_a_serializer(codec: dict[str, Any], function: str) -> None:
    task = make_task(cache_serializer="struck")
    if function == "loads":
        task.cache.set(1, 1)
    codec[function] = strike
    with pytest.raises(SoftTimeLimitExceeded):
        task.apply((1,)).get()


def test_f8_a_limit_that_was_caught_before_is_no_news(codec: dict[str, Any]) -> None:
    """A corrupt entry is a miss, also where a task asks for it after its limit has struck."""
    task = make_task(cache_serializer="struck")
    task.cache.set(1, 1)
    codec["loads"] = "corrupt".index
    try:
        strike()
    except SoftTimeLimitExceeded:
        assert task.cache.call(1) == 1
