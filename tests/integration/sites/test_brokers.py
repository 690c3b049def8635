"""Other brokers than Redis: RabbitMQ with either kind of queue, and kombu's folder of files.

RabbitMQ has no global prefetch count for quorum queues: the followers that a worker holds count
there, so their number is bounded by its window, and other calls of that queue wait with them.
"""

import os
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from celery.result import AsyncResult
from celery.signals import before_task_publish

from tests.integration.coalescing.test_followers import CONF, PATIENCE, Flight
from tests.integration.harness import Harness
from tests.support.brokers import with_folder, with_rabbit
from tests.support.rabbitmq import Rabbit
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import FolderWorker, Worker

pytestmark = pytest.mark.one_server_kind


@dataclass
class BrokerHarness(Harness):
    """A harness whose messages go to a queue of one test, at a broker; all else is in Redis.

    Attributes:
        depth: Returns the number of messages that no worker has.
        conf: Configuration of its workers.
        own_worker: Starts a worker for a harness.
        kind: The kind of its workers.
    """

    depth: Callable[[], int]
    conf: dict[str, Any]
    own_worker: Any
    kind: type[Worker] = Worker

    @property
    def flight(self) -> Flight:
        return Flight(self)

    def start(self, conf: dict[str, Any] | None = None, **options: Any) -> Worker:
        made: Worker = self.own_worker(
            self, {**self.conf, **(conf or {})}, kind=self.kind, **options
        )
        return made

    def parked(self, worker: Worker) -> int:
        """How many messages a worker holds without running them."""
        # A connection of our own: a pooled one may have been closed by a test.
        with self.app.connection_for_write() as connection:
            inspect = self.app.control.inspect
            asked = inspect([worker.hostname], timeout=1, limit=1, connection=connection)
            return len((asked.reserved() or {}).get(worker.hostname, ()))

    def wait_parked(self, worker: Worker, number: int) -> None:
        wait_until(
            lambda: self.parked(worker) == number,
            timeout=PATIENCE,
            what=f"{number} messages that the worker holds",
        )

    def wait_depth(self, number: int) -> None:
        wait_until(
            lambda: self.depth() == number, timeout=PATIENCE, what=f"{number} messages in the queue"
        )


@pytest.fixture
def new_broker_harness(
    request: pytest.FixtureRequest,
    redis_server: Server,
    new_harness: Callable[..., Harness],
    own_worker: Any,
    tmp_path: Path,
) -> Callable[[str], BrokerHarness]:
    def make(broker: str) -> BrokerHarness:
        queue = f"queue-{tmp_path.name}-{os.getpid()}"
        conf = {**CONF, "task_default_queue": queue}
        if broker == "filesystem":
            conf |= with_folder(tmp_path)
            harness = new_harness(redis_server, **conf)
            messages = tmp_path / "messages"
            return BrokerHarness(
                **vars(harness),
                depth=lambda: len(list(messages.glob(f"*.{queue}.msg"))),
                conf=conf,
                own_worker=own_worker,
                kind=FolderWorker,
            )
        rabbit: Rabbit = request.getfixturevalue("rabbit")
        conf |= with_rabbit(rabbit, quorum=broker == "quorum")
        harness = new_harness(redis_server, **conf)
        return BrokerHarness(
            **vars(harness), depth=lambda: rabbit.depth(queue), conf=conf, own_worker=own_worker
        )

    return make


@pytest.fixture(params=["classic", "quorum", "filesystem"])
def harness(
    request: pytest.FixtureRequest, new_broker_harness: Callable[[str], BrokerHarness]
) -> BrokerHarness:
    return new_broker_harness(request.param)


@pytest.fixture(params=["classic", "quorum"])
def rabbit_harness(
    request: pytest.FixtureRequest, new_broker_harness: Callable[[str], BrokerHarness]
) -> BrokerHarness:
    return new_broker_harness(request.param)


@pytest.fixture
def quorum(new_broker_harness: Callable[[str], BrokerHarness]) -> BrokerHarness:
    pytest.importorskip("celery.utils.quorum_queues", reason="Celery knows them since 5.5")
    return new_broker_harness("quorum")


@pytest.fixture
def published() -> Iterator[list[str]]:
    """The names of the tasks that are sent from here."""
    names: list[str] = []

    def note(sender: str, **_: Any) -> None:
        names.append(sender)

    before_task_publish.connect(note)
    yield names
    before_task_publish.disconnect(note)


def test_s1_a_hit_at_the_producer_sends_no_message(
    harness: BrokerHarness, published: list[str]
) -> None:
    task, tag = harness.task("cached.add"), harness.tag
    task.cache.set(3, tag, 1, 2)
    hits = [task.delay(tag, 1, 2) for _ in range(5)]
    assert [hit.get(timeout=PATIENCE) for hit in hits] == [3] * 5
    assert published == []
    task.delay(tag, 2)  # nobody is there to run it
    harness.wait_depth(1)
    assert published == ["cached.add"]


