"""S6: a hit takes no rate-limit token; only a call that has to run does.

The limits are given as annotations. Where a test needs one token only, it is of a minute; where it
waits for the next one, a plain task with the same limit beside it says when that came, so that
orders are compared and no times.
"""

from collections.abc import Callable
from typing import Any

import pytest
from celery.result import AsyncResult

from tests.integration.harness import Harness
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind

#: What a test waits at most (s).
PATIENCE = 30

ONE = "1/m"  # more than one token is out of a test's reach
FEW = "15/m"
SOME = "6/m"


def limits(limit: str, *names: str, **more: Any) -> dict[str, Any]:
    """What a worker is configured with."""
    return {"task_annotations": {name: {"rate_limit": limit} for name in names}, **more}


@pytest.fixture
def own(server_factory: Callable[..., Server], new_harness: Callable[..., Harness]) -> Harness:
    """An app on a server of its own: these workers are limited."""
    return new_harness(server_factory())


def values(results: list[AsyncResult]) -> list[Any]:
    return [result.get(timeout=PATIENCE) for result in results]


def take_the_token(harness: Harness, name: str = "consumer.add") -> None:
    """The first call that has to run takes it."""
    assert harness.task(name).delay(harness.tag, 99).get(timeout=PATIENCE) == 99


def pass_time(harness: Harness) -> None:
    """Let the worker do a hundred other things, one after the other."""
    for i in range(100):
        result = harness.task("plain.more").delay(i, harness.tag)
        assert result.get(timeout=PATIENCE) == i + 1


def received(worker: Worker, *results: AsyncResult) -> None:
    """Wait until the worker has calls in hand."""
    wait_until(
        lambda: all(f"[{result.id}] received" in worker.log for result in results),
        timeout=PATIENCE,
        what="messages at the worker",
    )


def started(harness: Harness) -> str:
    """Wait until `steered` runs: the id of its task."""
    popped = harness.counts.blpop([f"started:{harness.tag}"], timeout=PATIENCE)
    assert popped is not None, "nobody runs"
    return popped[1].decode().partition(" ")[2]


def order(harness: Harness, word: str) -> None:
    harness.counts.rpush(f"order:{harness.tag}", word)


@pytest.mark.parametrize("countdown", [None, 0.01])
def test_s6_hits_take_no_token(own: Harness, own_worker: Any, countdown: float | None) -> None:
    own_worker(own, limits(ONE, "consumer.add"))
    task = own.task("consumer.add")
    task.cache.set(1, own.tag, 1)
    take_the_token(own)
    warm = [task.apply_async((own.tag, 1), countdown=countdown) for _ in range(100)]
    assert values(warm) == [1] * 100
    assert own.runs("add", own.tag, 1, 0) == 0


def test_s6_a_hit_leaves_the_token_to_the_call_that_has_to_run(
    own: Harness, own_worker: Any
) -> None:
    own_worker(own, limits(ONE, "consumer.add"))
    task = own.task("consumer.add")
    task.cache.set(1, own.tag, 1)
    assert values([task.delay(own.tag, 1) for _ in range(10)]) == [1] * 10
    take_the_token(own)


@pytest.mark.parametrize("name", ["consumer.add", "plain.add"])
@pytest.mark.parametrize("countdown", [None, 0.01])
def test_s6_what_has_to_run_obeys_the_limit(
    own: Harness, own_worker: Any, name: str, countdown: float | None
) -> None:
    worker = own_worker(own, limits(ONE, name))
    task = own.task(name)
    take_the_token(own, name)
    second = task.apply_async((own.tag, 2), countdown=countdown)
    received(worker, second)
    pass_time(own)
    assert own.runs("add", own.tag, 2, 0) == 0
    own.app.control.rate_limit(name, "1000/s", reply=True)
    # Celery keeps those that wait until they have a token of the old limit.
    assert task.delay(own.tag, 3).get(timeout=PATIENCE) == 3
    assert not second.ready()


