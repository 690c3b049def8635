"""Callers that compute: one leads, the others wait for it, and for nobody else (C1, C3, F1, F3)."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.support.waiting import wait_until
from tta_taskcache.cache.engine.engine import make_engine
from tta_taskcache.cache.engine.parts import Parts
from tta_taskcache.cache.leases.single_flight import (
    FIRST_PAUSE,
    MAX_PAUSE,
    PATIENCE,
    UNWATCHED,
    WAKEUP_PAUSE,
    LockWakeup,
    SingleFlight,
)
from tta_taskcache.cache.outcome import Call, Hit, Miss
from tta_taskcache.cache.plan import Pause, Plan, run
from tta_taskcache.core.entries.lease import Claim, Holding, Stage
from tta_taskcache.core.events import Coalesced, Event, Lookup
from tta_taskcache.core.options.policy import Policy
from tta_taskcache.core.results.codec import Codecs
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.observability.counters import Counters
from tta_taskcache.stores.memory.l1_cache import L1Cache
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import Look, Renew, Store
from tta_taskcache.testing import FakeClock, FaultyStore

CALL = Call("t", "t:k", Policy(ttl=60.0))
TTL = 5.0


@dataclass
class Caller:
    """A process that asks, in time that passes only while it waits."""

    store: Store
    clock: FakeClock
    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.single_flight = SingleFlight()
        self.engine = make_engine(
            Parts(
                l1=L1Cache(100, 1_000_000, 0.25),
                codecs=Codecs(),
                observe=self.events.append,
                counters=Counters(),
                clock=self.clock,
            )
        )

    def find_or_refresh(self, owner: str = "me") -> Hit | Miss:
        claim = Claim(owner=owner, stage=Stage.RUNNING, ttl=TTL)
        return self.drive(self.single_flight.lead_or_follow(self.engine, CALL, "direct", claim))

    def drive(self, plan: Plan[Hit | Miss]) -> Hit | Miss:
        """Like ``run``; after each pause, the next of ``meanwhile`` has happened."""

        def steps() -> Plan[Hit | Miss]:
            reply: Any = None
            error: StoreUnavailable | None = None
            try:
                while True:
                    step = plan.throw(error) if error is not None else plan.send(reply)
                    reply, error = None, None
                    if isinstance(step, Pause):
                        self.rest(step)
                        continue
                    try:
                        reply = yield step
                    except StoreUnavailable as raised:
                        error = raised
            except StopIteration as stop:
                result: Hit | Miss = stop.value
                return result

        return run(steps(), self.store)

    def rest(self, pause: Pause) -> None:
        assert len(self.pauses) < 1_000, "C3: it waits for ever"
        self.pauses.append(pause)
        self.clock.advance(pause.seconds)
        if self.meanwhile:
            self.meanwhile.pop(0)()

    def fill(self, found: Hit | Miss, owner: str) -> None:
        assert isinstance(found, Miss)
        filling = self.engine.writer.fill(
            CALL, found.position, "v", run_seconds=1.0, task_id=None, owner=owner
        )
        assert run(filling, self.store)

    def lookups(self) -> list[str]:
        return [e.reason or str(e.layer) for e in self.events if isinstance(e, Lookup)]


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


def owned(found: Hit | Miss) -> str:
    assert isinstance(found, Miss)
    return found.lease.owner if found.lease is not None else ""


def claims(caller: Caller, stage: Stage, owner: str = "leader", ttl: float = TTL) -> Hit | Miss:
    claim = Claim(owner=owner, stage=stage, ttl=ttl)
    found = run(caller.engine.reader.find(CALL, claim), caller.store)
    assert owned(found) == owner
    return found


def test_c1_where_nobody_leads_the_caller_does(here: Caller) -> None:
    assert owned(here.find_or_refresh()) == "me"
    assert here.pauses == []
    assert here.lookups() == ["absent"]


def test_c1_the_leaders_result_is_everybodys(
    leader: Caller, here: Caller, clock: FakeClock
) -> None:
    led = claims(leader, Stage.RUNNING)
    here.meanwhile = [lambda: None] * 2 + [lambda: leader.fill(led, "leader")]
    started = clock()
    found = here.find_or_refresh()
    assert isinstance(found, Hit)
    assert found.value == "v"
    assert here.lookups() == ["l2"], "one call is one look, however often it looked"
    assert here.events[0] == Coalesced("t", "t:k", "direct", clock() - started)
    assert len(here.pauses) == 3


def test_c1_a_leader_elsewhere_is_asked_ever_less_often(leader: Caller, here: Caller) -> None:
    led = claims(leader, Stage.RUNNING)
    here.meanwhile = [lambda: None] * 9 + [lambda: leader.fill(led, "leader")]
    here.find_or_refresh()
    seconds = [pause.seconds for pause in here.pauses]
    assert seconds[0] == FIRST_PAUSE
    assert seconds == sorted(seconds)
    assert seconds[-1] == MAX_PAUSE
    assert {pause.wakeup for pause in here.pauses} == {None}


def test_c1_when_the_leader_fails_the_next_leads(leader: Caller, here: Caller) -> None:
    claims(leader, Stage.RUNNING)
    here.meanwhile = [lambda: run(leader.engine.release("t:k", "leader"), leader.store)]
    assert owned(here.find_or_refresh()) == "me"
    assert len(here.pauses) == 1
    assert here.lookups() == ["absent"]
    assert not any(isinstance(event, Coalesced) for event in here.events)


def test_c3_when_the_leader_dies_the_next_leads_within_one_lease_time(
    leader: Caller, here: Caller, clock: FakeClock
) -> None:
    claims(leader, Stage.RUNNING)
    started = clock()
    assert owned(here.find_or_refresh()) == "me"
    assert TTL <= clock() - started <= TTL + MAX_PAUSE


def test_c1_a_leader_that_runs_and_is_renewed_is_waited_for(
    leader: Caller, here: Caller, clock: FakeClock
) -> None:
    led = claims(leader, Stage.RUNNING)
    holding = Holding("t:k", "leader", Stage.RUNNING)
    here.meanwhile = [lambda: leader.store.execute(Renew((holding,), TTL))] * 500
    here.meanwhile.append(lambda: leader.fill(led, "leader"))
    started = clock()
    assert isinstance(here.find_or_refresh(), Hit)
    assert clock() - started > 5 * TTL


def test_c3_one_whose_message_is_on_its_way_isnt_waited_for_for_long(
    leader: Caller, here: Caller, clock: FakeClock
) -> None:
    """It may wait behind this very caller."""
    claims(leader, Stage.RESERVED, ttl=100.0)
    started = clock()
    found = here.find_or_refresh()
    assert isinstance(found, Miss)
    assert (found.reason, owned(found)) == ("queued-elsewhere", "")
    assert found.position is not None, "it may store what it computes"
    assert PATIENCE <= clock() - started <= PATIENCE + MAX_PAUSE


def test_c8_one_that_waits_for_the_pool_is_taken_over_soon(
    leader: Caller, here: Caller, clock: FakeClock
) -> None:
    claims(leader, Stage.QUEUED, ttl=100.0)
    started = clock()
    found = here.find_or_refresh()
    assert isinstance(found, Miss)
    assert owned(found) == "me"
    assert PATIENCE <= clock() - started <= PATIENCE + MAX_PAUSE


def test_c7_waiting_has_an_end(leader: Caller, here: Caller, clock: FakeClock) -> None:
    claims(leader, Stage.RUNNING, ttl=100.0)
    started = clock()
    claim = Claim(owner="me", stage=Stage.RUNNING, ttl=TTL)
    found = here.drive(
        here.single_flight.lead_or_follow(here.engine, CALL, "direct", claim, patience=10.0)
    )
    assert isinstance(found, Miss)
    assert (found.reason, owned(found)) == ("waited-too-long", "")
    assert found.position is not None, "it may store what it computes"
    assert 10.0 <= clock() - started <= 10.0 + MAX_PAUSE


def test_c1_one_that_has_left_the_queue_is_waited_for(leader: Caller, here: Caller) -> None:
    led = claims(leader, Stage.QUEUED, ttl=100.0)
    running = Holding("t:k", "leader", Stage.RUNNING)
    here.meanwhile = [lambda: leader.store.execute(Renew((running,), 100.0)), *[lambda: None] * 100]
    here.meanwhile.append(lambda: leader.fill(led, "leader"))
    assert isinstance(here.find_or_refresh(), Hit)


def test_r1b_where_results_cant_be_shared_nobody_waits(leader: Caller, here: Caller) -> None:
    led = claims(leader, Stage.RUNNING)
    assert isinstance(led, Miss)
    run(
        leader.engine.writer.fill(
            CALL, led.position, {1, 2}, run_seconds=1.0, task_id=None, owner="leader"
        ),
        leader.store,
    )
    assert owned(here.find_or_refresh()) == ""
    assert here.pauses == []


@pytest.mark.parametrize("looks", [0, 3])
def test_f1_nobody_waits_for_a_store_that_is_gone(leader: Caller, here: Caller, looks: int) -> None:
    claims(leader, Stage.RUNNING)
    faulty = FaultyStore(here.store)
    here.store = faulty
    here.meanwhile = [lambda: None] * (looks - 1) + [lambda: faulty.fail(Look)]
    if not looks:
        faulty.fail(Look)
    assert here.find_or_refresh() == Miss("unavailable", None)
    assert len(here.pauses) == looks


# Bells


def test_c1_a_leader_in_this_process_rings(leader: Caller, here: Caller) -> None:
    led = claims(leader, Stage.RUNNING)
    wakeup = here.single_flight.begin("t:k")
    here.single_flight.begin("t:other")

    def ends() -> None:
        leader.fill(led, "leader")
        here.single_flight.end("t:k", wakeup)

    here.meanwhile = [ends]
    assert isinstance(here.find_or_refresh(), Hit)
    assert here.pauses == [Pause(WAKEUP_PAUSE, wakeup)]


def test_c1_the_end_of_one_flight_ends_no_other(here: Caller) -> None:
    first = here.single_flight.begin("t:k")
    second = here.single_flight.begin("t:k")
    here.single_flight.end("t:k", first)
    assert here.single_flight._wakeups == {"t:k": second}
    here.single_flight.end("t:k", second)
    here.single_flight.end("t:k", second)
    assert here.single_flight._wakeups == {}


def test_c3_a_bell_that_never_rings_isnt_waited_for() -> None:
    LockWakeup().wait(0.01)


def test_c1_a_bell_rings_for_all_who_wait_and_who_come_later() -> None:
    wakeup = LockWakeup()
    waiting: list[int] = []

    def wait(i: int) -> int:
        waiting.append(i)
        wakeup.wait(60.0)
        return i

    with ThreadPoolExecutor(8) as threads:
        waiters = [threads.submit(wait, i) for i in range(8)]
        wait_until(lambda: len(waiting) == 8)
        wakeup.wake()
        assert [waiter.result(10) for waiter in waiters] == list(range(8))
    wakeup.wait(60.0)
    wakeup.wake()
    wakeup.wait(60.0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_f3_a_forked_child_waits_for_no_thread_of_its_parent(here: Caller) -> None:
    wakeup = here.single_flight.begin("t:k")
    child = os.fork()
    if child == 0:
        os._exit(len(here.single_flight._wakeups))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert here.single_flight._wakeups == {"t:k": wakeup}


def next_pause(plan: Plan[Any], store: Store, reply: Any = None) -> Pause:
    """Drive a plan up to its next pause."""
    step = plan.send(reply)
    while not isinstance(step, Pause):
        step = plan.send(store.execute(step))
    return step


def test_c1_of_those_that_follow_a_leader_elsewhere_one_looks(
    here: Caller, leader: Caller, store: Store
) -> None:
    found = leader.find_or_refresh("leader")

    def follow(owner: str) -> Plan[Hit | Miss]:
        claim = Claim(owner=owner, stage=Stage.RUNNING, ttl=TTL)
        return here.single_flight.lead_or_follow(here.engine, CALL, "direct", claim)

    first, second, third = follow("a"), follow("b"), follow("c")
    assert next_pause(first, store) == Pause(FIRST_PAUSE)
    pauses = [next_pause(plan, store) for plan in (second, third)]
    assert [pause.seconds for pause in pauses] == [UNWATCHED] * 2
    assert pauses[0].wakeup is pauses[1].wakeup is not None
    first.close()  # it is cancelled: another looks
    assert next_pause(second, store) == Pause(FIRST_PAUSE)
    rung = next_pause(third, store).wakeup
    leader.fill(found, "leader")
    with pytest.raises(StopIteration) as ended:
        next_pause(second, store)
    assert isinstance(ended.value.value, Hit)
    assert isinstance(rung, LockWakeup)
    rung.wait(60.0)  # at once
    with pytest.raises(StopIteration):
        next_pause(third, store)
