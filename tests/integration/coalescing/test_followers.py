"""One run per key (C1 to C5): equal calls in flight, on real workers.

The task `steered` says when it has started, and ends as a test tells it to; so nothing here depends
on how fast the machine is.
"""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import psutil
import pytest
from celery.exceptions import TaskRevokedError, WorkerLostError
from celery.result import AsyncResult

from tests.integration.harness import Harness
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker

pytestmark = pytest.mark.one_server_kind

#: Short, so that takeovers don't take long.
LEASE = 1.0
CONF = {"taskcache_lease_ttl": LEASE}

#: What a test waits at most (s); how long things take isn't tested here.
PATIENCE = 30


@dataclass
class Flight:
    """Equal calls, and the runs that they lead to."""

    harness: Harness

    @property
    def task(self) -> Any:
        return self.harness.task("steered")

    @property
    def runs(self) -> int:
        return self.harness.runs("steered", self.harness.tag, 0)

    def ask(self, times: int = 1, **options: Any) -> list[AsyncResult]:
        return [self.task.apply_async((self.harness.tag,), **options) for _ in range(times)]

    def started(self) -> tuple[int, str]:
        """Wait for a run: its process and its task's id."""
        popped = self.harness.counts.blpop([f"started:{self.harness.tag}"], timeout=PATIENCE)
        assert popped is not None, "nobody leads"
        pid, _, task_id = popped[1].decode().partition(" ")
        return int(pid), task_id

    def order(self, *words: str) -> None:
        self.harness.counts.rpush(f"order:{self.harness.tag}", *words)

    def tell(self, task_id: str, word: str) -> None:
        """Order what only this run obeys: one that is stopped may wait for orders, too."""
        self.harness.counts.rpush(f"order:{task_id}", word)

    def wait_renewed(self) -> None:
        """Wait until the lease has been renewed for three times its ttl, by the same owner."""
        client = self.harness.server.client(2)
        (name,) = client.keys("taskcache:l:*")
        owner, remaining = client.hget(name, "owner"), [client.pttl(name)]

        def was_renewed_often() -> bool:
            remaining.append(client.pttl(name))
            rises = sum(b - a for a, b in pairwise(remaining) if b > a)
            return rises > 3_000 * LEASE

        wait_until(was_renewed_often, timeout=PATIENCE, what="renewals for three times its ttl")
        assert min(remaining) > 0, "it never lapsed"
        assert client.hget(name, "owner") == owner

    def values(self, results: list[AsyncResult]) -> list[Any]:
        return [result.get(timeout=PATIENCE) for result in results]


@pytest.fixture
def own(server_factory: Callable[..., Server], new_harness: Callable[..., Harness]) -> Harness:
    """An app on a server of its own, for workers that come to harm."""
    return new_harness(server_factory(), **CONF)


@pytest.fixture
def flight(own: Harness) -> Flight:
    return Flight(own)


def parked(worker: Worker, harness: Harness) -> int:
    """How many messages the worker holds without running them."""
    replies = harness.app.control.inspect([worker.hostname], timeout=1).reserved() or {}
    return len(replies.get(worker.hostname, ()))


@pytest.mark.parametrize(
    ("pool", "concurrency"), [("prefork", 2), ("threads", 2), ("gevent", 2), ("solo", 1)]
)
def test_c1_c2_equal_calls_run_once_and_hold_no_slot(
    flight: Flight, own_worker: Any, pool: str, concurrency: int
) -> None:
    own_worker(flight.harness, CONF, pool=pool, concurrency=concurrency)
    results = flight.ask(20)
    _, leader = flight.started()
    if pool != "solo":  # it does one thing at a time
        other = flight.harness.task("plain.add").delay(flight.harness.tag, 1, 2)
        assert other.get(timeout=PATIENCE) == 3, "the second slot is free"
    flight.order("done")
    assert flight.values(results) == [["done", leader]] * 20
    assert flight.runs == 1


