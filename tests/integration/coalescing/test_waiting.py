"""Waiting has an end: failures, calls within themselves, queued leaders, age (C6 to C8)."""

from collections.abc import Callable
from typing import Any

import pytest
from celery.exceptions import TimeLimitExceeded

from tests.integration.coalescing.test_followers import CONF, PATIENCE, Flight
from tests.integration.harness import Harness
from tests.support.servers import Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.one_server_kind


@pytest.fixture
def flight(server_factory: Callable[..., Server], new_harness: Callable[..., Harness]) -> Flight:
    return Flight(new_harness(server_factory(), **CONF))


@pytest.mark.parametrize("end", ["fail", "retry", "replace", "ignore", "reject"])
def test_c6_after_an_end_without_a_result_equal_calls_run_side_by_side(
    flight: Flight, own_worker: Any, end: str
) -> None:
    own_worker(flight.harness, CONF, concurrency=3)
    flight.ask(4)
    flight.started()
    flight.order(end)
    others = {flight.started()[1] for _ in range(3)}
    assert len(others) == 3, "none of them waits for another one"
    flight.order(*["done"] * 4)


@pytest.mark.parametrize("pool", ["threads", "gevent"])
def test_c6_with_other_pools(flight: Flight, own_worker: Any, pool: str) -> None:
    own_worker(flight.harness, CONF, pool=pool, concurrency=3)
    flight.ask(4)
    flight.started()
    flight.order("fail")
    assert len({flight.started()[1] for _ in range(3)}) == 3
    flight.order(*["done"] * 3)


def test_c6_after_a_time_limit_equal_calls_run_side_by_side(
    flight: Flight, own_worker: Any
) -> None:
    own_worker(flight.harness, CONF, concurrency=3)
    (limited,) = flight.ask(time_limit=2)
    assert flight.started()[1] == limited.id
    flight.ask(3)
    assert len({flight.started()[1] for _ in range(3)}) == 3
    flight.order(*["done"] * 3)
    with pytest.raises(TimeLimitExceeded):
        limited.get(timeout=PATIENCE)


def test_c6_once_one_has_succeeded_the_others_are_answered(flight: Flight, own_worker: Any) -> None:
    own_worker(flight.harness, CONF, concurrency=2)
    results = flight.ask(20)
    _, first = flight.started()
    flight.order("fail")
    for _ in range(2):
        flight.started()
    flight.order("done", "done")
    values = [r.get(timeout=PATIENCE) for r in results if r.id != first]
    assert len(values) == 19
    assert flight.runs == 3, "no more than there are processes, after the one that has failed"


def test_c6_what_runs_side_by_side_looks_again_however_short_runs_are(
    flight: Flight, own_worker: Any
) -> None:
    own_worker(flight.harness, CONF, concurrency=1)
    results = flight.ask(5)
    flight.order("fail", "done")
    values = [result.get(timeout=PATIENCE, propagate=False) for result in results]
    assert [isinstance(value, ValueError) for value in values].count(True) == 1
    assert flight.runs == 2


WAYS = ["call", "message", "each other", "message by a plain task", "call by a plain task"]


@pytest.mark.parametrize("way", WAYS)
def test_c7_a_run_that_asks_for_itself_is_answered(
    flight: Flight, own_worker: Any, way: str
) -> None:
    own_worker(flight.harness, CONF, concurrency=3)
    result = flight.harness.task("asking").delay(flight.harness.tag, way)
    assert result.get(timeout=PATIENCE) == "answer"
    assert flight.harness.runs("asking", flight.harness.tag, way, 1) == 1


def test_c8_a_queued_leader_yields_to_a_free_slot_and_looks_again(
    flight: Flight, own_worker: Any
) -> None:
    busy = own_worker(flight.harness, CONF, concurrency=1)
    open_gate = flight.harness.occupy(1)
    (queued,) = flight.ask()
    client = flight.harness.server.client(2)

    def is_queued() -> bool:
        names = client.keys("taskcache:l:*")
        return bool(names) and client.hget(names[0], "stage") == b"queued"

    wait_until(is_queued, timeout=PATIENCE, what="a leader that waits for the pool")
    flight.harness.app.control.cancel_consumer("celery", destination=[busy.hostname], reply=True)
    own_worker(flight.harness, CONF, concurrency=1)
    (equal,) = flight.ask()
    _, leader = flight.started()
    assert leader == equal.id
    flight.order("done")
    assert equal.get(timeout=PATIENCE) == ["done", equal.id]
    open_gate()
    assert queued.get(timeout=PATIENCE) == ["done", equal.id]
    assert flight.runs == 1


def test_c8_a_follower_runs_before_the_broker_loses_patience(
    flight: Flight, own_worker: Any
) -> None:
    conf = {**CONF, "broker_transport_options": {"visibility_timeout": 4}}
    own_worker(flight.harness, conf, concurrency=2)
    results = flight.ask(2)
    runs = [flight.started()[1] for _ in range(2)]
    assert set(runs) == {r.id for r in results}, "and not one of them twice, delivered again"
    flight.order("done", "done")
    assert all(value[0] == "done" for value in flight.values(results))


def test_c1_a_refresh_that_is_granted_to_a_follower_is_sent(
    flight: Flight, own_worker: Any
) -> None:
    own_worker(flight.harness, CONF, concurrency=2)
    task = flight.harness.task("steered_and_due")
    results = [task.delay(flight.harness.tag) for _ in range(2)]
    _, leader = flight.started()
    flight.order("done")
    assert flight.values(results) == [["done", leader]] * 2
    _, refresh = flight.started()
    assert refresh not in {result.id for result in results}
    flight.order("done")
