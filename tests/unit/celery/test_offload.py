"""F4: jobs leave the worker's event loop, and what comes of them comes back to it."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from kombu import asynchronous
from kombu.asynchronous import Hub

from tests.support.waiting import wait_until
from tta_taskcache.celery.worker.offload.batches import BatchThread
from tta_taskcache.celery.worker.offload.fork_gate import ForkGate
from tta_taskcache.celery.worker.offload.loop_posts import LoopPosts


class SleepyHub(Hub):
    """A loop as of kombu before 5.7, which another thread's ``call_soon`` doesn't wake up."""

    _create_waker = property()  # hasattr() says no

    def __init__(self) -> None:
        super().__init__()
        if hasattr(asynchronous.hub, "_Waker"):  # else it is one of before 5.7
            self._waker = asynchronous.hub._Waker()  # nobody listens to it


@contextmanager
def running(hub: Hub) -> Iterator[None]:
    """Run a loop in a thread."""
    ends = threading.Event()
    reader, writer = os.pipe()
    hub.add_reader(reader, os.read, reader, 1)  # it polls, and doesn't just sleep

    def run() -> None:
        while not ends.is_set():
            hub.run_once()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ends.set()
        os.write(writer, b"!")
        thread.join()
        os.close(reader)
        os.close(writer)


def loop_posts(hub: Hub, failed: list[Exception]) -> LoopPosts:
    posts = LoopPosts(SimpleNamespace(hub=hub, pool=None), failed.append)
    posts.start()
    return posts


@pytest.mark.parametrize("kind", [Hub, SleepyHub])
def test_f4_a_sleeping_loop_is_woken_up(kind: type[Hub]) -> None:
    hub, failed, done = kind(), [], []
    hub.call_later(3_600, lambda: None)  # with nothing to do before, it sleeps for ten seconds
    with running(hub):
        posts = loop_posts(hub, failed)
        for number in range(3):
            posts.post(lambda number=number: done.append(number))
            wait_until(lambda seen=number: len(done) > seen, timeout=5, what="the step")
    assert done == [0, 1, 2]


def test_f4_steps_are_done_in_the_loop_in_order_whatever_one_raises() -> None:
    hub, failed, done = Hub(), [], []
    with running(hub):
        posts = loop_posts(hub, failed)
        posts.post(lambda: done.append(threading.current_thread()))
        posts.post(lambda: done.append(1 / 0))  # type: ignore[arg-type]
        for number in range(100):
            posts.post(lambda number=number: done.append(number))
        wait_until(lambda: len(done) == 101, what="the steps")
    assert done[0] is not threading.current_thread()
    assert done[1:] == list(range(100))
    assert [type(error) for error in failed] == [ZeroDivisionError]


def test_f4_jobs_that_arrive_during_a_batch_are_the_next_one() -> None:
    batches: list[list[int]] = []
    may_go_on = threading.Event()

    def work(jobs: list[int]) -> None:
        batches.append(jobs)
        may_go_on.wait(10)

    thread = BatchThread("jobs", work)
    thread.put(0)
    wait_until(lambda: bool(batches), what="the first batch")
    for number in range(1, 20):
        thread.put(number)
    assert not thread.settle(0)
    may_go_on.set()
    assert thread.settle(10)
    assert batches == [[0], list(range(1, 20))]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_f3_a_fork_waits_for_what_a_thread_does() -> None:
    """A lock that the thread holds meanwhile would stay locked in the child for ever."""
    users_lock, begun = threading.Lock(), threading.Event()

    def work(jobs: list[int]) -> None:
        for _ in jobs:
            thread.give_way()
            with users_lock:
                begun.set()
                threading.Event().wait(0.002)

    thread = BatchThread("jobs", work)
    for number in range(2_000):
        thread.put(number)
    begun.wait(10)
    for _ in range(100):
        if (pid := os.fork()) == 0:
            os._exit(0 if users_lock.acquire(timeout=5) else 1)
        assert os.waitpid(pid, 0)[1] == 0
    assert not thread.settle(0), "it was at work all the time"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
def test_f3_a_fork_goes_on_while_a_gate_is_open_or_its_own() -> None:
    gate, opened, ends = ForkGate(), threading.Event(), threading.Event()

    def hold() -> None:
        with gate, gate.opened():
            opened.set()
            ends.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    opened.wait(10)
    own = ForkGate()
    with own:
        if (pid := os.fork()) == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
    ends.set()
    thread.join(10)
    assert not thread.is_alive()