def test_s2_a_hit_needs_no_pool_process(harness: BrokerHarness) -> None:
    harness.start()
    task, tag = harness.task("consumer.add"), harness.tag
    assert task.delay(tag, 1).get(timeout=PATIENCE) == 1
    open_gate = harness.occupy(2)
    try:
        uncached = task.delay(tag, 2)
        assert [task.delay(tag, 1).get(timeout=PATIENCE) for _ in range(3)] == [1] * 3
        assert not uncached.ready()
    finally:
        open_gate()
    assert uncached.get(timeout=PATIENCE) == 2
    assert harness.runs("add", tag, 1, 0) == 1


def test_c1_c2_equal_calls_run_once_and_hold_no_slot(harness: BrokerHarness) -> None:
    harness.start({"worker_prefetch_multiplier": 16})
    flight = harness.flight
    results = flight.ask(20)
    _, leader = flight.started()
    other = harness.task("plain.add").delay(harness.tag, 1, 2)
    assert other.get(timeout=PATIENCE) == 3, "the second slot is free"
    flight.order("done")
    assert flight.values(results) == [["done", leader]] * 20
    assert flight.runs == 1


@pytest.mark.parametrize("broker", ["classic", "filesystem"])
def test_c5_followers_do_not_count_in_the_window(
    new_broker_harness: Callable[[str], BrokerHarness], broker: str
) -> None:
    harness = new_broker_harness(broker)
    worker = harness.start({"worker_prefetch_multiplier": 2})
    flight = harness.flight
    results = flight.ask(20)
    _, leader = flight.started()
    other = harness.task("plain.add").delay(harness.tag, 1, 2)
    assert other.get(timeout=PATIENCE) == 3, "it came behind the followers"
    assert harness.parked(worker) == 19
    flight.order("done")
    assert flight.values(results) == [["done", leader]] * 20
    assert flight.runs == 1


def fill_window(
    harness: BrokerHarness, worker: Worker, results: list[AsyncResult], window: int
) -> Any:
    """Wait until followers fill a worker's window; what comes now waits behind those that don't."""
    harness.wait_parked(worker, window)
    other = harness.task("plain.add").delay(harness.tag, 1, 2)
    harness.wait_depth(len(results) - window + 1)
    return other


def test_c5_with_a_quorum_queue_they_count(quorum: BrokerHarness) -> None:
    """What is behind them waits for as long as they do, and nothing for ever."""
    worker = quorum.start({"worker_prefetch_multiplier": 2})
    assert "Global QoS is disabled" in worker.log
    flight = quorum.flight
    results = flight.ask(20)
    _, leader = flight.started()
    other = fill_window(quorum, worker, results[1:], window=4)
    assert not other.ready()
    assert quorum.parked(worker) == 4
    flight.order("done")
    assert flight.values(results) == [["done", leader]] * 20
    assert other.get(timeout=PATIENCE) == 3
    assert flight.runs == 1


@pytest.mark.parametrize("end", ["done", "fail", "retry"])
def test_c4_a_window_full_of_followers_of_another_workers_call(
    quorum: BrokerHarness, end: str
) -> None:
    """The leader's second message, when it retries, goes behind those that wait for it."""
    leading = quorum.start({"worker_prefetch_multiplier": 2})
    flight = quorum.flight
    first = flight.ask()
    flight.started()
    quorum.app.control.cancel_consumer(
        quorum.conf["task_default_queue"], destination=[leading.hostname], reply=True
    )
    worker = quorum.start({"worker_prefetch_multiplier": 2})
    results = flight.ask(10)
    other = fill_window(quorum, worker, results, window=4)
    flight.order(end, "done", "done")
    values = [r.get(timeout=PATIENCE, propagate=False) for r in first + results]
    assert other.get(timeout=PATIENCE) == 3
    assert isinstance(values[0], ValueError) == (end == "fail")
    answers = {tuple(value) for value in values[end == "fail" :]}
    # After an end without a result they run side by side, in two slots (C6).
    most = 1 if end == "done" else 2
    assert 1 <= len(answers) <= most
    assert flight.runs == len(answers) + (end != "done")


def test_c3_a_window_full_of_followers_of_a_message_behind_them(quorum: BrokerHarness) -> None:
    """A producer's reservation gives way to what a worker has in hand."""
    quorum.cache.runtime.leases.reserved_for = 5.0  # time enough to see them wait
    worker = quorum.start({"worker_prefetch_multiplier": 2})
    flight, app, tag = quorum.flight, quorum.app, quorum.tag
    queue = quorum.conf["task_default_queue"]
    app.control.cancel_consumer(queue, destination=[worker.hostname], reply=True)
    results = [app.send_task("steered", (tag,)) for _ in range(4)]
    other = quorum.task("plain.add").delay(tag, 1, 2)
    results += flight.ask()  # its reservation; its message is the last
    app.control.add_consumer(queue, destination=[worker.hostname], reply=True)
    quorum.wait_parked(worker, 4)
    assert flight.runs == 0, "they wait for the last"
    _, leader = flight.started()
    assert leader == results[0].id
    flight.order("done")
    assert flight.values(results) == [["done", leader]] * 5
    assert other.get(timeout=PATIENCE) == 3
    assert flight.runs == 1


