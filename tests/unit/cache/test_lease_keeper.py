"""The leases that a process holds: renewed in time, ended for certain, never for ever (C3, F3)."""

import gc
import os
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

from tests.support.waiting import wait_until
from tests.unit.cache.leasing import ByHand, Leasing, Server, running
from tta_taskcache.cache.engine.new_entry import MAX_RUN
from tta_taskcache.cache.leases.held_leases import RENEWALS, RETRY
from tta_taskcache.cache.leases.lease_keeper import LeaseKeeper
from tta_taskcache.core.entries.lease import Holding, Stage
from tta_taskcache.core.events import Event, Fault
from tta_taskcache.testing import FakeClock

TTL = 9.0
EVERY = TTL / RENEWALS


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def server(clock: FakeClock) -> Server:
    return Server(clock)


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def leases(clock: FakeClock, server: Server, events: list[Event]) -> ByHand:
    return ByHand(Leasing(server.renew, server.release), TTL, events.append, clock)


def test_c3_is_renewed_before_it_lapses(leases: ByHand, server: Server, clock: FakeClock) -> None:
    start = clock()
    leases.hold("k", "a", running, renew_in=EVERY)
    leases.work_due()
    assert server.renewed == [], "not due"
    leases.run_until(clock, start + 10 * TTL)
    times = [start, *(at for at, _ in server.renewed)]
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert max(gaps) <= TTL / 2, "one renewal may fail"
    assert len(times) > 20
    assert {holdings for _, holdings in server.renewed} == {(Holding("k", "a", Stage.RUNNING),)}


def test_c3_all_that_are_due_are_renewed_at_once(
    leases: ByHand, server: Server, clock: FakeClock
) -> None:
    for i in range(20):
        leases.hold(f"k{i}", f"o{i}", running, renew_in=i / 10)
    leases.hold("later", "later", running, renew_in=TTL)
    clock.advance(2.0)
    leases.work_due()
    assert server.asked == 1
    assert server.owners() == [f"o{i}" for i in range(20)]


def test_c3_says_how_far_it_is_each_time(leases: ByHand, server: Server, clock: FakeClock) -> None:
    stages = [Stage.QUEUED, Stage.QUEUED, Stage.RUNNING]
    leases.hold("k", "a", lambda: stages.pop(0) if stages else None, renew_in=0.0)
    leases.run_until(clock, clock() + 3 * EVERY)
    assert [holdings[0].stage for _, holdings in server.renewed] == [
        Stage.QUEUED,
        Stage.QUEUED,
        Stage.RUNNING,
    ]


def test_c3_what_was_lost_is_dropped(leases: ByHand, server: Server, clock: FakeClock) -> None:
    for owner in ("a", "b", "c"):
        leases.hold(f"k{owner}", owner, running, renew_in=0.0)
    server.lost.add("b")
    leases.work_due()
    clock.advance(EVERY)
    leases.work_due()
    assert server.owners() == ["a", "c"]


def test_c3_what_makes_no_progress_is_ended(
    leases: ByHand, server: Server, clock: FakeClock
) -> None:
    leases.hold("k", "a", lambda: None, renew_in=0.0)
    leases.hold("l", "b", running, renew_in=0.0)
    for _ in range(2):
        leases.work_due()
        clock.advance(EVERY)
    assert [[h.owner for h in holdings] for _, holdings in server.renewed] == [["b"], ["b"]]
    assert server.released == [("k", "a")], "others needn't wait until it lapses"


def test_c3_what_was_let_go_of_is_not_renewed(
    leases: ByHand, server: Server, clock: FakeClock
) -> None:
    leases.hold("k", "a", running, renew_in=0.0)
    leases.let_go("a")
    leases.let_go("nobody")
    leases.work_due()
    clock.advance(TTL)
    leases.work_due()
    assert server.asked == 0


