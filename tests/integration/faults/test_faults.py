"""F1 to F3, R4: what goes wrong in the cache stays in the cache."""

import os
import pickle
import random
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from celery.exceptions import SoftTimeLimitExceeded

from tests.integration.harness import Harness
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import MISSING, StoreUnavailable
from tta_taskcache.stores.protocol import Command


@contextmanager
def counted(harness: Harness) -> Iterator[list[Command]]:
    """The commands that go past the breaker."""
    store = harness.cache.runtime.store.store
    execute, commands = store.execute, []

    def count(command: Command) -> Any:
        commands.append(command)
        return execute(command)

    store.execute = count
    yield commands
    del store.execute


@pytest.mark.parametrize("fault", ["kill", "pause"])
def test_f1_redis_dies_in_the_middle_of_500_calls(
    new_harness, server_factory, own_worker, fault: str
) -> None:
    caches = server_factory()
    harness = new_harness(server_factory(), caches.url(0), taskcache_timeout=0.25)
    own_worker(harness)
    task = harness.task("cached.add")
    answers = []

    def ask(numbers: range) -> None:
        pending = [(i % 50, task.delay(harness.tag, i % 50)) for i in numbers]
        answers.extend((x, result.get(timeout=60)) for x, result in pending)

    ask(range(200))
    assert harness.runs("add", harness.tag, 7, 0) in (1, 2, 3, 4), "equal calls in flight may run"
    caches.kill() if fault == "kill" else caches.pause()
    with counted(harness) as tried:
        # Not in L1, which may answer for a moment longer.
        assert task.cache.get(harness.tag, "what was never asked") is MISSING
        ask(range(200, 400))
    assert harness.cache.runtime.store.breaker.is_open
    assert len(tried) < 40, "but for some probes, the open circuit kept calls from trying"
    caches.restart() if fault == "kill" else caches.resume()
    ask(range(400, 500))
    assert len(answers) == 500
    assert all(x == answer for x, answer in answers)

    def is_answered() -> bool:
        result = task.delay(harness.tag, 7)
        assert result.get(timeout=20) == 7
        return result.cache_status.hit

    wait_until(is_answered, timeout=30, what="caching to resume")


def test_f2_each_change_of_state_is_logged_once(
    new_harness, redis_server: Server, server_factory, caplog: pytest.LogCaptureFixture
) -> None:
    caches = server_factory()
    harness = new_harness(redis_server, caches.url(0))
    task = harness.task("cached.add")
    task.cache.call(harness.tag, 1)
    caches.kill()
    for _ in range(20):
        assert task.cache.call(harness.tag, 2) == 2
    caches.restart()
    wait_until(lambda: task.cache.set(1, harness.tag, 3), timeout=20, what="the circuit to close")
    lines = [r.getMessage() for r in caplog.records if r.name == "tta_taskcache"]
    changes = [line for line in lines if "available" in line]
    assert len(changes) == 2
    assert "unavailable" in changes[0]
    assert f":{caches.port}" in changes[0]
    assert changes[1] == "cache available again"
    misses = harness.cache.stats().tasks["cached.add"].misses
    assert misses["direct/unavailable"] == 20


def test_i4_an_invalidation_that_is_not_acknowledged_raises(
    new_harness, redis_server: Server, server_factory
) -> None:
    caches = server_factory()
    harness = new_harness(redis_server, caches.url(0))
    caches.kill()
    with pytest.raises(StoreUnavailable, match=str(caches.port)):
        harness.cache.invalidate(task="cached.add")
    with pytest.raises(StoreUnavailable):
        harness.cache.clear()


def test_f1_a_redis_that_refuses_to_write_costs_nothing_but_the_cache(
    new_harness, redis_server: Server, server_factory, caplog: pytest.LogCaptureFixture
) -> None:
    caches = server_factory("--maxmemory", "1", "--maxmemory-policy", "noeviction")
    harness = new_harness(redis_server, caches.url(0))
    task = harness.task("cached.add")
    for _ in range(3):
        assert task.cache.call(harness.tag, 1) == 1
    assert harness.runs("add", harness.tag, 1, 0) == 3
    assert not harness.cache.runtime.store.breaker.is_open
    said = [r for r in caplog.records if "refuses to" in r.getMessage()]
    assert len(said) == len({r.getMessage() for r in said})
    assert 1 <= len(said) <= 2, "once a command"
    assert "memory" in said[0].getMessage()


