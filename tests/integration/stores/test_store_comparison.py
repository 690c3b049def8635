"""Redis is compared with memory, by any sequence of commands."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.integration.stores.redis_stores import redis_store
from tests.support.servers import Server
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.entry import Position, pack
from tta_taskcache.core.entries.lease import Claim, Holding, Stage
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.stores.protocol import (
    Command,
    Count,
    Fill,
    Look,
    Poll,
    ReadBans,
    Record,
    Release,
    Renew,
    SetMarks,
)
from tta_taskcache.testing import make_entry
from tta_taskcache.testing.contract import (
    LONG,
    look,
    position,
    scan,
    sweep,
)

pytestmark = pytest.mark.every_server_kind


class Comparison(RuleBasedStateMachine):
    """The same commands to both stores bring the same replies, but for time."""

    server: Server
    keys = st.sampled_from(["t:a:0", "t:b:1", "u::2"])
    names = st.sampled_from(["*", "t:t", "t:u", "k:t:a:0", "k:u::2", "b:t:*", "b:*[02]", "b:?::2"])
    owners = st.sampled_from("abc")

    @initialize()
    def start(self) -> None:
        self.server.client().flushall()
        self.redis = redis_store(self.server)
        self.start_log()
        self.memory = MemoryStore(100, 1_000_000)
        #: Numbers of the model, by those of Redis.
        self.numbers = {0: 0}
        self.seen = [self.positions()]

    def start_log(self) -> None:
        """After a loss one look finds none, and the next opens a new one."""
        if look(self.redis).position is None:
            assert look(self.redis).position is not None

    def positions(self) -> tuple[Position, Position]:
        mine, model = position(self.redis), position(self.memory)
        self.numbers[mine.sequence] = model.sequence
        return mine, model

    def both(self, make: Callable[[int], Command]) -> tuple[Any, Any]:
        return self.redis.execute(make(0)), self.memory.execute(make(1))

    @rule(key=keys, names=st.lists(names, unique=True), data=st.data())
    def look(self, key: str, names: list[str], data: st.DataObject) -> None:
        since = data.draw(st.one_of(st.none(), st.sampled_from(self.seen)))
        # The store in memory always reads the marks that an entry names itself.
        mine, model = self.both(
            lambda i: Look(key, tuple(names), since[i] if since else None, own_marks=True)
        )
        assert (mine.remaining > 0) == (model.remaining > 0)
        self.compare(mine, model)

    @rule(data=st.data())
    def poll(self, data: st.DataObject) -> None:
        since = data.draw(st.sampled_from(self.seen))
        self.compare(*self.both(lambda i: Poll(since[i])))

    def compare(self, mine: Any, model: Any) -> None:
        assert self.numbers[mine.position.sequence] == model.position.sequence
        marks = {name: self.numbers[at] for name, at in mine.marks.items()}
        assert marks == model.marks
        records = mine.records
        if records is not None:
            records = [Record(self.numbers[r.sequence], r.marks) for r in records]
        assert records == model.records
        assert self.numbers[mine.banned] == model.banned
        frames = [looked.frame and looked.frame[-10:] for looked in (mine, model)]
        assert frames[0] == frames[1]

    @rule(key=keys, payload=st.binary(min_size=10, max_size=10), data=st.data())
    def fill(self, key: str, payload: bytes, data: st.DataObject) -> None:
        born = data.draw(st.sampled_from(self.seen))
        self.both(lambda i: Fill(key, self.frame(key, born[i], payload), LONG))

    @rule(
        key=keys,
        owner=owners,
        stage=st.sampled_from([Stage.RESERVED, Stage.QUEUED, Stage.RUNNING]),
        reservation=st.sampled_from(["", "a", "b"]),
        overtakes=st.sampled_from([0.0, 2 * LONG]),
        knows_bans=st.booleans(),
        regardless=st.booleans(),
        takes_queued=st.booleans(),
    )
    def claim(self, key: str, knows_bans: bool, **fields: Any) -> None:
        newest = [0, 0]
        if knows_bans:
            read: tuple[Any, Any] = self.both(lambda _: ReadBans())
            newest = [marks.banned_at(key, bans.bans) for bans in read]
        names = marks.of_call(key[0], key)
        mine, model = self.both(
            lambda i: Look(key, names, claim=Claim(ttl=LONG, newest_ban=newest[i], **fields))
        )
        self.compare(mine, model)
        assert (mine.lease.owner, mine.lease.stage) == (model.lease.owner, model.lease.stage)
        if mine.lease.position is not None:
            number = self.numbers[mine.lease.position.sequence]
            assert number == model.lease.position.sequence
        else:
            assert model.lease.position is None

    @rule(key=keys, owner=owners, stage=st.sampled_from(list(Stage)[:3]))
    def renew(self, key: str, owner: str, stage: Stage) -> None:
        mine, model = self.both(lambda _: Renew((Holding(key, owner, stage),), LONG))
        assert mine == model

    @rule(key=keys, owner=owners, unshared=st.sampled_from([0.0, LONG]))
    def release(self, key: str, owner: str, unshared: float) -> None:
        mine, model = self.both(lambda _: Release(key, owner, unshared))
        assert mine == model

    @rule(key=keys, owner=owners, data=st.data())
    def fill_as_owner(self, key: str, owner: str, data: st.DataObject) -> None:
        born = data.draw(st.sampled_from(self.seen))
        mine, model = self.both(
            lambda i: Fill(key, self.frame(key, born[i], b"0123456789"), LONG, owner=owner)
        )
        assert mine == model

    @rule(key=keys)
    def a_lease_lapses(self, key: str) -> None:
        self.server.client().delete(f"ns:l:{{{key}}}")
        self.memory._leases.end(key)

    @rule()
    def bans(self) -> None:
        mine, model = self.both(lambda _: ReadBans())
        assert self.numbers[mine.position.sequence] == model.position.sequence
        # Of those with one sequence, any may come first.
        bans = [replace(ban, sequence=self.numbers[ban.sequence]) for ban in mine.bans]
        assert set(bans) == set(model.bans)
        assert [ban.sequence for ban in bans] == [ban.sequence for ban in model.bans]

    @rule(count=st.sampled_from([1, 500]))
    def sweep(self, count: int) -> None:
        mine, model = (
            sum(batch.dropped for batch in batches)
            for batches in (sweep(self.redis, count), sweep(self.memory, count))
        )
        assert mine == model

    def frame(self, key: str, born: Position, payload: bytes) -> bytes:
        return pack(make_entry(key, born, payload, task=key[0]))

    @rule(key=keys, frame=st.binary(min_size=1, max_size=50))
    def garbage(self, key: str, frame: bytes) -> None:
        self.both(lambda _: Fill(key, frame, LONG))

    @rule(names=st.lists(names, min_size=1, unique=True), keys=st.lists(keys, max_size=2))
    def invalidate(self, names: list[str], keys: list[str]) -> None:
        mine, model = self.both(lambda _: SetMarks(tuple(names), tuple(keys)))
        assert mine.sequence > max(self.numbers)
        self.numbers[mine.sequence] = model.sequence
        self.seen.append((mine, model))

    @rule(pattern=st.sampled_from(["*", "t:*", "*:0", "?::2", "[tu]:*", "nothing"]))
    def scan(self, pattern: str) -> None:
        found = [
            {item.entry.key: replace(item.entry, born=None) for item in scan(store, pattern)}
            for store in (self.redis, self.memory)
        ]
        assert found[0] == found[1]

    @rule(amount=st.integers(0, 3), name=st.sampled_from("ab"))
    def count(self, amount: int, name: str) -> None:
        mine, model = self.both(lambda _: Count({name: amount}))
        assert mine == model

    @rule()
    def another_process(self) -> None:
        self.redis = redis_store(self.server)

    @rule(other=st.booleans())
    def flush(self, other: bool) -> None:
        """Redis loses all; the model starts with a new incarnation, which is as good."""
        self.server.client().flushall()
        if other:
            assert look(redis_store(self.server)).position is not None
        self.start_log()
        self.memory = MemoryStore(100, 1_000_000)
        self.seen = [*self.seen[-1:], self.positions()]


def test_i5_redis_does_what_memory_does(redis_server: Server) -> None:
    machine = type("Machine", (Comparison,), {"server": redis_server})
    run_state_machine_as_test(machine, settings=settings(max_examples=100, stateful_step_count=30))
