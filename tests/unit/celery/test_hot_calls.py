"""Learning which keys are requested most: the sketch, and what a process notes of its traffic."""

import gc
import os
import random
import signal
import threading
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate
from typing import Any

import pytest
from billiard.exceptions import SoftTimeLimitExceeded
from celery import Celery
from hypothesis import given
from hypothesis import strategies as st

from tests.support.waiting import wait_until
from tta_taskcache import CachedTask, TaskCache, Warm
from tta_taskcache.celery.calls import hot_calls as learning
from tta_taskcache.celery.calls.identification import request_of_sender
from tta_taskcache.celery.config import hot_call_recorder
from tta_taskcache.celery.config.hot_call_recorder import HotCallRecorder
from tta_taskcache.core.space_saving import SpaceSaving
from tta_taskcache.stores.redis.warming_store import WarmingStore, capacity_for

Stream = list[str]
streams = st.lists(st.integers(0, 40).map(str), max_size=300)


def counted(stream: Stream, capacity: int) -> SpaceSaving:
    counts = SpaceSaving(capacity)
    for key in stream:
        counts.add(key)
    return counts


def check(counts: SpaceSaving, true: Counter[str], seen: int) -> None:
    """What Space-Saving promises of its counts."""
    top = counts.top(counts.capacity)
    assert len(top) == len(counts) <= counts.capacity
    for hot in top:
        assert hot.count - hot.error <= true[hot.key] <= hot.count
    missing = true.keys() - {hot.key for hot in top}
    assert all(true[key] <= seen / counts.capacity for key in missing)


@given(streams, st.integers(1, 30))
def test_counts_are_within_their_errors(stream: Stream, capacity: int) -> None:
    counts = counted(stream, capacity)
    check(counts, Counter(stream), len(stream))


@given(streams)
def test_with_room_for_all_it_is_exact(stream: Stream) -> None:
    top = counted(stream, 41).top(41)
    assert {hot.key: hot.count for hot in top} == Counter(stream)
    assert not any(hot.error for hot in top)
    assert [hot.count for hot in top] == sorted((hot.count for hot in top), reverse=True)


def test_a_newcomer_takes_over_the_smallest_counter() -> None:
    counts = counted(["a", "a", "b"], 2)
    assert counts.add("c") == "b"
    assert [(hot.key, hot.count, hot.error) for hot in counts.top(2)] == [("a", 2, 0), ("c", 2, 1)]


def test_a_capacity_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="capacity=0"):
        SpaceSaving(0)


def zipf(requests: int, unique: int, seed: int = 1) -> Iterator[str]:
    """Requests as a web shop gets them: popularity falls with rank."""
    weights = list(accumulate(1 / (rank + 1) ** 0.9 for rank in range(unique)))
    chance = random.Random(seed)
    return (str(key) for key in chance.choices(range(unique), cum_weights=weights, k=requests))


def test_the_top_of_a_long_stream_is_found_in_little_memory() -> None:
    stream = list(zipf(80_000, 20_000))
    true = {key for key, _ in Counter(stream).most_common(100)}
    gc.collect()
    tracemalloc.start()
    counts = counted(stream, capacity_for(100))
    used = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(true & {hot.key for hot in counts.top(100)}) >= 95
    assert used < 500_000  # bytes; with a counter for each key it is some 2 MB


# What a process notes.


