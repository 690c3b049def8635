"""F4: the worker's event loop waits for nobody.

Nothing is timed: what others would have to wait for is counted, or held up until a test lets it
go on.
"""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.harness import Harness
from tests.support.counting import commands, round_trips
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.one_server_kind

#: What a test waits at most (s).
PATIENCE = 30

MANY = 100


@pytest.fixture
def cache_server(server_factory: Callable[..., Server]) -> Server:
    return server_factory()


@pytest.fixture
def way(cache_server: Server) -> Iterator[Proxy]:
    """The worker's way to the cache."""
    with Proxy(cache_server.port) as proxy:
        yield proxy


@pytest.fixture
def own(
    server_factory: Callable[..., Server], cache_server: Server, new_harness: Callable[..., Harness]
) -> Harness:
    """An app with servers of its own, whose way to the cache is short."""
    return new_harness(server_factory(), cache_server.url(2))


@pytest.fixture
def start(own: Harness, own_worker: Any, way: Proxy) -> Callable[..., Any]:
    def start_worker(**conf: Any) -> Any:
        return own_worker(own, {"taskcache_url": way.url(2), **conf}, concurrency=2)

    return start_worker


def ask(harness: Harness, name: str, numbers: range = range(MANY)) -> list[Any]:
    return [harness.task(name).delay(harness.tag, number) for number in numbers]


def get(results: list[Any]) -> list[Any]:
    return [result.get(timeout=PATIENCE) for result in results]


def is_idle(harness: Harness) -> bool:
    """Whether no message waits, or is in hand."""
    broker = harness.server.client(0)
    return not broker.llen("celery") and not broker.hlen("unacked")


def warm_up(harness: Harness) -> None:
    """Let each process of the worker connect to everything."""
    get(ask(harness, "consumer.add", range(1_000, 1_010)))
    harness.task("plain.add").delay(harness.tag, -1).get(timeout=PATIENCE)


@pytest.fixture
def held_up(own: Harness, way: Proxy, start: Callable[..., Any]) -> list[Any]:
    """The results of hits that a worker has, all at once, while the cache doesn't reply."""
    start(taskcache_timeout=PATIENCE)
    for number in range(2 * MANY):
        own.task("consumer.add").cache.set(number, own.tag, number)
    # Where lookups are hits, more messages are fetched meanwhile.
    get(ask(own, "consumer.add", range(MANY, 2 * MANY)))
    way.freeze()
    results = ask(own, "consumer.add")
    broker = own.server.client(0)
    wait_until(lambda: not broker.llen("celery"), timeout=PATIENCE, what="all to be fetched")
    return results


def test_f4_hits_that_wait_for_the_cache_share_its_replies(
    own: Harness, way: Proxy, cache_server: Server, held_up: list[Any]
) -> None:
    with round_trips(cache_server) as trips:
        way.thaw()
        assert get(held_up) == list(range(MANY))
    # One for the first, and those of a long pipeline for the others; one by one, it would be MANY.
    assert trips.count <= 10
    assert own.runs("add", own.tag, MANY - 1, 0) == 0


def test_f4_results_of_hits_are_stored_together(
    own: Harness, way: Proxy, held_up: list[Any]
) -> None:
    with commands(own.server) as counted:
        way.thaw()
        wait_until(lambda: is_idle(own), timeout=PATIENCE, what="all to be done")
    assert get(held_up) == list(range(MANY))
    # Celery reads what is stored before it stores something else: here for all of a batch.
    assert counted["get"] + counted["mget"] <= 10


