"""Processes on one Redis do what they like; what they read is checked (I1, I2, I5, C1, C3).

The model knows what the caches can't: everything that ever happened, in its order. ``make chaos``
lets it run for longer: ``CHAOS_EXAMPLES`` is the number of histories.
"""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.integration.engine.engine_model import (
    CHAOS_EXAMPLES,
    CONTROL,
    DELTA,
    KEYS,
    LONG,
    MARKS,
    POLICY,
    PROCESSES,
    STREAM,
    TAGS,
    TASKS,
    WHO,
    Ended,
    LeaderWatch,
    Process,
    Run,
    World,
)
from tests.support.servers import Server
from tta_taskcache.cache.engine.engine import make_engine
from tta_taskcache.cache.engine.parts import Parts
from tta_taskcache.cache.outcome import Call, Hit, Miss
from tta_taskcache.cache.plan import Plan, run
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.lease import Claim, Holding, Stage
from tta_taskcache.core.results.codec import Codecs
from tta_taskcache.observability.counters import Counters
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.memory.l1_cache import L1Cache
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.testing import FakeClock


class Processes(RuleBasedStateMachine):
    """Engines with memories of their own, on one Redis and one clock."""

    client: redis.Redis
    make_store: Callable[[], Any]
    drive: Callable[[Plan[Any], Any], Any]

    @initialize()
    def start(self) -> None:
        self.client.flushall()
        self.clock = FakeClock()
        self.world = World()
        self.runs: list[Run] = []
        self.serial = 0
        #: What a replica has of the log.
        self.replica: dict[str, bytes | None] = {}
        self.processes = [self.process() for _ in PROCESSES]

    def process(self) -> Process:
        engine = make_engine(
            Parts(
                l1=L1Cache(100, 1_000_000, DELTA),
                codecs=Codecs(),
                observe=lambda _: None,
                counters=Counters(),
                clock=self.clock,
                draw=lambda: 0.0,
            )
        )
        return Process(engine, self.make_store(), self.drive)

    def next(self) -> int:
        self.serial += 1
        return self.serial

    # Reading

    @rule(by=WHO, key=KEYS, tags=st.sampled_from(TAGS))
    def look(self, by: int, key: str, tags: tuple[str, ...]) -> None:
        call = Call(TASKS[key], key, POLICY, tags)
        self.check(by, call, self.processes[by].do(self.processes[by].engine.look(call, "pool")))

    @rule(by=WHO, key=KEYS)
    def look_and_begin(self, by: int, key: str) -> None:
        """Somebody computes without a lease, as without coalescing."""
        call = Call(TASKS[key], key, POLICY, ("x",))
        found = self.processes[by].do(self.processes[by].engine.look(call, "pool"))
        self.check(by, call, found)
        if isinstance(found, Miss):
            self.begin(by, call, found, "")

    @rule(
        by=WHO,
        key=KEYS,
        tags=st.sampled_from(TAGS),
        stage=st.sampled_from([Stage.RESERVED, Stage.QUEUED, Stage.RUNNING]),
        data=st.data(),
    )
    def look_and_claim(
        self, by: int, key: str, tags: tuple[str, ...], stage: Stage, data: st.DataObject
    ) -> None:
        call = Call(TASKS[key], key, POLICY, tags)
        known = [made.owner for made in self.runs if made.call.key == key and made.owner]
        # Somebody new; one who claims again; or one who comes for a reservation.
        owner = data.draw(st.sampled_from(["", "", "", *known]), "owner") or f"o{self.next()}"
        reservation = data.draw(st.sampled_from(["", *known]), "reservation")
        claim = Claim(owner=owner, stage=stage, ttl=LONG, reservation=reservation)
        leader = self.world.leader(call)
        found = self.processes[by].do(self.processes[by].engine.look(call, "pool", claim))
        self.check(by, call, found)
        if isinstance(found, Hit):
            self.check_lease_after_a_hit(call, leader)
            return
        lease = found.lease
        assert lease is not None, f"the claim got lost: {found}"
        if lease.is_ours:
            gives_way = leader is not None and (
                leader.owner == owner
                or (leader.stage is Stage.RESERVED and leader.owner == reservation)
            )
            assert leader is None or gives_way, f"C1: {leader} leads"
            self.world.leaders[key] = LeaderWatch(owner, len(self.world.history), stage)
            self.begin(by, call, found, owner)
        else:
            assert leader is not None, f"C3, I2: nobody leads whom {call} may follow: {lease}"
            assert leader.owner != owner
            assert lease.stage is leader.stage

    def check_lease_after_a_hit(self, call: Call, leader: LeaderWatch | None) -> None:
        """It is as before; or, of one that was outdated, it may have been taken and given back."""
        owner = self.client.hget(f"ns:l:{{{call.key}}}", "owner")
        before = self.world.leaders.get(call.key)
        if owner is None:
            assert leader is None, "C1: a hit took the lease from one who leads"
            self.world.leaders.pop(call.key, None)
        else:
            assert before is not None
            assert isinstance(owner, bytes)
            assert owner.decode() == before.owner

    def begin(self, by: int, call: Call, miss: Miss, owner: str) -> None:
        assert miss.position is not None
        began = len(self.world.history)
        self.runs.append(Run(by, call, miss.position, began, owner, self.next()))

    def check(self, by: int, call: Call, found: Hit | Miss) -> None:
        entry = self.world.entry(call.key)
        if isinstance(found, Miss):
            may_answer = entry is not None and not self.world.ends_for(call, entry)
            assert not may_answer, f"a valid entry isn't found: {found}"
            assert found.position is not None
            return
        made = self.world.stored.get(found.value)
        assert made is not None, f"C3: {found.value} was never stored"
        assert made.call.key == call.key
        ends = self.world.ends_for(call, made)
        if found.layer == "l1":
            now = self.clock()
            too_late = [e for e in ends if e.by == by or now - e.at > DELTA]
            assert not too_late, f"I1, I2, I5: {made} was ended by {too_late}"
        else:
            assert not ends, f"I1, I2, I5: {made} was ended by {ends}"
            assert made is entry

    @rule(by=WHO, tags=st.sampled_from(TAGS))
    def look_for_all(self, by: int, tags: tuple[str, ...]) -> None:
        for key in TASKS:
            self.look(by, key, tags)

    @rule(by=WHO, tags=st.sampled_from(TAGS))
    def compute_all_that_is_missing(self, by: int, tags: tuple[str, ...]) -> None:
        for key, task in TASKS.items():
            call = Call(task, key, POLICY, tags)
            found = self.processes[by].do(self.processes[by].engine.look(call, "pool"))
            self.check(by, call, found)
            if isinstance(found, Miss):
                self.begin(by, call, found, "")
                self.end(self.runs.pop())

    # Filling, and leases

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), again=st.booleans(), tags=st.sampled_from([None, *TAGS]))
    def fill(self, data: st.DataObject, again: bool, tags: tuple[str, ...] | None) -> None:
        """A run ends: at once or late, and perhaps twice, when its message was delivered twice."""
        made = self.runs[data.draw(st.integers(0, len(self.runs) - 1), "run")]
        if not again:
            self.runs.remove(made)
        if tags is not None:  # what it is stored under changed with the code
            call = Call(made.call.task, made.call.key, POLICY, tags)
            made = Run(made.by, call, made.position, made.began, made.owner, self.next())
        self.end(made)

    def end(self, made: Run) -> None:
        key, process = made.call.key, self.processes[made.by]
        leader = self.world.leaders.get(key)
        plan = process.engine.writer.fill(
            made.call,
            made.position,
            made.value,
            run_seconds=1.0,
            task_id="id",
            owner=made.owner,
        )
        is_stored = process.do(plan)
        is_leader = leader is not None and leader.owner == made.owner
        assert is_stored == (not made.owner or is_leader), f"C3: {leader} leads"
        if is_stored:
            self.world.entries[key] = self.world.stored[made.value] = made
            self.world.leaders.pop(key, None)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), stage=st.sampled_from([Stage.QUEUED, Stage.RUNNING]))
    def renew(self, data: st.DataObject, stage: Stage) -> None:
        made = data.draw(st.sampled_from(self.runs), "run")
        if not made.owner:
            return
        leader = self.world.leaders.get(made.call.key)
        process = self.processes[made.by]
        holding = Holding(made.call.key, made.owner, stage)
        is_leader = leader is not None and leader.owner == made.owner
        assert process.do(process.engine.renew((holding,), LONG)) == [is_leader], "C3"
        if leader is not None and is_leader:
            leader.stage = stage

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        """A run fails; it may fill later all the same, if it was given up for dead."""
        made = data.draw(st.sampled_from(self.runs), "run")
        if not made.owner:
            return
        process = self.processes[made.by]
        process.do(process.engine.release(made.call.key, made.owner))
        leader = self.world.leaders.get(made.call.key)
        if leader is not None and leader.owner == made.owner:
            del self.world.leaders[made.call.key]

    @rule(key=KEYS)
    def a_lease_lapses(self, key: str) -> None:
        self.client.delete(f"ns:l:{{{key}}}")
        self.world.leaders.pop(key, None)

    # Invalidating

    @rule(by=WHO, names=st.lists(st.sampled_from(MARKS), min_size=1, max_size=2, unique=True))
    def invalidate(self, by: int, names: list[str]) -> None:
        process = self.processes[by]
        process.do(process.engine.invalidate(tuple(names)))
        self.world.history.append(Ended(tuple(names), by, self.clock()))

    @rule(by=WHO, key=KEYS)
    def invalidate_a_key_and_drop_it(self, by: int, key: str) -> None:
        process = self.processes[by]
        process.do(process.engine.invalidate((marks.of_key(key),), (key,)))
        self.world.history.append(Ended((marks.of_key(key),), by, self.clock()))
        self.world.entries.pop(key, None)

    # What goes wrong

    @rule(flushed=st.booleans())
    def the_log_is_lost(self, flushed: bool) -> None:
        if flushed:
            self.redis_is_flushed()
        else:
            self.the_control_hash_is_lost()

    def redis_is_flushed(self) -> None:
        self.client.flushall()
        self.world.entries.clear()
        self.world.leaders.clear()
        self.the_log_is_gone()

    def the_control_hash_is_lost(self) -> None:
        self.client.delete(CONTROL)
        self.the_log_is_gone()

    def the_log_is_gone(self) -> None:
        self.world.history.append(Ended((), -1, self.clock()))

    @rule()
    def a_replica_is_in_step(self) -> None:
        self.replica = {name: self.client.dump(name) for name in (CONTROL, STREAM)}

    @precondition(lambda self: any(self.replica.values()))
    @rule(overtaken=st.integers(0, 4), name=st.sampled_from(MARKS))
    def a_failover_loses_the_tail_of_the_log(self, overtaken: int, name: str) -> None:
        """It is written to again by a process that knows nothing, before anybody looks."""
        for key, dumped in self.replica.items():
            self.client.delete(key)
            if dumped is not None:
                self.client.restore(key, 0, dumped)
        self.client.execute_command("REPLICAOF", "127.0.0.1", "1")
        self.client.execute_command("REPLICAOF", "NO", "ONE")
        self.client.client_kill_filter(_type="normal", skipme=True)
        self.the_log_is_gone()
        fresh = self.process()
        for _ in range(overtaken):
            fresh.do(fresh.engine.invalidate((name,)))
            self.world.history.append(Ended((name,), -1, self.clock()))

    @rule(kept=st.integers(0, 2))
    def the_stream_is_trimmed(self, kept: int) -> None:
        self.client.xtrim(STREAM, maxlen=kept, approximate=False)

    @rule(key=KEYS)
    def an_entry_is_evicted(self, key: str) -> None:
        self.client.delete(f"ns:e:{{{key}}}")
        self.world.entries.pop(key, None)

    @rule(by=WHO)
    def a_process_starts_anew(self, by: int) -> None:
        """Its memory is empty; what it computed goes on, as far as anybody knows."""
        self.processes[by] = self.process()

    @rule(seconds=st.sampled_from([0.1, DELTA, DELTA + 0.001, 1.0]))
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)


def run_machine(server: Server, make_store: Callable[[], Any], drive: Callable[..., Any]) -> None:
    fixed = {
        "client": server.client(),
        "make_store": staticmethod(make_store),
        "drive": staticmethod(drive),
    }
    run_state_machine_as_test(
        type("Machine", (Processes,), fixed),
        settings=settings(
            max_examples=CHAOS_EXAMPLES or 40,
            stateful_step_count=60 if CHAOS_EXAMPLES else 30,
            derandomize=not CHAOS_EXAMPLES,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture
def redis_server(server_factory: Callable[..., Server]) -> Server:
    """A server of the test's own: the shared worker wouldn't outlive a change of roles."""
    return server_factory()


def test_i1_i2_i5_c1_c3_whatever_processes_do(redis_server: Server) -> None:
    link = Link(redis_server.url(), 10.0)
    run_machine(redis_server, lambda: RedisStore(link, "ns"), run)
