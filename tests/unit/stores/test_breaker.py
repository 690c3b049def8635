"""The circuit breaker (F1, F2): one failure opens it, one probe at a time tries it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tta_taskcache.core.events import CircuitChanged, Event
from tta_taskcache.errors import StoreRefused, StoreUnavailable
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import Count
from tta_taskcache.stores.wrappers.breaker import FIRST_PAUSE, MAX_PAUSE, Breaker, GuardedStore
from tta_taskcache.testing import FakeClock, FaultyStore


class Bench:
    def __init__(self, draw: float = 0.5) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.draw = draw
        self.breaker = Breaker(self.events.append, self.clock, lambda: self.draw)
        self.faulty = FaultyStore(MemoryStore(10, 1_000, self.clock), self.clock.advance)
        self.store = GuardedStore(self.faulty, self.breaker)

    def succeeds(self) -> bool:
        try:
            self.store.execute(Count())
        except StoreUnavailable:
            return False
        return True

    @property
    def tried(self) -> int:
        return len(self.faulty.commands)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_f1_one_failure_opens_it_and_nothing_is_tried_then(bench: Bench) -> None:
    bench.faulty.fail()
    assert not any(bench.succeeds() for _ in range(100))
    assert bench.tried == 1
    assert bench.breaker.is_open


def test_f1_a_dead_store_costs_one_timeout_not_one_a_call(bench: Bench) -> None:
    bench.faulty.fail()
    bench.faulty.delay(0.25)
    started = bench.clock.now
    for _ in range(100):
        bench.succeeds()
    assert bench.clock.now - started == 0.25


def test_f1_it_probes_after_the_pause_and_closes(bench: Bench) -> None:
    bench.faulty.fail(times=1)
    bench.succeeds()
    bench.clock.advance(FIRST_PAUSE - 0.001)
    assert not bench.succeeds()
    bench.clock.advance(0.001)
    assert bench.succeeds()
    assert not bench.breaker.is_open
    assert bench.succeeds()


def test_f1_pauses_double_up_to_the_maximum(bench: Bench) -> None:
    bench.faulty.fail()
    bench.succeeds()
    pauses = []
    for _ in range(7):
        before = bench.clock.now
        tried = bench.tried
        while bench.tried == tried:
            bench.clock.advance(0.25)
            bench.succeeds()
        pauses.append(bench.clock.now - before)
    assert pauses == [0.5, 1.0, 2.0, 4.0, MAX_PAUSE, MAX_PAUSE, MAX_PAUSE]


def test_f1_the_pause_starts_over_after_a_success(bench: Bench) -> None:
    bench.faulty.fail(times=4)
    for _ in range(5):
        bench.succeeds()
        bench.clock.advance(2 * MAX_PAUSE)
    bench.faulty.fail(times=1)
    assert not bench.succeeds()
    bench.clock.advance(FIRST_PAUSE)
    assert bench.succeeds()


@pytest.mark.parametrize(("draw", "pause"), [(0.0, 0.5), (0.25, 0.75), (0.999, 1.499)])
def test_f1_pauses_are_jittered(draw: float, pause: float) -> None:
    bench = Bench(draw)
    bench.faulty.fail(times=1)
    bench.succeeds()
    bench.clock.advance(FIRST_PAUSE * pause - 0.001)
    assert not bench.succeeds()
    bench.clock.advance(0.002)
    assert bench.succeeds()


def test_f1_calls_in_flight_when_it_opens_are_no_failed_probes(bench: Bench) -> None:
    for _ in range(8):
        assert bench.breaker.allows()
    for _ in range(8):
        bench.breaker.failed("timeout")
    bench.clock.advance(FIRST_PAUSE)
    assert bench.breaker.allows(), "eight threads ran into one fault, not into eight"


def test_f1_a_probe_that_never_reports_back_is_followed_by_another(bench: Bench) -> None:
    bench.breaker.failed("x")
    bench.clock.advance(FIRST_PAUSE)
    assert bench.breaker.allows()
    assert not bench.breaker.allows()
    bench.clock.advance(FIRST_PAUSE)
    assert bench.breaker.allows()


def test_f1_a_refusal_is_an_answer(bench: Bench) -> None:
    bench.faulty.fail(times=1, error=StoreRefused("out of memory"))
    with pytest.raises(StoreRefused):
        bench.store.execute(Count())
    assert not bench.breaker.is_open
    bench.breaker.failed("x")
    bench.clock.advance(FIRST_PAUSE)
    bench.faulty.fail(times=1, error=StoreRefused("out of memory"))
    with pytest.raises(StoreRefused):
        bench.store.execute(Count())
    assert not bench.breaker.is_open


def test_f1_other_errors_pass_and_count_for_nothing(bench: Bench) -> None:
    bench.faulty.fail(times=1, error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        bench.store.execute(Count())
    assert not bench.breaker.is_open
    assert bench.events == []


def test_f2_a_change_of_state_is_told_once(bench: Bench) -> None:
    bench.faulty.fail(times=3)
    for _ in range(6):
        bench.succeeds()
        bench.succeeds()
        bench.clock.advance(2 * MAX_PAUSE)
    cause = str(StoreUnavailable(f"{bench.faulty.name}: told to fail"))
    assert bench.events == [CircuitChanged(open=True, cause=cause), CircuitChanged(open=False)]


def test_f3_of_many_threads_one_probes(bench: Bench) -> None:
    with ThreadPoolExecutor(8) as pool:
        for _ in range(200):
            bench.breaker.failed("x")
            bench.clock.advance(2 * MAX_PAUSE)
            start = threading.Barrier(8)

            def ask(start: threading.Barrier = start) -> bool:
                start.wait(10)
                return bench.breaker.allows()

            answers = [future.result(10) for future in [pool.submit(ask) for _ in range(8)]]
            assert sum(answers) == 1


def test_f3_threads_open_and_close_it_at_random(bench: Bench) -> None:
    def work(i: int) -> None:
        for n in range(2_000):
            if bench.breaker.allows():
                if (n * 7 + i) % 5:
                    bench.breaker.succeeded()
                else:
                    bench.breaker.failed("x")
            bench.clock.now += 0.1

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, i) for i in range(8)]:
            future.result(30)
    bench.clock.advance(2 * MAX_PAUSE)
    assert bench.succeeds()
    assert not bench.breaker.is_open