def test_c3_a_renewal_that_failed_is_tried_again(
    leases: ByHand, server: Server, clock: FakeClock, events: list[Event]
) -> None:
    leases.hold("k", "a", running, renew_in=0.0)
    server.down = True
    leases.work_due()
    server.down = False
    clock.advance(EVERY)
    leases.work_due()
    assert server.owners() == ["a"]
    assert events == []


def test_f1_one_that_cant_tell_costs_the_others_nothing(
    leases: ByHand, server: Server, clock: FakeClock, events: list[Event]
) -> None:
    def broken() -> Stage:
        raise RuntimeError("its pool is gone")

    leases.hold("k", "a", broken, renew_in=0.0)
    leases.hold("l", "b", running, renew_in=0.0)
    leases.work_due()
    clock.advance(EVERY)
    leases.work_due()
    assert [len(holdings) for _, holdings in server.renewed] == [1, 1]
    assert server.owners() == ["b"]
    assert [type(event) for event in events] == [Fault]


def test_c3_nothing_is_renewed_for_longer_than_a_result_could_be_stored(
    leases: ByHand, server: Server, clock: FakeClock
) -> None:
    leases.hold("k", "a", running, renew_in=0.0)
    clock.advance(MAX_RUN - 1)
    leases.work_due()
    assert len(server.renewed) == 1
    clock.advance(EVERY)
    leases.work_due()
    clock.advance(EVERY)
    leases.work_due()
    assert len(server.renewed) == 1


# Ending


def test_c3_ends_at_once_and_once(leases: ByHand, server: Server, clock: FakeClock) -> None:
    leases.hold("k", "a", running, renew_in=0.0)
    leases.end("k", "a")
    leases.run_until(clock, clock() + 3 * TTL)
    assert server.released == [("k", "a")]
    assert server.renewed == []


def test_c3_ends_once_the_store_is_back(leases: ByHand, server: Server, clock: FakeClock) -> None:
    server.down = True
    leases.end("k", "a")
    start = clock()
    leases.run_until(clock, start + TTL / 2)
    assert 5 <= server.asked <= 0.5 / RETRY + 1, "tried often, and not without a rest"
    assert server.released == []
    server.down = False
    leases.run_until(clock, start + TTL)
    assert server.released == [("k", "a")]


def test_c3_gives_up_when_it_has_lapsed(leases: ByHand, server: Server, clock: FakeClock) -> None:
    server.down = True
    leases.end("k", "a")
    start = clock()
    leases.run_until(clock, start + TTL + EVERY)
    asked, server.down = server.asked, False
    leases.run_until(clock, start + 5 * TTL)
    assert (server.asked, server.released) == (asked, [])


def test_c3_what_is_ended_while_it_is_renewed_is_ended_all_the_same(
    clock: FakeClock, server: Server, events: list[Event]
) -> None:
    """The renewal says that it is lost, because the one who computed has just ended it."""

    def renew(holdings: tuple[Holding, ...]) -> list[bool]:
        leases.end("k", "a")
        server.lost.add("a")
        return server.renew(holdings)

    leases = ByHand(Leasing(renew, server.release), TTL, events.append, clock)
    leases.hold("k", "a", running, renew_in=0.0)
    leases.work_due()
    leases.work_due()
    assert server.released == [("k", "a")]


def test_c3_renewals_come_before_endings(leases: ByHand, clock: FakeClock) -> None:
    """To end one may take as long as a timeout; the others mustn't lapse meanwhile."""
    done: list[str] = []
    leases._store = Leasing(
        lambda holdings: done.append("renew") or [True for _ in holdings],  # type: ignore[func-returns-value]
        lambda *_: done.append("release"),
    )
    leases.end("k", "a")
    leases.hold("l", "b", running, renew_in=0.0)
    leases.work_due()
    assert done == ["renew", "release"]


# The thread


@pytest.fixture
def real(server: Server, events: list[Event]) -> LeaseKeeper:
    return LeaseKeeper(Leasing(server.renew, server.release), 0.06, events.append)


