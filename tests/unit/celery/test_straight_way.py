"""A call that the producer answers takes a straight way through the modules."""

import sys
from itertools import groupby
from pathlib import Path
from types import FrameType

import pytest
from celery import Celery

import tta_taskcache
from tta_taskcache import CachedTask

CELERY = Path(tta_taskcache.__file__).parent / "celery"

#: How often such a call comes back to a module of ``celery/`` that it had left. With the decisions
#: spread over the way, it came back 37 times. Where nobody watches, no tracer runs.
MOST_RETURNS = {"long": 19, "short": 10}


@pytest.mark.parametrize("way", MOST_RETURNS)
def test_a_hit_at_the_producer_seldom_comes_back_to_a_module(way: str) -> None:
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    ignored = way == "short"  # no result is stored, on the short way

    @app.task(
        base=CachedTask,
        name="straight",
        shared=False,
        cache_tags=("user:{user}",),
        ignore_result=ignored,
    )
    def task(user: int) -> int:
        return user

    task.cache.set(1, 1)
    assert task.delay(1).cache_status.hit  # which has made all that is made once
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
    assert len(stops) - len(set(stops)) <= MOST_RETURNS[way], stops