def test_f1_a_hung_result_backend_does_not_stop_the_workers_loop(
    new_harness, server_factory, own_worker
) -> None:
    """A hit completed in the main process stores its result there."""
    server, results = server_factory(), server_factory()
    harness = new_harness(server, result_backend=results.url(1))
    harness.task("consumer.add").cache.set(1, harness.tag, 1)
    worker = own_worker(harness)
    results.pause()
    sender = new_harness(server, result_backend=None)
    sent = sender.app.send_task("consumer.add", (harness.tag, 1), ignore_result=False)
    wait_until(lambda: "consumer.add[" in worker.log, what="the message to arrive")

    def answers() -> bool:
        with sender.app.connection_for_write() as connection:
            ping = sender.app.control.ping
            return bool(ping([worker.hostname], timeout=0.5, connection=connection))

    wait_until(answers, timeout=30, what="the main process to answer")
    said = "hits go through the pool for a while"
    wait_until(lambda: said in worker.log, timeout=30, what="the completion to be given up")
    results.resume()
    assert harness.app.AsyncResult(sent.id).get(timeout=30) == 1
    assert harness.runs("add", harness.tag, 1, 0) == 0, "it is answered, in whichever process"


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (os.environ["BOMB"],))


@pytest.mark.parametrize("kind", ["garbage", "pickle", "cut", "another entry", "wrong type"])
def test_r4_what_is_written_over_an_entry_is_a_miss_and_never_executed(
    new_harness,
    harness: Harness,
    redis_server: Server,
    worker: Worker,
    tmp_path,
    monkeypatch,
    kind: str,
) -> None:
    task = harness.task("cached.add")
    other = new_harness(redis_server).task("cached.add")
    task.cache.set(1, harness.tag, 1)
    task.cache.set(2, harness.tag, 2)
    client = redis_server.client(2)
    name = f"taskcache:e:{{{task.cache.key(harness.tag, 1)}}}"
    frame = client.get(name)
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    written: dict[str, bytes] = {
        "garbage": os.urandom(300),
        "pickle": pickle.dumps(Bomb()),
        "cut": frame[:-3],
        "another entry": client.get(
            name.replace(task.cache.key(harness.tag, 1), task.cache.key(harness.tag, 2))
        ),
    }
    client.delete(name)
    if kind == "wrong type":
        client.lpush(name, "x")
    else:
        client.set(name, written[kind])
    result = other.delay(harness.tag, 1)
    assert not result.cache_status.hit
    assert result.get(timeout=20) == 1
    assert not (tmp_path / "exploded").exists()


def test_f3_a_child_of_a_process_that_uses_the_cache_can_use_it(harness: Harness) -> None:
    task = harness.task("cached.add")
    task.cache.set(1, harness.tag, 1)
    stop = threading.Event()

    def use() -> None:
        while not stop.is_set():
            task.cache.get(harness.tag, 1)
            task.cache.get(harness.tag, 2)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for i in range(20):
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                signal.alarm(20)
                good = all(task.cache.get(harness.tag, 1) == 1 for _ in range(20))
                good = good and task.cache.set(i, harness.tag, 100 + i)
                os._exit(0 if good else 1)
            assert os.waitpid(pid, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert [task.cache.get(harness.tag, 100 + i) for i in range(20)] == list(range(20))


def test_f3_threads(harness: Harness) -> None:
    task = harness.task("cached.add")
    wrong: list[Any] = []

    def use(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(300):
            x = draw.randrange(40)
            if task.cache.call(harness.tag, x) != x:
                wrong.append(x)
            if draw.random() < 0.05:
                task.cache.invalidate(harness.tag, x)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_f3_an_interrupted_read_never_leaves_its_reply_to_the_next_one(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interruptions strike between request and reply; each read still gets its own value."""
    # Some strike in a __del__, where Python can but report them.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    harness.cache.runtime.engine.parts.l1.entries.max_entries = 0  # each read goes to Redis
    task = harness.task("value")
    for which in range(40):
        task.cache.set(which, harness.tag, which)
    store = harness.cache.runtime.store
    engine = harness.cache.runtime.engine
    armed = False

    def strike(*_: Any) -> None:
        if armed:
            raise SoftTimeLimitExceeded

    before = signal.signal(signal.SIGALRM, strike)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0023)
    struck = read = 0
    try:
        while struck < 300 or read < 50:
            which = random.randrange(40)
            try:
                armed = True
                found = task.cache.get(harness.tag, which)
                armed = False
            except SoftTimeLimitExceeded:
                armed = False
                struck += 1
                continue
            read += 1
            assert found in (which, MISSING)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not store.breaker.is_open
    assert engine.parts.l1.position is not None
    assert task.cache.get(harness.tag, 7) == 7