def test_c3_a_thread_does_it(real: LeaseKeeper, server: Server) -> None:
    real.hold("k", "a", running, renew_in=60.0)
    real.hold("l", "b", running, renew_in=0.0)
    wait_until(lambda: len(server.renewed) >= 3)
    assert server.owners() == ["b"], "woken up for what is due earlier"
    real.end("m", "c")
    wait_until(lambda: server.released == [("m", "c")])
    real.let_go("a")
    real.let_go("b")


def test_f1_the_thread_survives_whatever_happens(server: Server, events: list[Event]) -> None:
    def broken(_: tuple[Holding, ...]) -> list[bool]:
        raise ValueError("a bug")

    leases = LeaseKeeper(Leasing(broken, server.release), 0.06, events.append)
    leases.hold("k", "a", running, renew_in=0.0)
    wait_until(lambda: len(events) >= 2)
    leases.end("l", "b")
    wait_until(lambda: server.released == [("l", "b")])
    leases.let_go("a")


def test_f1_a_process_without_threads_goes_on(
    leases: ByHand, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("_thread.start_new_thread", none_left)
    leases.hold("k", "a", running, renew_in=0.0)
    leases.work_due()
    assert server.owners() == ["a"]


def in_child(act: Callable[[], object]) -> int:
    """The exit code of a forked child in which this holds: 0 for true."""
    pid = os.fork()
    if pid == 0:
        code = 2
        try:
            code = 0 if act() else 1
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_f3_a_forked_child_forgets_what_its_parent_holds(
    leases: ByHand, server: Server, clock: FakeClock
) -> None:
    leases.hold("k", "a", running, renew_in=0.0)
    leases.end("l", "b")

    def forgotten() -> bool:
        clock.advance(TTL)
        leases.work_due()
        leases.hold("m", "c", running, renew_in=0.0)
        leases.work_due()
        return server.asked == 1 and server.owners() == ["c"]

    assert in_child(forgotten) == 0
    leases.work_due()
    assert (server.owners(), server.released) == (["a"], [("l", "b")]), "the parent goes on"


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_f3_a_forked_child_has_a_thread_of_its_own(real: LeaseKeeper, server: Server) -> None:
    real.hold("k", "a", running, renew_in=0.0)
    wait_until(lambda: bool(server.renewed))

    def renews() -> bool:
        server.renewed.clear()
        real.hold("l", "b", running, renew_in=0.0)
        wait_until(lambda: len(server.renewed) >= 2)
        return all(len(holdings) == 1 for _, holdings in server.renewed) and (
            server.owners() == ["b"]
        )

    assert in_child(renews) == 0
    real.let_go("a")


def test_f3_threads_hold_and_let_go_at_once(real: LeaseKeeper, server: Server) -> None:
    def work(i: int) -> None:
        for n in range(100):
            owner = f"{i}-{n}"
            real.hold(f"k{owner}", owner, running, renew_in=0.0)
            (real.let_go if n % 2 else lambda o: real.end(f"k{o}", o))(owner)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: len(server.released) == 200 and not real._held)
    gc.collect()
    expected = {(f"k{i}-{n}", f"{i}-{n}") for i in range(4) for n in range(0, 100, 2)}
    assert set(server.released) == expected


def test_c6_word_that_equal_calls_arent_to_wait_is_handed_on(clock: FakeClock) -> None:
    told: list[tuple[str, str, float]] = []
    leases = ByHand(Leasing(lambda _: [], lambda *ended: told.append(ended)), TTL, print, clock)
    leases.hold("k", "a", running, renew_in=TTL)
    leases.end("k", "a", 5.0)
    leases.work_due()
    assert told == [("k", "a", 5.0)]


def test_c8_what_begins_to_run_is_told_at_once(
    leases: ByHand, server: Server, clock: FakeClock
) -> None:
    leases.hold("k", "a", running, renew_in=TTL)
    assert leases.holds("k")
    assert not leases.holds("m")
    leases.renew_now("a")
    leases.renew_now("b")
    assert leases.pause() == 0.0
    leases.work_due()
    assert server.owners() == ["a"]