class Noted:
    """An app with a task that learns, and what it hands over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.handed: list[tuple[str, list[Any]]] = []
        app = Celery(broker="memory://", set_as_current=False)
        self.cache = TaskCache(app, "redis://127.0.0.1:1/0")

        @app.task(base=CachedTask, shared=False, name="learns", cache_warm=Warm(every=60, hot=2))
        def learns(x: Any, y: int = 0) -> None: ...

        @app.task(base=CachedTask, shared=False, name="doesnt")
        def doesnt(x: Any) -> None: ...

        app.finalize()  # Celery's own tasks aren't safe for threads before that
        self.task, self.other = learns, doesnt

        def count_hot(_: WarmingStore, task: str, counted: list[Any], capacity: int) -> None:
            self.handed.append((task, counted))

        monkeypatch.setattr(WarmingStore, "count_hot", count_hot)

    def use(self, **seconds: float) -> None:
        """Record with other times than usual."""
        runtime = self.cache.runtime
        recorder = HotCallRecorder(runtime.warming_store, **seconds)
        self.cache._provider._built["runtime"] = replace(runtime, hot_calls=recorder)

    def record_hot_call(
        self,
        *args: Any,
        task: Any = None,
        mode: Any = "use",
        is_request: bool = True,
        **kwargs: Any,
    ) -> None:
        request = request_of_sender(
            task or self.task, args, kwargs, {}, mode, is_request=is_request, is_identified=True
        )
        learning.record_hot_call(request, request.identified())

    def flushed(self) -> dict[str, int]:
        """Counts of the calls that were handed over, by call."""
        self.cache.runtime.hot_calls.flush()
        totals: Counter[str] = Counter()
        for _, counted in self.handed:
            for _, count, call in counted:
                totals[call] += count
        self.handed.clear()
        return dict(totals)


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    return Noted(monkeypatch)


def test_requests_are_counted_by_call(noted: Noted) -> None:
    noted.record_hot_call(1)
    noted.record_hot_call(1)
    noted.record_hot_call(x=1, y=0)
    noted.record_hot_call("two")
    assert noted.flushed() == {
        '{"args": [1], "kwargs": {}}': 3,
        '{"args": ["two"], "kwargs": {}}': 1,
    }
    assert noted.flushed() == {}, "each is handed over once"


def test_what_is_not_traffic_is_not_counted(noted: Noted) -> None:
    noted.record_hot_call(1, mode="refresh")
    noted.record_hot_call(1, mode="revalidate")
    noted.record_hot_call(1, mode="bypass")
    noted.record_hot_call(1, task=noted.other)
    noted.record_hot_call(1, is_request=False)
    assert noted.flushed() == {}


@pytest.mark.parametrize(
    ("headers", "retries", "is_one"),
    [(None, 0, True), ({}, None, True), ({learning.WARM_HEADER: {}}, 0, False), ({}, 1, False)],
)
def test_what_is_a_request(headers: Any, retries: Any, is_one: bool) -> None:
    assert learning.is_request(headers, retries) is is_one


def test_what_is_large_or_no_json_is_not_kept(noted: Noted) -> None:
    noted.record_hot_call("x" * learning.MAX_CALL_BYTES)
    noted.record_hot_call(float("1"))
    assert noted.flushed() == {'{"args": [1.0], "kwargs": {}}': 1}


def test_arguments_are_kept_as_they_were(noted: Noted) -> None:
    numbers = [1, 2]
    noted.record_hot_call(numbers)
    numbers.append(3)
    assert noted.flushed() == {'{"args": [[1, 2]], "kwargs": {}}': 1}


def test_it_is_handed_over_when_it_is_time(noted: Noted) -> None:
    noted.use(flush_every=0.2)
    noted.record_hot_call(1)
    noted.record_hot_call(1)
    assert not noted.handed
    wait_until(lambda: noted.handed, what="the thread that hands over")
    assert [count for _, counted in noted.handed for _, count, _ in counted] == [2]
    assert noted.flushed() == {'{"args": [1], "kwargs": {}}': 2}, "nothing is left"


def test_a_fault_is_never_the_callers(noted: Noted, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(hot_call_recorder.HotCallTally, "add", fail)
    noted.record_hot_call(1)
    counts = noted.cache.runtime.engine.parts.counters.totals()
    assert any("fault" in name for name in counts)

    def strike(*_: Any) -> None:
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(hot_call_recorder.HotCallTally, "add", strike)
    with pytest.raises(SoftTimeLimitExceeded):
        noted.record_hot_call(1)


def test_f3_threads_count_no_more_than_there_was(noted: Noted) -> None:
    def many() -> None:
        for number in range(2_000):
            noted.record_hot_call(number % 500)

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = noted.flushed()
    assert 0 < len(counts) <= 500
    assert 0 < sum(counts.values()) <= 8_000


def test_f3_a_lock_that_a_time_limit_left_holds_nobody_up(noted: Noted) -> None:
    noted.use(locked_for=0.01)
    noted.record_hot_call(1)
    assert noted.cache.runtime.hot_calls._tallies["learns"]._lock.acquire(blocking=False)
    noted.record_hot_call(1)
    assert noted.flushed() == {}
    noted.record_hot_call(1)
    assert noted.flushed() == {'{"args": [1], "kwargs": {}}': 1}


def test_f3_a_forked_child_starts_anew(noted: Noted) -> None:
    """Even when another thread was just counting: its lock is never released in the child."""
    noted.record_hot_call(1)
    tally = noted.cache.runtime.hot_calls._tallies["learns"]
    assert tally._lock.acquire(blocking=False)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(10)
            noted.record_hot_call("child")
            os.write(write, repr(noted.flushed()).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as told:
        assert told.read() == repr({'{"args": ["child"], "kwargs": {}}': 1})
    tally._lock.release()
    assert noted.flushed() == {'{"args": [1], "kwargs": {}}': 1}
