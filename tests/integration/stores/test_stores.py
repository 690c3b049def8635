"""Every store keeps the contract; Redis is compared with memory, and mistreated."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from tests.support.counting import commands, round_trips
from tests.support.servers import Server, take
from tests.support.topologies import ClusterServers, SentinelServers
from tests.support.waiting import wait_until
from tta_taskcache.core import marks
from tta_taskcache.core.entry import Position, pack
from tta_taskcache.core.lease import Claim, Holding, Stage
from tta_taskcache.errors import StoreRefused, StoreUnavailable
from tta_taskcache.stores import log_state as state_module
from tta_taskcache.stores import redis_store as redis_module
from tta_taskcache.stores.breaker import Breaker, GuardedStore
from tta_taskcache.stores.connection import Link
from tta_taskcache.stores.memory_store import MemoryStore
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
    Scan,
    SetMarks,
    Store,
)
from tta_taskcache.stores.redis_store import RedisStore
from tta_taskcache.testing import FakeClock, FaultyStore, StoreContract, make_entry
from tta_taskcache.testing.contract import (
    LONG,
    invalidate,
    look,
    poll,
    position,
    scan,
    sweep,
    totals,
)

CONTROL, STREAM = "ns:{log}:control", "ns:{log}:stream"


pytestmark = pytest.mark.every_server_kind


def redis_store(server: Server, namespace: str = "ns") -> RedisStore:
    return RedisStore(Link(server.url(), 10.0), namespace)


def guarded(store: Store) -> GuardedStore:
    return GuardedStore(store, Breaker(lambda _: None))


def waiting(client: redis.Redis) -> Callable[[float], None]:
    """Waits, by the clock of a server."""

    def now() -> float:
        seconds, micros = client.time()
        return float(seconds + micros / 1e6)

    def advance(seconds: float) -> None:
        end = now() + seconds
        wait_until(lambda: now() > end)

    return advance


def keep_log(client: redis.Redis) -> Callable[[], None]:
    """Keep the log; what is returned puts it back, on the server that it is on."""
    kept: dict[str, Any] = {name: client.dump(name) for name in (CONTROL, STREAM)}

    def put_back() -> None:
        for name, dumped in kept.items():
            client.restore(name, 0, dumped, replace=True)

    return put_back


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        return MemoryStore(10_000, 10_000_000, clock)


class TestGuardedMemoryStore(TestMemoryStore):
    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        return guarded(MemoryStore(10_000, 10_000_000, clock))


class TestFaultyMemoryStore(TestMemoryStore):
    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        return FaultyStore(MemoryStore(10_000, 10_000_000, clock))


class TestRedisStore(StoreContract):
    @pytest.fixture
    def store(self, redis_server: Server) -> Store:
        return redis_store(redis_server)

    @pytest.fixture
    def other(self, redis_server: Server) -> Store:
        return redis_store(redis_server)

    @pytest.fixture
    def advance(self, redis_server: Server) -> Callable[[float], None]:
        return waiting(redis_server.client())

    @pytest.fixture
    def rewind(self, redis_server: Server) -> Callable[[], Callable[[], None]]:
        return lambda: keep_log(redis_server.client())


class TestGuardedRedisStore(TestRedisStore):
    """With both wrappers."""

    @pytest.fixture
    def store(self, redis_server: Server) -> Store:
        return guarded(FaultyStore(redis_store(redis_server)))


@pytest.mark.one_server_kind
class TestClusterStore(StoreContract):
    @pytest.fixture
    def store(self, cluster_servers: ClusterServers) -> Store:
        return RedisStore(Link(cluster_servers.url, 10.0), "ns")

    @pytest.fixture
    def other(self, cluster_servers: ClusterServers) -> Store:
        return RedisStore(Link(cluster_servers.url, 10.0), "ns")

    @pytest.fixture
    def advance(self, cluster_servers: ClusterServers) -> Callable[[float], None]:
        return waiting(cluster_servers.primaries[0].client())


@pytest.mark.one_server_kind
class TestSentinelStore(StoreContract):
    @pytest.fixture
    def store(self, sentinel_servers: SentinelServers) -> Store:
        return RedisStore(Link(sentinel_servers.url, 10.0), "ns")

    @pytest.fixture
    def other(self, sentinel_servers: SentinelServers) -> Store:
        return RedisStore(Link(sentinel_servers.url, 10.0), "ns")

    @pytest.fixture
    def advance(self, sentinel_servers: SentinelServers) -> Callable[[float], None]:
        return waiting(sentinel_servers.master.client())


# Redis against memory


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
        mine, model = self.both(lambda i: Look(key, tuple(names), since[i] if since else None))
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
        self.memory._leases.pop(key, None)

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


# What only Redis has


@pytest.fixture
def store(redis_server: Server) -> Iterator[RedisStore]:
    store = redis_store(redis_server)
    assert look(store).position == position(store)
    yield store
    store.client.close()


@pytest.fixture
def client(redis_server: Server) -> redis.Redis:
    return redis_server.client()


HERE = Position("i", 0)


@pytest.mark.parametrize(
    "command",
    [
        Look("k", ("*", "t:t", "k:k")),
        Look("k", ("*", "t:t", "k:k"), HERE, {"a": 1, "b": 0.5}),
        Poll(HERE),
        Poll(HERE, {"a": 1}),
        Fill("k", b"x" * 1_000, 60.0, {"a": 1}),
        Fill("k", b"x", 1e6),
        SetMarks(("*", "t:t")),
        Count({"a": 1}),
        Count(),
    ],
    ids=lambda command: type(command).__name__,
)
def test_r3_one_round_trip_a_command(
    redis_server: Server, store: RedisStore, command: Command
) -> None:
    with round_trips(redis_server) as trips:
        store.execute(command)
    assert trips.count == 1


def test_r3_the_first_command_of_a_process_opens_the_log_on_the_way(redis_server: Server) -> None:
    store = redis_store(redis_server)
    store.client.ping()
    with round_trips(redis_server) as trips:
        assert look(store).position is not None
    assert trips.count == 1


def test_r3_a_look_is_cheap_for_the_server_too(redis_server: Server, store: RedisStore) -> None:
    with commands(redis_server) as calls:
        look(store, "k", "*", since=HERE)
    assert calls == {"pttl": 1, "hmget": 1, "xrange": 1, "get": 1}


def test_namespaces_do_not_meet(redis_server: Server, store: RedisStore) -> None:
    other = redis_store(redis_server, "other")
    store.execute(Fill("k", pack(make_entry("k", position(store))), LONG))
    invalidate(other, "*", keys=("k",))
    other.execute(Count({"a": 1}))
    assert look(store, "k", "*").frame is not None
    assert look(store, "k", "*").marks == {}
    assert (scan(other), totals(store)) == ([], {})
    assert len(scan(store)) == 1


def test_i5_a_trimmed_log_is_a_gap(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_module, "LOG_LENGTH", 10)
    before = position(store)
    for _ in range(400):
        after = invalidate(store, "m")
    assert store.client.xlen(STREAM) < 400, "it is bounded"
    looked = poll(store, before)
    assert (looked.position, looked.records) == (after, None)
    assert look(store, "k", "m").marks == {"m": after.sequence}, "the marks are not trimmed"
    latest = invalidate(store, "n")
    assert poll(store, after).records == [Record(latest.sequence, ("n",))]


def test_i5_a_lost_stream_is_a_gap(store: RedisStore, client: redis.Redis) -> None:
    before = position(store)
    after = invalidate(store, "m")
    client.delete(STREAM)
    assert poll(store, before).records is None
    assert poll(store, after).records is None
    last = invalidate(store, "m")
    assert (last.incarnation, last.sequence > after.sequence) == (after.incarnation, True)
    assert poll(store, before).records is None
    assert poll(store, last).records == []


def test_i5_a_flushed_redis_starts_a_new_incarnation(
    store: RedisStore, client: redis.Redis, redis_server: Server
) -> None:
    before = invalidate(store, "m")
    client.flushall()
    looked = look(store, "k", "m", since=before)
    assert (looked.position, looked.records, looked.marks) == (None, None, {})
    after = position(store)
    assert after.incarnation != before.incarnation
    assert poll(store, before).records is None
    assert position(redis_store(redis_server)) == after


def test_i5_a_poll_and_an_invalidation_find_a_lost_log(
    store: RedisStore, client: redis.Redis
) -> None:
    before = position(store)
    client.flushall()
    assert poll(store, before).position is None
    assert poll(store, before).position is not None
    client.flushall()
    after = invalidate(store, "m")
    assert after.incarnation != before.incarnation
    assert position(store) == after


def test_i5_an_old_stream_does_not_survive_the_control(
    store: RedisStore, client: redis.Redis
) -> None:
    before = position(store)
    for _ in range(3):
        invalidate(store, "old")
    client.delete(CONTROL)
    after = invalidate(store, "new")
    assert after.incarnation != before.incarnation
    logged: Any = client.xrange(STREAM)
    assert [list(names) for _, names in logged] == [[b"opened"], [b"new"]]


def test_i5_a_sequence_that_went_back_starts_a_new_incarnation(
    store: RedisStore, client: redis.Redis, redis_server: Server
) -> None:
    """An asynchronous failover lost acknowledged invalidations, and this process had seen them."""
    for _ in range(5):
        here = invalidate(store, "m")
    client.hset(CONTROL, "sequence", here.sequence - 2)
    client.delete(STREAM)
    assert poll(store, here).records is None
    wait_until(lambda: look(store).position is not None)
    assert position(redis_store(redis_server)).incarnation != here.incarnation


def test_i1_a_gap_claims_no_more_than_was_read_with_the_marks() -> None:
    """An invalidation may come between the reading of the marks and of the stream."""
    state, since = Position("i", 50), Position("i", 10)
    found, records = state_module.join(since, state, [(b"60-1", {b"m": b""})])
    assert records is None
    assert found == state, "the marks of 60 were not read: nothing may count as checked up to it"
    logged = [(b"%d-1" % n, {b"m": b""}) for n in (10, 20, 50, 60)]
    found, records = state_module.join(since, state, logged)
    assert found == Position("i", 60)
    assert [record.sequence for record in records or ()] == [20, 50, 60]
    for part in (logged[1:], logged[:2], []):
        assert state_module.join(since, state, part) == (state, None)


# Marks are kept for as long as an entry they could end may live


class Pruning:
    """Short times, and a look at what is left."""

    def __init__(self, store: RedisStore) -> None:
        self.store = store

    def marks(self) -> set[str]:
        fields = self.store.client.hkeys(CONTROL)
        return {name.decode()[2:] for name in fields if name.startswith(b"m:")}

    def wait(self, milliseconds: float) -> None:
        def now() -> float:
            seconds, micros = self.store.client.time()
            return float(seconds * 1e3 + micros / 1e3)

        end = now() + milliseconds
        wait_until(lambda: now() > end)

    def prune(self) -> None:
        # There are less fields than one invalidation looks at: it sees all.
        invalidate(self.store, "other")


@pytest.fixture
def pruning(store: RedisStore, monkeypatch: pytest.MonkeyPatch) -> Pruning:
    monkeypatch.setattr(redis_module, "GRACE_MS", 300)
    return Pruning(store)


def test_i1_marks_are_forgotten_once_they_are_useless(pruning: Pruning, store: RedisStore) -> None:
    store.execute(Fill("k", b"1", 0.9))
    invalidate(store, "m")
    pruning.wait(350)
    pruning.prune()
    assert "m" in pruning.marks(), "an entry of that lifetime may still be there"
    pruning.wait(1_000)
    pruning.prune()
    assert pruning.marks() == {"other"}


def test_i8_one_long_lifetime_is_forgotten_with_its_last_entry(
    pruning: Pruning, store: RedisStore, client: redis.Redis
) -> None:
    for lifetime in (0.05, 0.1, 0.05):
        store.execute(Fill("k", b"1", lifetime))
    pruning.wait(200)
    store.execute(Fill("k", b"1", LONG))
    kept: Any = client.hget(CONTROL, "lifetimes")
    assert len(json.loads(kept)) == 1, "those that are over are forgotten"
    before: Any = client.hget(CONTROL, "lifetimes")
    store.execute(Fill("k", b"1", LONG))
    assert client.hget(CONTROL, "lifetimes") == before, "not written again for each fill"


def test_i1_marks_are_kept_for_the_longest_lifetime(pruning: Pruning, store: RedisStore) -> None:
    store.execute(Fill("k", b"1", LONG))
    invalidate(store, "m")
    pruning.wait(350)
    pruning.prune()
    assert pruning.marks() == {"m", "other"}


def test_i2_marks_are_kept_for_what_was_being_computed(pruning: Pruning, store: RedisStore) -> None:
    """The first entry of a long life comes from a run that began before the invalidation."""
    store.execute(Fill("k", b"1", 0.01))
    invalidate(store, "m")
    store.execute(Fill("k", b"1", LONG))
    pruning.wait(350)
    pruning.prune()
    assert "m" in pruning.marks()


def test_i5_marks_are_kept_for_entries_of_processes_that_saw_no_loss(
    pruning: Pruning, store: RedisStore, client: redis.Redis, redis_server: Server
) -> None:
    """A log that another process opened again must learn the longest lifetime of this one."""
    store.execute(Fill("k", b"1", LONG))
    client.flushall()
    assert look(redis_store(redis_server)).position is not None
    born = position(store)
    store.execute(Fill("k", pack(make_entry("k", born)), LONG))
    invalidate(store, marks.of_key("k"))
    pruning.wait(350)
    pruning.prune()
    assert marks.of_key("k") in pruning.marks()
    assert scan(store) == []


def test_i1_marks_stay_in_proportion(pruning: Pruning, store: RedisStore) -> None:
    for i in range(300):
        invalidate(store, f"m{i}")
    pruning.wait(350)
    for _ in range(300):
        pruning.prune()
    assert len(pruning.marks()) < 30


# Mistreated


WRONG_TYPES: list[Callable[[redis.Redis, str], object]] = [
    lambda client, name: client.lpush(name, "x"),
    lambda client, name: client.hset(name, "x", "y"),
    lambda client, name: client.sadd(name, "x"),
    lambda client, name: client.xadd(name, {"x": "y"}),
    lambda client, name: client.set(name, "garbage"),
]


@pytest.mark.parametrize("spoil", WRONG_TYPES, ids=["list", "hash", "set", "stream", "string"])
@pytest.mark.parametrize("name", ["ns:e:{k}", CONTROL, STREAM, "ns:{log}:counts"])
def test_r4_a_wrong_type_is_at_worst_a_refusal(
    store: RedisStore,
    client: redis.Redis,
    spoil: Callable[[redis.Redis, str], object],
    name: str,
) -> None:
    here = position(store)
    client.delete(name)
    spoil(client, name)
    for command in (
        Look("k", ("m",), here, {"a": 1}),
        Poll(here),
        Scan("*"),
        Count({"a": 1}),
        SetMarks(("m",)),
        Fill("k", b"1", LONG),
    ):
        try:
            store.execute(command)
        except StoreUnavailable as error:
            assert isinstance(error, StoreRefused)  # noqa: PT017 - it need not be refused


@pytest.mark.parametrize("spoil", WRONG_TYPES, ids=["list", "hash", "set", "stream", "string"])
def test_r4_a_wrong_type_is_overwritten_by_a_fill(
    store: RedisStore, client: redis.Redis, spoil: Callable[[redis.Redis, str], object]
) -> None:
    spoil(client, "ns:e:{k}")
    store.execute(Fill("k", b"1", LONG))
    assert look(store).frame == b"1"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sequence", "x"),
        ("m:m", "x"),
        ("m:m", ""),
        ("m:m", "1"),
        ("lifetimes", "x"),
        ("lifetimes", '{"1": "x"}'),
        ("version", "1"),
        ("server", "x"),
        ("sequence", ""),
    ],
)
def test_r4_garbage_in_the_log_is_at_worst_a_refusal(
    store: RedisStore, client: redis.Redis, field: str, value: str
) -> None:
    here = position(store)
    client.hset(CONTROL, field, value)
    for command in (Look("k", ("m",), here), Poll(here), SetMarks(("m",)), Fill("k", b"1", LONG)):
        try:
            store.execute(command)
        except StoreUnavailable as error:
            assert isinstance(error, StoreRefused)  # noqa: PT017 - it need not be refused


def test_r4_scan_passes_over_foreign_names(store: RedisStore, client: redis.Redis) -> None:
    client.set(b"ns:e:{\xff}", "x")
    client.set(b"ns:e:{}", "x")
    store.execute(Fill("k", pack(make_entry("k", position(store))), LONG))
    assert [item.entry.key for item in scan(store)] == ["k"]


def test_r5_an_entry_without_expiry_is_not_served(store: RedisStore, client: redis.Redis) -> None:
    client.set("ns:e:{k}", pack(make_entry("k", position(store))))
    assert look(store).remaining <= 0
    assert scan(store) == []


def test_f1_a_dead_server_is_unavailable_and_then_back(
    redis_server: Server, store: RedisStore
) -> None:
    redis_server.kill()
    for command in (Look("k", ()), Fill("k", b"1", LONG), SetMarks(("m",)), Scan("*"), Count()):
        with pytest.raises(StoreUnavailable):
            store.execute(command)
    redis_server.restart()
    assert look(store).position is not None


def test_f1_a_hanging_server_costs_one_timeout(redis_server: Server) -> None:
    store = RedisStore(Link(redis_server.url(), 0.1), "ns")
    look(store)
    redis_server.pause()
    with pytest.raises(StoreUnavailable, match=r"redis 127\.0\.0\.1"):
        look(store)
    redis_server.resume()
    store.execute(Fill("k", b"1", LONG))
    assert look(store).frame == b"1", "a late reply is taken for no other's"


def test_f1_a_full_server_refuses_and_stays_there(server_factory: Callable[..., Server]) -> None:
    server = server_factory("--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    store = guarded(redis_store(server))
    look(store)

    def fill_up() -> None:
        for i in range(1_000):
            store.execute(Fill(f"k{i}", b"x" * 100_000, LONG))

    with pytest.raises(StoreRefused):
        fill_up()
    assert look(store, "k0").frame is not None
    assert not store.breaker.is_open


def test_f1_closed_connections_are_opened_again(store: RedisStore, client: redis.Redis) -> None:
    store.execute(Fill("k", b"1", LONG))
    client.client_kill_filter(_type="normal", skipme=True)
    assert look(store).frame == b"1"


def test_f3_an_interrupted_command_leaves_no_reply_to_another(
    store: RedisStore, redis_server: Server
) -> None:
    """A soft time limit strikes while a reply is on its way."""

    class Struck(Exception):
        pass

    for key in ("a", "b"):
        store.execute(Fill(key, key.encode(), LONG))
    connection = take(store.client.connection_pool)
    store.client.connection_pool.release(connection)
    read, strikes = connection.read_response, iter([True])

    def struck(*args: Any, **kwargs: Any) -> Any:
        if next(strikes, False):
            raise Struck
        return read(*args, **kwargs)

    connection.read_response = struck
    with pytest.raises(Struck):
        look(store, "a")
    assert look(store, "b").frame == b"b"
    assert look(store, "a").frame == b"a"


def test_f3_name_holds_no_password(redis_server: Server) -> None:
    url = redis_server.url().replace("//", "//user:hunter2@")
    store = RedisStore(Link(url, 0.5), "ns")
    assert "hunter2" not in store.name
    with pytest.raises(StoreUnavailable) as refused:
        look(store)
    assert "hunter2" not in str(refused.value)


def test_i5_memory_reads_a_log_that_grows_meanwhile() -> None:
    """Threads read while another invalidates: what they get joins, or is said to be a gap."""
    store = MemoryStore(10, 1_000)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            invalidate(store, "m")

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        for _ in range(3_000):
            since = position(store)
            looked = poll(store, since)
            assert looked.position is not None
            if looked.records is not None:
                found = [record.sequence for record in looked.records]
                expected = range(since.sequence + 1, looked.position.sequence + 1)
                assert found[: len(expected)] == list(expected)
    finally:
        stop.set()
        writer.join(10)


def test_f2_memory_forgets_marks_that_no_entry_can_meet() -> None:
    """A process that invalidates by key for months doesn't grow for ever."""
    clock = FakeClock()
    store = MemoryStore(10, 1_000, clock)
    for i in range(20_000):
        store.execute(Fill(f"k{i}", b"1", 1.0))
        invalidate(store, marks.of_key(f"k{i}"), keys=(f"k{i}",))
        clock.advance(100.0)
    assert len(store._marks) < 15_000
