"""S1, S2: what a completed hit tells, and whose its faults are."""

import logging
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Task

from tests.integration.harness import Harness
from tests.integration.sites.local_apps import local_app
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import CachedTask

pytestmark = pytest.mark.one_server_kind


def test_s2_a_handler_that_rejects_completes_a_call_once(harness: Harness, worker: Worker) -> None:
    task = harness.task("rejecting")
    task.cache.set(harness.tag, harness.tag)
    task.apply_async((harness.tag,), link=harness.task("note").s(harness.tag)).get(timeout=20)
    wait_until(lambda: harness.counts.llen(f"notes:{harness.tag}") >= 1, what="the callback")
    for x in range(4):  # the pool has done what it was given before
        harness.task("plain.add").delay(harness.tag, x).get(timeout=20)
    assert harness.counts.llen(f"notes:{harness.tag}") == 1


def test_s1_a_hit_inside_a_task_is_announced_as_eager(harness: Harness, worker: Worker) -> None:
    """Celery's Django fixup closes the connections, of the task that asks, for any other."""
    harness.task("cached.add").cache.set(1, harness.tag, 1)
    seen = harness.task("asks").delay(harness.tag).get(timeout=20)
    assert seen == [["cached.add", True], ["cached.add", True]]


def test_s1_the_answer_is_not_in_the_headers() -> None:
    app, _ = local_app()
    seen: list[Any] = []

    class Base(CachedTask):
        abstract = True

        def on_success(self, *_: Any) -> None:
            seen.append(self.request.headers)

    @app.task(base=Base)
    def double(x: int) -> int:
        return 2 * x

    double.cache.set(4, 2)
    assert double.delay(2).get() == 4
    assert "taskcache_answer" not in (seen[0] or {})


def test_f3_the_soft_limit_of_the_task_that_asks_is_not_lost_in_a_hit() -> None:
    app, _ = local_app()

    class Base(CachedTask):
        abstract = True

        def before_start(self, *_: Any) -> None:
            raise SoftTimeLimitExceeded  # a signal: it may strike anywhere in here

    @app.task(base=Base)
    def double(x: int) -> int:
        return 2 * x

    double.cache.set(4, 2)
    with pytest.raises(SoftTimeLimitExceeded):
        double.delay(2)


def test_arguments_that_do_not_fit_are_no_fault_of_the_cache(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app, cache = local_app()

    @app.task(base=CachedTask)
    def double(x: int) -> int:
        return 2 * x

    with caplog.at_level(logging.WARNING, "tta_taskcache"), pytest.raises(TypeError):
        double.delay(1, 2, 3)
    assert "fault" not in caplog.text
    assert cache.stats().faults == 0


@pytest.mark.skipif(
    not hasattr(Task, "_dump_pydantic_arguments"), reason="Celery takes models since 5.7"
)
def test_the_handle_takes_models_as_the_task_does() -> None:
    pydantic = pytest.importorskip("pydantic")
    app, _ = local_app()

    class Order(pydantic.BaseModel):
        number: int

    def price(order: Any) -> int:
        return order.number

    price.__annotations__ = {"order": Order, "return": int}
    task = app.task(base=CachedTask, pydantic=True, name="price")(price)
    assert task.cache.key(Order(number=1)) == task.cache.key({"number": 1})
