"""Followers in one process: one looks for all; and what a busy machine notices late (C1, C3)."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.unit.cache.test_single_flight import CALL, TTL, Caller, claims, next_pause, owned
from tta_taskcache.cache.leases.single_flight import (
    FIRST_PAUSE,
    LATE,
    MOST_LATE,
    UNWATCHED,
    WAKEUP_PAUSE,
)
from tta_taskcache.cache.outcome import Hit, Miss
from tta_taskcache.cache.plan import Pause, Plan
from tta_taskcache.core.entries.lease import Claim, Stage
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import Command, Look, Reply, Store
from tta_taskcache.testing import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Store:
    return MemoryStore(100, 1_000_000, clock)


@pytest.fixture
def leader(store: Store, clock: FakeClock) -> Caller:
    return Caller(store, clock)


@pytest.fixture
def here(store: Store, clock: FakeClock) -> Caller:
    return Caller(store, clock)


def test_c1_of_those_that_follow_a_leader_here_one_looks(
    here: Caller, leader: Caller, store: Store
) -> None:
    found = leader.find_or_refresh("leader")
    wakeup = here.single_flight.begin("t:k")

    def follow(owner: str, patience: float) -> Plan[Hit | Miss]:
        claim = Claim(owner=owner, stage=Stage.RUNNING, ttl=TTL)
        return here.single_flight.lead_or_follow(
            here.engine, CALL, "direct", claim, patience=patience
        )

    watcher, second, third = follow("a", 60.0), follow("b", 60.0), follow("c", 10.0)
    assert next_pause(watcher, store) == Pause(WAKEUP_PAUSE, wakeup)
    assert next_pause(second, store) == Pause(UNWATCHED, wakeup)
    assert next_pause(third, store) == Pause(10.0, wakeup), "C7: no longer than it may wait"
    leader.fill(found, "leader")  # and doesn't ring
    with pytest.raises(StopIteration):
        next_pause(watcher, store)
    assert wakeup.is_over
    wakeup.wait(60.0)  # at once: the watcher has rung
    with pytest.raises(StopIteration):
        next_pause(second, store)


def test_c1_a_leader_whose_followers_were_woken_early_is_polled(
    here: Caller, leader: Caller, store: Store
) -> None:
    leader.find_or_refresh("leader")
    here.single_flight.begin("t:k").wake()
    claim = Claim(owner="a", stage=Stage.RUNNING, ttl=TTL)
    follower = here.single_flight.lead_or_follow(here.engine, CALL, "direct", claim)
    assert next_pause(follower, store) == Pause(FIRST_PAUSE)


# Late replies


@dataclass
class Late:
    """A store whose first replies to looks come late; meanwhile something may happen."""

    store: Store
    clock: FakeClock
    late: int
    meanwhile: Callable[[], object] = lambda: None
    looks: int = 0
    name = "late"

    def execute(self, command: Command) -> Reply:
        reply = self.store.execute(command)
        if isinstance(command, Look):
            self.looks += 1
            if self.looks <= self.late:
                self.clock.advance(LATE * TTL)
                self.meanwhile()
        return reply


@pytest.mark.parametrize(("late", "looks"), [(0, 1), (1, 2), (2, 3), (100, 1 + MOST_LATE)])
def test_c1_a_lease_that_is_noticed_late_is_claimed_again(
    here: Caller, store: Store, clock: FakeClock, late: int, looks: int
) -> None:
    here.store = busy = Late(store, clock, late)
    assert owned(here.find_or_refresh()) == "me"
    assert busy.looks == looks


def test_c1_who_notices_a_lease_when_another_leads_follows(
    here: Caller, leader: Caller, store: Store, clock: FakeClock
) -> None:
    led: list[Hit | Miss] = []

    def lapse() -> None:
        clock.advance(TTL)
        led.append(claims(leader, Stage.RUNNING))

    here.store = Late(store, clock, 1, lapse)
    here.meanwhile = [lambda: leader.fill(led[0], "leader")]
    assert isinstance(here.find_or_refresh(), Hit)