def test_c1_a_follower_is_answered_as_if_it_had_run(flight: Flight, own_worker: Any) -> None:
    own_worker(flight.harness, CONF)
    note = flight.harness.task("note")
    tag = flight.harness.tag
    results = flight.ask(3, link=note.si("linked", tag))
    flight.started()
    flight.order("done")
    values = flight.values(results)
    assert len({tuple(value) for value in values}) == 1
    wait_until(lambda: flight.harness.counts.llen(f"notes:{tag}") == 3, what="each one's callback")
    assert flight.runs == 1


@pytest.mark.parametrize("end", ["fail", "retry"])
def test_c1_c6_when_the_leader_fails_or_retries_others_run(
    flight: Flight, own_worker: Any, end: str
) -> None:
    own_worker(flight.harness, CONF)
    results = flight.ask(5)
    _, first = flight.started()
    flight.order(end)
    others = {flight.started()[1] for _ in range(2)}
    assert first not in others
    flight.order("done", "done")
    values = {r.id: r.get(timeout=PATIENCE, propagate=False) for r in results}
    failed = {task_id for task_id, value in values.items() if isinstance(value, ValueError)}
    assert failed == ({first} if end == "fail" else set()), "one task's failure is no other's"
    assert all(value[1] in others for i, value in values.items() if i not in failed)
    assert flight.runs == 3


@pytest.mark.parametrize(
    ("pool", "concurrency"), [("prefork", 2), ("threads", 2), ("gevent", 2), ("solo", 1)]
)
def test_c3_a_lease_is_renewed_for_as_long_as_the_task_runs(
    flight: Flight, own_worker: Any, pool: str, concurrency: int
) -> None:
    own_worker(flight.harness, CONF, pool=pool, concurrency=concurrency)
    results = flight.ask(3)
    _, leader = flight.started()
    client = flight.harness.server.client(2)
    (name,) = client.keys("taskcache:l:*")
    flight.wait_renewed()
    assert client.hget(name, "stage") == b"running"
    flight.order("done")
    assert flight.values(results) == [["done", leader]] * 3
    assert flight.runs == 1


def kill_child(pid: int, _: Flight, __: str) -> None:
    os.kill(pid, signal.SIGKILL)


def stop_child(pid: int, _: Flight, __: str) -> None:
    os.kill(pid, signal.SIGSTOP)


def revoke(_: int, flight: Flight, leader: str) -> None:
    flight.harness.app.control.revoke(leader, terminate=True, signal="SIGKILL")


@pytest.mark.parametrize("end", [kill_child, stop_child, revoke])
def test_c3_when_the_leader_is_gone_a_follower_leads(
    flight: Flight, own_worker: Any, end: Callable[[int, Flight, str], None]
) -> None:
    own_worker(flight.harness, CONF)
    results = flight.ask(5)
    pid, first = flight.started()
    end(pid, flight, first)
    _, second = flight.started()
    assert second != first
    client = flight.harness.server.client(2)
    (name,) = client.keys("taskcache:l:*")
    assert client.hget(name, "stage") != b"unshared", "the others wait for the second"
    flight.tell(second, "done")
    flight.tell(first, "late")
    others = [result for result in results if result.id != first]
    assert flight.values(others) == [["done", second]] * 4
    assert flight.runs == 2
    if end is not stop_child:
        (lost,) = (result for result in results if result.id == first)
        with pytest.raises((TaskRevokedError, WorkerLostError)):
            lost.get(timeout=PATIENCE)
        return
    # The one that was stopped wakes up: its call ends, and it fills over nobody.
    os.kill(pid, signal.SIGCONT)
    (late,) = (result for result in results if result.id == first)
    assert late.get(timeout=PATIENCE) == ["late", first]
    assert flight.task.cache.get(flight.harness.tag) == ["done", second]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_c3_c4_when_a_whole_worker_is_gone_one_of_another_leads(
    flight: Flight, own_worker: Any, number: signal.Signals
) -> None:
    lost = own_worker(flight.harness, CONF)
    (leader,) = flight.ask()
    _, first = flight.started()
    assert first == leader.id
    kept = own_worker(flight.harness, CONF)
    processes = [lost.main_pid, *lost.pool_pids()]
    lost_control(flight.harness, lost)
    results = flight.ask(4)
    wait_until(lambda: parked(kept, flight.harness) == 4, timeout=PATIENCE, what="followers")
    for pid in processes:
        os.kill(pid, number)
    _, second = flight.started()
    flight.tell(second, "done")
    assert flight.values(results) == [["done", second]] * 4
    assert flight.runs == 2
    for pid in processes:
        if number is signal.SIGSTOP and psutil.pid_exists(pid):
            os.kill(pid, signal.SIGCONT)