def test_f4_calls_that_are_shorter_than_a_reply_pass_a_slow_cache_by(
    own: Harness, way: Proxy, start: Callable[..., Any]
) -> None:
    start()
    warm_up(own)
    way.delay(0.05)
    assert get(ask(own, "consumer.add")) == list(range(MANY))
    # The first ones show that it is slow, and one a second whether it still is.
    assert own.task("consumer.add").cache.get(own.tag, MANY - 1) != MANY - 1
    stored = [own.task("consumer.add").cache.get(own.tag, number) for number in range(MANY)]
    assert sum(value == number for number, value in enumerate(stored)) < MANY * 3 / 4
    way.delay(0)

    def is_stored_again() -> bool:
        own.task("consumer.add").delay(own.tag, 7_777).get(timeout=PATIENCE)
        return bool(own.task("consumer.add").cache.get(own.tag, 7_777) == 7_777)

    wait_until(is_stored_again, timeout=PATIENCE, what="calls to be stored again")


def test_f4_a_handler_keeps_nobody_waiting(own: Harness, own_worker: Any) -> None:
    worker = own_worker(own, concurrency=2)
    task = own.task("audited")
    task.cache.set(own.tag, own.tag)
    result = task.delay(own.tag)
    handler = own.counts.blpop([f"handlers:{own.tag}"], timeout=PATIENCE)
    assert handler is not None
    # The hit's handler stands still, in the worker's main process.
    pid, is_main_thread = handler[1].decode().split()
    assert (int(pid), is_main_thread) == (worker.main_pid, "False")
    assert own.task("plain.add").delay(own.tag, 1, 2).get(timeout=PATIENCE) == 3
    assert own.app.control.ping([worker.hostname], timeout=PATIENCE, limit=1)
    own.task("consumer.add").cache.set(5, own.tag, 5)
    own.task("consumer.add").delay(own.tag, 5).forget()
    own.counts.rpush(f"go-on:{own.tag}", "now")
    assert result.get(timeout=PATIENCE) == own.tag
    assert own.runs("audited", own.tag) == 0


@pytest.mark.parametrize("end", ["warm", "soft", "cold"])
def test_f4_a_worker_that_ends_hands_back_what_it_looks_up(
    own: Harness, own_worker: Any, way: Proxy, start: Callable[..., Any], end: str
) -> None:
    soft = {"worker_soft_shutdown_timeout": 1.0} if end == "soft" else {}
    first = start(taskcache_timeout=1.0, **soft)
    warm_up(own)
    way.freeze()
    # Enough that the first look, and the circuit that opens then, doesn't decide for all.
    results = ask(own, "consumer.add", range(20))
    os.kill(first.main_pid, signal.SIGTERM if end == "warm" else signal.SIGQUIT)
    wait_until(lambda: not first.running, timeout=PATIENCE, what="the worker's end")
    if end == "warm":
        assert first.exit_code == 0, first.log
    way.thaw()
    own_worker(own, concurrency=2)
    assert get(results) == list(range(20))
    assert all(own.runs("add", own.tag, number, 0) == 1 for number in range(20))
    assert own.server.client(0).hlen("unacked") == 0


def test_f4_a_lost_connection_completes_no_hit_twice(own: Harness, own_worker: Any) -> None:
    """What isn't harmless twice was acknowledged before: its callbacks are sent once."""
    with Proxy(own.server.port) as broker:
        task = own.task("audited")
        task.cache.set(own.tag, own.tag)
        # Sent before the worker comes: a hit that is found late goes to the pool.
        results = [task.apply_async((own.tag,), link=own.task("note").s(own.tag)) for _ in range(5)]
        own_worker(own, broker=broker.url(0), concurrency=2)
        wait_until(lambda: is_idle(own), timeout=PATIENCE, what="all to be handed over")
        broker.cut()
        own.counts.rpush(f"go-on:{own.tag}", *range(5))
        assert get(results) == [own.tag] * 5
        wait_until(
            lambda: own.counts.llen(f"notes:{own.tag}") >= 5,
            timeout=PATIENCE,
            what="the callbacks",
        )
        get([own.task("plain.add").delay(own.tag, number) for number in range(8)])
    assert own.counts.llen(f"notes:{own.tag}") == 5
    assert own.runs("audited", own.tag) == 0