def test_s6_one_that_waits_for_a_token_keeps_no_equal_call_waiting(
    own: Harness, own_worker: Any
) -> None:
    worker = own_worker(own, limits(ONE, "cached.add", taskcache_lease_ttl=60.0))
    task = own.task("cached.add")
    take_the_token(own, "cached.add")
    waiting = own.app.send_task(task.name, (own.tag, 2))
    received(worker, waiting)
    own.app.control.rate_limit(task.name, "1000/s", reply=True)
    assert task.delay(own.tag, 2).get(timeout=PATIENCE) == 2
    assert not waiting.ready()


def test_s6_plain_tasks_are_limited_call_by_call(own: Harness, own_worker: Any) -> None:
    worker = own_worker(own, limits(ONE, "plain.add"))
    take_the_token(own, "plain.add")
    equal = own.task("plain.add").delay(own.tag, 99)
    received(worker, equal)
    pass_time(own)
    assert own.runs("add", own.tag, 99, 0) == 1


@pytest.mark.parametrize("by_name", [False, True])
def test_s6_followers_hold_no_token(own: Harness, own_worker: Any, by_name: bool) -> None:
    own_worker(own, limits(ONE, "steered"))
    task = own.task("steered")

    def call() -> AsyncResult:
        return own.app.send_task(task.name, (own.tag,)) if by_name else task.delay(own.tag)

    results = [call() for _ in range(100)]
    leader = started(own)
    order(own, "done")
    assert values(results) == [["done", leader]] * 100
    assert own.runs("steered", own.tag, 0) == 1


def test_s6_a_follower_whose_leader_fails_takes_a_token(own: Harness, own_worker: Any) -> None:
    own_worker(own, limits(SOME, "steered"))
    results = [own.task("steered").delay(own.tag) for _ in range(3)]
    leader = started(own)
    order(own, "fail")
    (failed,) = (result for result in results if result.id == leader)
    with pytest.raises(ValueError, match=own.tag):
        failed.get(timeout=PATIENCE)
    pass_time(own)
    assert own.runs("steered", own.tag, 0) == 1, "there is no token yet"
    second = started(own)
    order(own, "done")
    others = [result for result in results if result is not failed]
    assert values(others) == [["done", second]] * 2
    assert own.runs("steered", own.tag, 0) == 2


def test_s6_a_token_that_is_not_needed_any_more_is_given_back(
    own: Harness, own_worker: Any
) -> None:
    """Two calls wait. The first one's answer comes meanwhile: its token is the second one's."""
    worker = own_worker(own, limits(FEW, "plain.add", "consumer.add"))
    plain, cached = own.task("plain.add"), own.task("consumer.add")
    take_the_token(own, "plain.add")  # its tokens come before those of the other
    pass_time(own)
    take_the_token(own)
    tokens = [plain.delay(own.tag, x) for x in (1, 2)]
    waiting = [cached.delay(own.tag, x, 10) for x in (1, 2)]
    received(worker, *tokens, *waiting)
    assert cached.cache.set("stored", own.tag, 1, 10)
    assert tokens[0].get(timeout=PATIENCE) == 1
    assert tokens[1].get(timeout=PATIENCE) == 2
    assert waiting[1].ready(), "it has run, one token earlier than by itself"
    assert values(waiting) == ["stored", 12]
    assert own.runs("add", own.tag, 1, 10) == 0


def test_s6_while_a_call_waits_another_worker_may_run_it(own: Harness, own_worker: Any) -> None:
    """Its lease is given back; and when its token comes, it is answered."""
    conf = limits(SOME, "steered", taskcache_lease_ttl=60.0)
    here = own_worker(own, conf)
    own_worker(own, conf, queues=["elsewhere"])
    task = own.task("steered")
    first = task.delay(own.tag, 1)
    assert started(own) == first.id
    order(own, "first")
    assert first.get(timeout=PATIENCE)[0] == "first"
    # By name: the lease is the worker's, and long.
    waiting = own.app.send_task(task.name, (own.tag, 2))
    received(here, waiting)
    equal = own.app.send_task(task.name, (own.tag, 2), queue="elsewhere")
    assert started(own) == equal.id
    order(own, "done")
    assert values([equal, waiting]) == [["done", equal.id]] * 2
    assert own.runs("steered", own.tag, 2) == 1