def lost_control(harness: Harness, worker: Worker) -> None:
    """Let a worker take no further messages."""
    harness.app.control.cancel_consumer("celery", destination=[worker.hostname], reply=True)


def test_i2_a_call_after_an_invalidation_does_not_join(flight: Flight, own_worker: Any) -> None:
    own_worker(flight.harness, CONF)
    (before,) = flight.ask()
    _, first = flight.started()
    flight.harness.cache.invalidate(tags=[f"tag:{flight.harness.tag}"])
    (after,) = flight.ask()
    _, second = flight.started()
    flight.order("one")
    flight.order("two")
    assert {first, second} == {before.id, after.id}
    flight.values([before, after])
    assert flight.runs == 2
    assert flight.task.cache.get(flight.harness.tag)[1] == second, "the older one doesn't fill"


def test_r1b_what_cant_be_stored_makes_nobody_wait(flight: Flight, own_worker: Any) -> None:
    """Else each would run after the other, where without the cache they ran side by side."""
    own_worker(flight.harness, CONF, concurrency=2)
    results = flight.ask(3)
    flight.started()
    flight.order("set")
    flight.started()
    flight.started()
    flight.order("set", "set")
    for result in results:
        result.get(timeout=PATIENCE, propagate=False)
    assert flight.runs == 3


def test_c5_past_the_bound_no_further_messages_are_pulled(flight: Flight, own_worker: Any) -> None:
    conf = {**CONF, "taskcache_max_followers": 3, "worker_prefetch_multiplier": 2}
    worker = own_worker(flight.harness, conf, concurrency=1)
    results = flight.ask(20)
    flight.started()
    queue = flight.harness.server.client(0)
    # The leader was acknowledged when it started: two are prefetched, and three more held.
    wait_until(lambda: queue.llen("celery") == 14, what="messages that stay in the queue")
    assert parked(worker, flight.harness) == 5
    assert queue.llen("celery") == 14
    flight.order("done")
    assert len({tuple(value) for value in flight.values(results)}) == 1
    assert flight.runs == 1


def test_c5_followers_survive_a_cut_of_the_brokers_connection(
    flight: Flight, own_worker: Any
) -> None:
    server = flight.harness.server
    tag = flight.harness.tag
    conf = {**CONF, "broker_transport_options": {"visibility_timeout": 2}}
    with Proxy(server.port) as proxy:
        worker = own_worker(flight.harness, conf, broker=proxy.url(0))
        note = flight.harness.task("note")
        results = flight.ask(6, link=note.si("linked", tag))
        flight.started()
        wait_until(lambda: parked(worker, flight.harness) == 5, what="followers")
        proxy.cut()
        wait_until(lambda: "Connection to broker lost" in worker.log, what="the loss")
        flight.order("done")
        values = flight.values(results)
        wait_until(lambda: flight.harness.counts.llen(f"notes:{tag}") >= 6, what="callbacks")
    assert len({tuple(value) for value in values}) == 1
    assert flight.harness.counts.llen(f"notes:{tag}") == 6
    assert flight.runs == 1