def test_c3_a_window_full_of_followers_of_a_worker_that_is_lost(quorum: BrokerHarness) -> None:
    lost = quorum.start({"worker_prefetch_multiplier": 2})
    flight = quorum.flight
    flight.ask()
    flight.started()
    quorum.app.control.cancel_consumer(
        quorum.conf["task_default_queue"], destination=[lost.hostname], reply=True
    )
    worker = quorum.start({"worker_prefetch_multiplier": 2})
    results = flight.ask(10)
    other = fill_window(quorum, worker, results, window=4)
    lost.kill()
    _, second = flight.started()
    flight.tell(second, "done")
    assert flight.values(results) == [["done", second]] * 10
    assert other.get(timeout=PATIENCE) == 3
    assert flight.runs == 2


def received(worker: Worker, result: AsyncResult) -> int:
    """How often a worker was given a call's message."""
    return worker.log.count(f"[{result.id}] received")


def test_c8_a_classic_queue_has_followers_again_before_it_loses_patience(
    new_broker_harness: Callable[[str], BrokerHarness],
) -> None:
    """Each time its bound begins anew; so there is one run, however long that takes."""
    harness = new_broker_harness("classic")
    worker = harness.start({"tests_longest_wait": 0.5}, concurrency=2)
    flight = harness.flight
    results = flight.ask(2)
    _, leader = flight.started()
    (follower,) = (result for result in results if result.id != leader)
    wait_until(lambda: received(worker, follower) >= 4, timeout=PATIENCE, what="it again and again")
    flight.order("done")
    assert flight.values(results) == [["done", leader]] * 2
    assert flight.runs == 1


def test_c8_a_quorum_queue_has_followers_again_once(quorum: BrokerHarness) -> None:
    """It counts how often it delivers a message, and drops it in the end."""
    worker = quorum.start({"tests_longest_wait": 0.5}, concurrency=2)
    flight = quorum.flight
    results = flight.ask(2)
    runs = {flight.started()[1] for _ in range(2)}
    assert runs == {result.id for result in results}, "it runs for itself then"
    assert sorted(received(worker, result) for result in results) == [1, 2]
    flight.order("done", "done")
    assert sorted(value[1] for value in flight.values(results)) == sorted(runs)


@pytest.mark.parametrize("late", [False, True])
def test_c5_followers_are_delivered_again_after_a_loss_of_the_connection(
    rabbit_harness: BrokerHarness, rabbit: Rabbit, late: bool
) -> None:
    """Acknowledged late, the leader's message comes again too, and waits for itself."""
    worker = rabbit_harness.start({"task_acks_late": late})
    flight, harness = rabbit_harness.flight, rabbit_harness
    note = harness.task("note")
    results = flight.ask(6, link=note.si("linked", harness.tag))
    _, leader = flight.started()
    again = 6 if late else 5
    rabbit_harness.wait_parked(worker, 5)
    rabbit.close_connections()
    wait_until(
        lambda: worker.log.count("] received") == 6 + again, timeout=PATIENCE, what="messages again"
    )
    flight.wait_renewed()
    flight.order("done")
    assert flight.values(results) == [["done", leader]] * 6
    notes = 7 if late else 6
    wait_until(lambda: harness.counts.llen(f"notes:{harness.tag}") >= notes, what="callbacks")
    assert harness.task("plain.add").delay(harness.tag, 1).get(timeout=PATIENCE) == 1
    assert harness.counts.llen(f"notes:{harness.tag}") == notes
    assert flight.runs == 1


def test_c5_followers_are_delivered_again_when_their_worker_is_stopped(
    harness: BrokerHarness,
) -> None:
    worker = harness.start()
    flight = harness.flight
    results = flight.ask(6)
    _, leader = flight.started()
    harness.wait_parked(worker, 5)
    os.kill(worker.main_pid, signal.SIGTERM)
    wait_until(lambda: "Warm shutdown" in worker.log, what="its shutdown")
    flight.order("done")
    wait_until(lambda: not worker.running, timeout=PATIENCE, what="its end")
    harness.start()
    assert flight.values(results) == [["done", leader]] * 6
    assert flight.runs == 1
    harness.wait_depth(0)


def test_s2_a_hit_is_acknowledged_late_as_the_task_says(harness: BrokerHarness) -> None:
    worker = harness.start({"task_acks_late": True})
    task = harness.task("consumer.add")
    assert [task.delay(harness.tag, 1).get(timeout=PATIENCE) for _ in range(5)] == [1] * 5
    results = harness.flight.ask(4)
    harness.flight.started()
    harness.wait_parked(worker, 3)
    harness.flight.order("done")
    harness.flight.values(results)
    assert harness.runs("add", harness.tag, 1, 0) == 1
    worker.stop()
    assert harness.depth() == 0, "what isn't acknowledged would be there again"
