"""A call that the producer answers takes a straight way through the modules."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import Mock

import pytest
from celery import Celery
from celery.backends.redis import RedisBackend

import tta_taskcache
from tta_taskcache import CachedTask, TaskCache

CELERY = Path(tta_taskcache.__file__).parent / "celery"

#: Stops of such a call at modules of ``celery/``, and how often it comes back to one that it had
#: left. With the decisions spread over the way it made 42 stops and came back 37 times.
MOST = {
    "long": (30, 12),  # somebody watches, or the backend isn't Redis: Celery's tracer runs
    "stored": (19, 5),  # the usual way: the result is stored, and nothing else happens
    "ignored": (16, 4),  # nor is the result
}


@pytest.fixture
def task(way: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    backend = "redis://" if way == "stored" else "cache+memory://"
    app = Celery(broker="memory://", backend=backend, set_as_current=False)
    monkeypatch.setattr(RedisBackend, "client", Mock())
    cache = TaskCache(app)

    @app.task(
        base=CachedTask,
        name="straight",
        shared=False,
        cache_tags=("user:{user}",),
        ignore_result=way == "ignored",
    )
    def task(user: int) -> int:
        return user

    with cache.substituted(replace(cache.settings, url=None)):
        task.cache.set(1, 1)
        assert task.delay(1).cache_status.hit  # which has made all that is made once
        yield task


@pytest.mark.parametrize("way", MOST)
def test_a_hit_at_the_producer_seldom_comes_back_to_a_module(way: str, task: Any) -> None:
    visited: list[str] = []

    def profile(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and CELERY in path.parents:
            visited.append(str(path.relative_to(CELERY)))

    sys.setprofile(profile)
    try:
        result = task.delay(1)
    finally:
        sys.setprofile(None)
    assert result.cache_status.hit
    stops = [module for module, _ in groupby(visited)]
    assert "sites/producer.py" in stops
    assert ("sites/pool.py" in stops) is (way == "long")
    assert ("patches/results/new_results.py" in stops) is (way != "ignored")
    most_stops, most_returns = MOST[way]
    assert len(stops) <= most_stops, stops
    assert len(stops) - len(set(stops)) <= most_returns, stops
