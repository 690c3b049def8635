"""Counting (F2): nothing is lost, nothing is handed over twice."""

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from tta_taskcache.core.events import (
    CircuitChanged,
    Embedded,
    Fault,
    Filled,
    Invalidated,
    Lookup,
    NoResult,
    Ran,
)
from tta_taskcache.observability.counters import (
    FLUSH_INTERVAL,
    Counters,
    Stats,
    TaskStats,
    read_stats,
)

HIT = Lookup("t", "k", "pool", "l1", "", 1.5)


@pytest.fixture
def quick_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_f2_events_become_stats() -> None:
    counters = Counters()
    for event in [
        HIT,
        HIT,
        Lookup("t", "k", "producer", "l2", "", 0.5),
        Lookup("t", "k", "pool", None, "absent"),
        Lookup("a|b", None, "pool", None, "missing-context"),
        Ran("t", "k", 2.0, reason="absent"),
        NoResult("t", "k", "failed", 1.0, "absent"),
        Filled("t", "k", 10),
        Filled("t", "k", 0, "unserializable"),
        Invalidated(("m",), 1),
        Fault("t", "look", ValueError()),
        CircuitChanged(open=True),
    ]:
        counters(event)
    assert read_stats(counters.totals()) == Stats(
        tasks={
            "t": TaskStats(
                hits={"pool/l1": 2, "producer/l2": 1},
                misses={"pool/absent": 1},
                runs=1,
                run_reasons={"absent": 1},
                no_results={"failed": 1},
                fills={"stored": 1, "unserializable": 1},
                run_seconds=2.0,
                saved_seconds=3.5,
            ),
            "a|b": TaskStats(misses={"pool/missing-context": 1}),
        },
        invalidations=1,
        faults=1,
    )


def test_what_embedding_takes_counts_against_the_saving() -> None:
    counters = Counters()
    counters(Lookup("t", "k", "pool", "l2", "", 0.5, saved_cost=1.0, similarity=0.9, neighbour="n"))
    for texts in (1, 3):  # of the hit, and of misses
        counters(Embedded("t", texts, 0.4, 0.25))
    counters(Embedded("lost", 1, 2.0))
    tasks = read_stats(counters.totals()).tasks
    assert (tasks["t"].embed_seconds, tasks["t"].embed_cost) == pytest.approx((0.8, 1.0))
    assert (tasks["t"].saved_seconds, tasks["t"].saved_cost) == pytest.approx((-0.3, 0.0))
    assert tasks["lost"].saved_seconds == -2


def test_f2_takes_what_is_new_once_an_interval() -> None:
    counters = Counters()
    counters(HIT)
    now = 100.0
    assert counters.take(now) == {"hit|pool|l1|t": 1, "saved|seconds||t": 1.5}
    counters(HIT)
    assert counters.take(now + FLUSH_INTERVAL - 0.01) == {}
    assert counters.take(now + FLUSH_INTERVAL) == {"hit|pool|l1|t": 1, "saved|seconds||t": 1.5}
    assert counters.take(now + 2 * FLUSH_INTERVAL) == {}
    counters(HIT)
    assert counters.take(now + 2 * FLUSH_INTERVAL, interval=0.0)


def test_f2_what_could_not_be_delivered_is_taken_again() -> None:
    counters = Counters()
    counters(HIT)
    taken = counters.take(100.0)
    counters(HIT)
    counters.put_back(taken)
    assert counters.take(200.0) == {"hit|pool|l1|t": 2, "saved|seconds||t": 3.0}
    assert counters.totals()["hit|pool|l1|t"] == 2


def test_f2_threads_that_ended_still_count() -> None:
    counters = Counters()
    for _ in range(3):
        thread = threading.Thread(target=counters, args=(HIT,))
        thread.start()
        thread.join()
    assert counters.totals()["hit|pool|l1|t"] == 3


@pytest.mark.usefixtures("quick_switches")
@pytest.mark.parametrize("put_back", [False, True])
def test_f2_f3_threads_lose_nothing_and_hand_over_nothing_twice(*, put_back: bool) -> None:
    counters = Counters()
    taken: list[dict[str, float]] = []
    clock = iter(range(1, 10**9))

    def work(i: int) -> None:
        for n in range(1_000):
            counters(Lookup(f"t{n % 7}", "k", "pool", "l1", ""))
            counts = counters.take(next(clock) / 1e6, interval=0.0)
            if put_back and (n + i) % 3 == 0:
                counters.put_back(counts)
            else:
                taken.append(counts)

    threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    taken.append(counters.take(1e9, interval=0.0))
    sums: Counter[str] = Counter()
    for counts in taken:
        sums.update(counts)  # type: ignore[arg-type]
    hits = {name: amount for name, amount in sums.items() if name.startswith("hit")}
    assert sum(counters.totals()[name] for name in hits) == 8_000
    assert hits == {name: counters.totals()[name] for name in hits}


def test_f3_a_child_counts_for_itself() -> None:
    counters = Counters()
    counters(HIT)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            clean = counters.take(100.0) == {} and not counters.totals()
            counters(HIT)
            code = 0 if clean and counters.take(200.0)["hit|pool|l1|t"] == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert counters.take(100.0)["hit|pool|l1|t"] == 1
