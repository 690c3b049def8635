"""The engine over Redis: what a read costs, what it never returns, and that it never raises."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from tests.support.counting import round_trips
from tests.support.servers import Server
from tta_taskcache.cache import writer
from tta_taskcache.cache.engine import make_engine
from tta_taskcache.cache.outcome import Call, Hit, Miss
from tta_taskcache.cache.parts import Parts
from tta_taskcache.cache.plan import run
from tta_taskcache.core import marks
from tta_taskcache.core.codec import Codecs, Serializer
from tta_taskcache.core.entry import Position, pack
from tta_taskcache.core.events import Event, Filled, Invalidated, Lookup
from tta_taskcache.core.lease import Claim, Holding, Lease, Stage
from tta_taskcache.core.policy import Policy
from tta_taskcache.errors import CircuitOpen, EntryError, StoreUnavailable
from tta_taskcache.observability.counters import Counters
from tta_taskcache.stores import redis_store as redis_module
from tta_taskcache.stores.connection import Link
from tta_taskcache.stores.l1_cache import L1Cache
from tta_taskcache.stores.protocol import (
    Command,
    Count,
    Fill,
    Look,
    Poll,
    ReadBans,
    Release,
    Reply,
    Scan,
    SetMarks,
    Store,
)
from tta_taskcache.stores.redis_store import RedisStore
from tta_taskcache.testing import FakeClock, FaultyStore, make_entry
from tta_taskcache.testing.contract import position

DELTA = 0.25
ENTRY = "ns:e:{t:k}"


def call(key: str = "t:k", task: str = "t", tags: tuple[str, ...] = (), **options: Any) -> Call:
    return Call(task, key, Policy(**{"ttl": 60.0, **options}), tags)


def claim(owner: str = "a", **options: Any) -> Claim:
    return Claim(**{"owner": owner, "stage": Stage.RUNNING, "ttl": 60.0, **options})


def pickled(data: bytes) -> Any:
    return pickle.loads(data)  # noqa: S301 - what an application may have named


CODECS = Codecs(
    {**Codecs().serializers, "pickle": Serializer("pickle", pickle.dumps, pickled)},
)


@dataclass
class Process:
    """The cache as one process has it."""

    store: Store
    clock: FakeClock
    delta: float = DELTA
    draw: float = 0.0
    secret: bytes = b""
    codecs: Codecs = CODECS
    events: list[Event] = field(default_factory=list)
    abandoned: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.engine = make_engine(
            Parts(
                l1=L1Cache(100, 1_000_000, self.delta),
                codecs=self.codecs,
                observe=self.events.append,
                counters=Counters(),
                secret=self.secret,
                abandon=lambda key, owner: self.abandoned.append((key, owner)),
                clock=self.clock,
                wall=lambda: 1.0,
                draw=lambda: self.draw,
            )
        )

    def look(self, which: Call | None = None, claim: Claim | None = None) -> Hit | Miss:
        return run(self.engine.look(which or call(), "pool", claim), self.store)

    def claim(self, owner: str, which: Call | None = None) -> Lease:
        """Look, with the wish to lead; there must be no result."""
        found = self.look(which, claim(owner))
        assert isinstance(found, Miss)
        assert found.lease is not None
        return found.lease

    def fill(
        self, value: Any, miss: Hit | Miss, which: Call | None = None, owner: str = ""
    ) -> bool:
        assert isinstance(miss, Miss)
        plan = self.engine.writer.fill(
            which or call(), miss.position, value, run_seconds=2.0, task_id="id", owner=owner
        )
        return run(plan, self.store)

    def filled(self) -> Filled:
        """The last fill, as observers were told."""
        return [event for event in self.events if isinstance(event, Filled)][-1]

    def store_value(self, value: Any, which: Call | None = None) -> None:
        assert self.fill(value, self.look(which), which)

    def invalidate(self, *names: str, keys: tuple[str, ...] = ()) -> None:
        run(self.engine.invalidate(names, keys), self.store)

    def value(self, which: Call | None = None) -> Any:
        found = self.look(which)
        return found.value if isinstance(found, Hit) else found.reason

    def layer(self, which: Call | None = None) -> str:
        found = self.look(which)
        return found.layer if isinstance(found, Hit) else found.reason


Start = Callable[..., Process]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def start(redis_server: Server, clock: FakeClock) -> Start:
    """``start()``: one more process on the same Redis and the same time."""

    def start(**options: Any) -> Process:
        store = RedisStore(Link(redis_server.url(), 10.0), "ns")
        process = Process(options.pop("store", store), clock, **options)
        assert process.layer(call("t:warm")) == "absent"  # connected, the log open
        return process

    return start


@pytest.fixture
def here(start: Start) -> Process:
    return start()


@pytest.fixture
def client(redis_server: Server) -> redis.Redis:
    return redis_server.client()


# Reading


@pytest.mark.parametrize("value", [None, 0, "", [], False, {}, 0.0], ids=repr)
def test_r1_nothing_is_a_value_in_both_layers(start: Start, here: Process, value: Any) -> None:
    here.store_value(value)
    for process, layer in ((here, "l1"), (start(), "l2")):
        found = process.look()
        assert isinstance(found, Hit)
        assert (found.value, type(found.value), found.layer) == (value, type(value), layer)


def test_r1b_what_its_serializer_cant_carry_is_not_stored(here: Process) -> None:
    assert not here.fill({1, 2}, here.look())
    assert here.layer() == "absent"
    assert here.events[-2] == Filled("t", "t:k", 0, "unserializable")


def test_r2_what_a_caller_does_to_a_value_changes_nothing(start: Start, here: Process) -> None:
    value = {"a": [1]}
    here.store_value(value)
    value["a"].append("own")
    for process in (here, here, start()):
        found = process.value()
        assert found == {"a": [1]}
        found["a"].append("mine")
        found.clear()


def test_r3_round_trips(redis_server: Server, start: Start, here: Process) -> None:
    other = start()

    def trips(act: Callable[[], object]) -> int:
        with round_trips(redis_server) as counted:
            act()
        return counted.count

    assert trips(lambda: here.store_value("v")) == 2
    assert trips(lambda: [here.value() for _ in range(10)]) == 0
    assert trips(other.value) == 1
    assert trips(other.value) == 0
    here.clock.advance(DELTA + 0.01)
    assert trips(lambda: [here.value() for _ in range(10)]) == 1, "one poll of the log"
    assert trips(lambda: here.invalidate("k:t:k")) == 1
    assert trips(here.value) <= 2, "a poll, because it distrusts itself, and a look"
    assert here.layer() == "invalidated"


def test_r3_strict_polls_for_each_hit(redis_server: Server, start: Start) -> None:
    strict = start(delta=0.0)
    strict.store_value("v")
    strict.clock.advance(0.001)
    with round_trips(redis_server) as trips:
        assert strict.layer() == "l1"
    assert trips.count == 1


def write_garbage(client: redis.Redis, frame: bytes) -> None:
    client.set(ENTRY, frame, px=60_000)


class Bomb:
    exploded = False

    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    Bomb.exploded = True


def frame(payload: bytes, **fields: Any) -> bytes:
    return pack(make_entry("t:k", Position("i", 0), payload, **fields))


GARBAGE = {
    "text": b"garbage",
    "empty": b"",
    "pickle": pickle.dumps(Bomb()),
    "version": frame(b"1")[:3] + b"\x63" + frame(b"1")[4:],
    "cut": frame(b"1")[:-1],
    "no json": frame(b"}{"),
    "another key": pack(make_entry("t:other", Position("i", 0))),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_r4_garbage_is_a_miss_and_is_replaced(
    start: Start, here: Process, client: redis.Redis, name: str
) -> None:
    here.store_value("v")
    write_garbage(client, GARBAGE[name])
    other = start()
    missed = other.look()
    assert isinstance(missed, Miss)
    assert missed.reason in {"corrupt", "format", "signature", "invalidated", "absent"}
    assert isinstance(other.events[-1], Lookup), "it is counted"
    assert not Bomb.exploded
    assert other.fill("w", missed)
    assert start().value() == "w"


@pytest.mark.parametrize("at", range(24))
def test_r4_altered_headers_are_misses(
    start: Start, here: Process, client: redis.Redis, at: int
) -> None:
    here.store_value("v")
    good = client.get(ENTRY)
    assert isinstance(good, bytes)
    write_garbage(client, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    assert start().layer() in {"corrupt", "format", "signature"}


def test_r4_a_pickle_in_an_entry_of_its_own_is_not_executed(
    start: Start, here: Process, client: redis.Redis
) -> None:
    """Whoever can write to Redis can write a right checksum, and name a serializer."""
    position = here.look().position  # type: ignore[union-attr]
    entry = make_entry("t:k", position, pickle.dumps(Bomb()), serializer="pickle")
    write_garbage(client, pack(entry))
    assert start().layer() == "serializer"
    assert not Bomb.exploded


def test_r4_with_a_secret_nobody_else_makes_entries(
    start: Start, here: Process, client: redis.Redis
) -> None:
    trusting = call(serializer="pickle")
    position = here.look(trusting).position  # type: ignore[union-attr]
    entry = make_entry("t:k", position, pickle.dumps(Bomb()), serializer="pickle")
    write_garbage(client, pack(entry, b"guessed"))
    assert start(secret=b"secret").layer(trusting) == "signature"
    write_garbage(client, pack(entry))
    assert start(secret=b"secret").layer(trusting) == "signature"
    assert not Bomb.exploded


@pytest.mark.parametrize("kind", ["lpush", "sadd"])
def test_r4_a_wrong_type_is_a_miss(here: Process, client: redis.Redis, kind: str) -> None:
    getattr(client, kind)(ENTRY, "x")
    assert isinstance(here.look(), Miss)


def test_r4_what_cant_be_read_back_is_a_miss_in_both_layers(start: Start) -> None:
    def broken(_: bytes) -> Any:
        raise AttributeError("a class that is gone")

    codecs = Codecs({"odd": Serializer("odd", lambda _: b"x", broken)})
    process, odd = start(codecs=codecs), call(serializer="odd")
    process.store_value("v", odd)
    assert process.layer(odd) == "corrupt"
    assert start(codecs=codecs).layer(odd) == "corrupt"


def test_r4_another_serializer_is_a_miss_in_both_layers(start: Start, here: Process) -> None:
    here.store_value("v")
    other = call(serializer="pickle")
    assert [here.layer(other), start().layer(other)] == ["serializer", "serializer"]


# Limits


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.999])
def test_r5_never_served_past_its_lifetime_from_l1(
    start: Start, client: redis.Redis, draw: float
) -> None:
    jittered = call(ttl=10.0, jitter=0.5)
    process = start(draw=draw, delta=1e9)
    process.store_value("v", jittered)
    lifetime = 10.0 * (1 - 0.5 * draw)
    assert 0 < client.pttl(ENTRY) <= lifetime * 1_000
    client.delete(ENTRY)
    for _ in range(10):
        process.clock.advance(lifetime / 10 - 1e-6)
        found = process.look(jittered)
        assert isinstance(found, Hit), "reading never extends it"
        assert found.remaining <= lifetime
    process.clock.advance(1e-4)
    assert process.layer(jittered) == "absent"


def test_r5_l1_keeps_what_l2_found_no_longer_than_l2(
    start: Start, here: Process, client: redis.Redis
) -> None:
    here.store_value("v")
    client.pexpire(ENTRY, 5_000)
    other = start(delta=1e9)
    found = other.look()
    assert isinstance(found, Hit)
    assert found.remaining <= 5.0
    assert found.age >= 55.0
    client.delete(ENTRY)
    other.clock.advance(5.0)
    assert other.layer() == "absent"


def test_r5_redis_may_not_lengthen_a_lifetime(
    start: Start, here: Process, client: redis.Redis
) -> None:
    here.store_value("v")
    client.pexpire(ENTRY, 10**9)
    found = start().look()
    assert isinstance(found, Hit)
    assert found.remaining <= 60.0
    client.persist(ENTRY)
    assert start().layer() == "expired"


# Leases


def test_r3_round_trips_with_leases(redis_server: Server, start: Start, here: Process) -> None:
    other = start()
    with round_trips(redis_server) as looking:
        miss = here.look(claim=claim("a"))
    assert isinstance(miss, Miss)
    assert miss.lease == Lease("a", miss.position, Stage.RUNNING, 60.0)
    with round_trips(redis_server) as following:
        assert other.claim("b").is_followed
    with round_trips(redis_server) as filling:
        assert here.fill("v", miss, owner="a")
    with round_trips(redis_server) as l1:
        assert here.look(claim=claim("a")).layer == "l1"  # type: ignore[union-attr]
    with round_trips(redis_server) as far:
        assert other.look(claim=claim("b")).layer == "l2"  # type: ignore[union-attr]
    trips = [t.count for t in (looking, following, filling, l1, far)]
    assert trips == [1, 1, 1, 0, 1]


def test_r3_many_leases_are_renewed_in_one_round_trip(redis_server: Server, here: Process) -> None:
    keys = [f"t:{i}" for i in range(10)]
    for key in keys:
        assert here.claim(key, call(key)).is_ours
    holdings = tuple(Holding(key, key, Stage.RUNNING) for key in keys)
    with round_trips(redis_server) as trips:
        assert run(here.engine.renew(holdings, 60.0), here.store) == [True] * 10
    assert trips.count == 1


def test_c3_a_lost_lease_fills_nothing_in_either_layer(start: Start, here: Process) -> None:
    other, late = start(), here.look(claim=claim("a"))
    other.invalidate("k:t:k")
    in_time = other.look(claim=claim("b"))
    assert not here.fill("late", late, owner="a")
    assert here.filled() == Filled("t", "t:k", here.filled().size, "lease-lost")
    assert isinstance(here.look(), Miss)
    assert other.fill("good", in_time, owner="b")
    assert [process.value() for process in (here, other, start())] == ["good"] * 3


def test_c3_a_released_lease_is_the_next_ones(start: Start, here: Process) -> None:
    other = start()
    assert here.claim("a").is_ours
    run(other.engine.release("t:k", "b"), other.store)
    assert other.claim("b").is_followed
    run(here.engine.release("t:k", "a"), here.store)
    assert other.claim("b").is_ours


def test_r1b_nobody_waits_for_a_result_that_cant_be_stored(start: Start, here: Process) -> None:
    other, miss = start(), here.look(claim=claim("a"))
    assert not here.fill({1, 2}, miss, owner="a")
    assert here.filled() == Filled("t", "t:k", 0, "unserializable")
    lease = other.claim("b")
    assert (lease.is_ours, lease.is_followed, lease.stage) == (False, False, Stage.UNSHARED)
    assert 0 < lease.remaining <= writer.UNSHARED_FOR
    other.invalidate("t:t")
    assert other.claim("b").is_ours, "the next results may be others"


def test_r1b_what_took_too_long_to_be_stored_is_not_waited_for(here: Process) -> None:
    miss = here.look(claim=claim("a"))
    assert isinstance(miss, Miss)
    long = writer.MAX_RUN + 1
    plan = here.engine.writer.fill(
        call(), miss.position, "v", run_seconds=long, task_id="id", owner="a"
    )
    assert not run(plan, here.store)
    assert here.filled().reason == "too-late"
    assert here.claim("b").stage is Stage.UNSHARED


@pytest.mark.parametrize("other", [call(serializer="pickle"), call(compression="zlib")])
def test_c1_who_cant_use_a_good_entry_leads(here: Process, start: Start, other: Call) -> None:
    here.store_value("v")
    process = start()
    assert process.claim("a", other).is_ours
    assert start().claim("b", other).is_followed, "one of them is enough"
    assert start().value() == "v"


def test_c1_garbage_is_replaced_by_one(here: Process, start: Start, client: redis.Redis) -> None:
    """The store sees its head only: a good one, so it takes two looks."""
    here.store_value("v")
    good = client.get(ENTRY)
    assert isinstance(good, bytes)
    write_garbage(client, good[:-1] + bytes([good[-1] ^ 1]))
    assert start().claim("a").is_ours
    assert start().claim("b").is_followed


def test_i2_the_lease_notes_when_it_was_given(here: Process, start: Start) -> None:
    start().invalidate("m")
    miss = here.look(claim=claim("a"))
    assert isinstance(miss, Miss)
    assert miss.position == position(here.store)
    assert here.fill("v", miss, owner="a")
    assert start().value() == "v"


@pytest.mark.parametrize("executed", [False, True])
def test_c3_a_lost_reply_tells_abandon(start: Start, here: Process, *, executed: bool) -> None:
    """It isn't known whether the lease was given: somebody has to end it."""
    faulty = FaultyStore(here.store)
    here.store = faulty
    faulty.fail(Look, times=1, executed=executed)
    assert here.look(claim=claim("a")) == Miss("unavailable", None)
    assert here.abandoned == [("t:k", "a")]
    other = start()
    assert other.claim("b").is_ours is not executed
    run(here.engine.release(*here.abandoned[0]), here.store)
    assert other.claim("b").is_ours


def test_c3_a_lost_reply_to_a_fill_tells_abandon(here: Process) -> None:
    miss = here.look(claim=claim("a"))
    faulty = FaultyStore(here.store)
    here.store = faulty
    faulty.fail(Fill, times=1)
    assert not here.fill("v", miss, owner="a")
    assert (here.filled().reason, here.abandoned) == ("unavailable", [("t:k", "a")])


def test_c3_a_claim_that_was_not_sent_is_not_abandoned(here: Process) -> None:
    faulty = FaultyStore(here.store)
    here.store = faulty
    faulty.fail(Look, error=CircuitOpen("open"))
    assert here.look(claim=claim("a")) == Miss("unavailable", None)
    assert here.look() == Miss("unavailable", None)
    assert here.abandoned == []


def test_f1_a_release_that_fails_after_a_fill_that_cant_be_is_no_fault(here: Process) -> None:
    miss = here.look(claim=claim("a"))
    faulty = FaultyStore(here.store)
    here.store = faulty
    faulty.fail(Release)
    assert not here.fill({1, 2}, miss, owner="a")
    assert here.filled().reason == "unserializable"


# Invalidation


MARKS = (*marks.of_call("t", "t:k"), marks.of_pattern("t:*"), marks.of_pattern("*k"))


@pytest.mark.parametrize("mark", MARKS)
def test_i1_l2_never_returns_an_older_value(start: Start, here: Process, mark: str) -> None:
    here.store_value("old")
    reader, another = start(), start()
    another.invalidate(mark)
    assert reader.layer() == "invalidated"
    assert start().layer() == "invalidated"


@pytest.mark.parametrize("mark", MARKS)
def test_i1_l1_returns_none_after_delta(start: Start, here: Process, mark: str) -> None:
    here.store_value("old")
    another = start()
    another.invalidate(mark)
    here.clock.advance(DELTA)
    assert here.layer() == "l1", "within Δ it may"
    here.clock.advance(0.001)
    assert here.layer() == "invalidated"


def test_i1_l1_of_the_process_itself_returns_none_at_once(here: Process) -> None:
    here.store_value("old")
    here.invalidate("t:t")
    assert here.layer() == "invalidated"
    here.store_value("new")
    here.invalidate("k:t:k", keys=("t:k",))
    assert here.layer() == "absent"


def test_i1_strict_l1_returns_none_at_once(start: Start) -> None:
    strict, another = start(delta=0.0), start()
    strict.store_value("old")
    strict.clock.advance(0.001)
    assert strict.layer() == "l1"
    another.invalidate("*")
    strict.clock.advance(0.001)
    assert strict.layer() == "invalidated"


def test_i1_other_entries_stay(start: Start, here: Process) -> None:
    other = call("u:k", "u")
    for which in (None, other):
        here.store_value("v", which)
    start().invalidate("t:t", "k:another")
    here.clock.advance(1.0)
    assert [here.layer(), here.layer(other)] == ["invalidated", "l1"]


@pytest.mark.parametrize("mark", MARKS)
def test_i2_a_fill_that_began_before_is_never_served(
    start: Start, here: Process, mark: str
) -> None:
    other, miss = start(), here.look()
    other.invalidate(mark)
    here.fill("old", miss)
    assert start().layer() == "invalidated"
    assert other.layer() == "invalidated"
    here.clock.advance(DELTA + 0.001)
    assert here.layer() == "invalidated"


def test_i2_its_own_invalidation_counts_for_a_fill_at_once(here: Process) -> None:
    miss = here.look()
    here.invalidate("t:t")
    here.fill("old", miss)
    assert here.layer() == "invalidated"


def test_i2_a_late_fill_does_not_hide_that_the_next_is_good(start: Start, here: Process) -> None:
    old = here.look()
    start().invalidate("*")
    new = start()
    new.store_value("new")
    here.fill("old", old)
    assert start().layer() == "invalidated", "it replaced the good one: a miss, nothing stale"
    here.clock.advance(1.0)
    here.store_value("newer")
    assert start().value() == "newer"


@pytest.mark.parametrize("mark", MARKS)
def test_i2_later_calls_do_not_join_what_began_before(
    start: Start, here: Process, mark: str
) -> None:
    other, old = start(), here.look(claim=claim("a"))
    other.invalidate(mark)
    new = start()
    miss = new.look(claim=claim("b"))
    assert isinstance(miss, Miss)
    assert miss.lease is not None
    assert miss.lease.is_ours
    assert other.claim("c").is_followed, "of the new one there is one"
    assert not here.fill("old", old, owner="a")
    assert new.fill("new", miss, owner="b")
    here.clock.advance(DELTA + 0.001)
    assert [process.value() for process in (here, other, new)] == ["new"] * 3


def test_i1_i2_by_tag(start: Start, here: Process) -> None:
    tagged, other_tag = call(tags=("x", "y")), call("t:other", tags=("z",))
    far, late, another = start(), start(), start()
    missed = late.look(tagged)
    for which in (tagged, other_tag):
        here.store_value("old", which)
        assert far.value(which) == "old"
    another.invalidate(marks.of_tag("y"))
    assert start().layer(tagged) == "invalidated"
    here.clock.advance(DELTA + 0.001)
    assert [here.layer(tagged), far.layer(tagged)] == ["invalidated"] * 2
    assert [here.layer(other_tag), far.layer(other_tag)] == ["l1"] * 2
    late.fill("old", missed, tagged)
    assert [process.layer(tagged) for process in (start(), late)] == ["invalidated"] * 2
    here.store_value("new", tagged)
    assert start().value(tagged) == "new"


@pytest.mark.parametrize("looked_up", [(), ("new",), ("old", "new")])
def test_i1_an_entry_stored_under_other_tags_is_ended_by_those(
    start: Start, here: Process, looked_up: tuple[str, ...]
) -> None:
    """The task's ``cache_tags`` have changed, and the entry is from before."""
    here.store_value("v", call(tags=("old",)))
    before, mine = start(), call(tags=looked_up)
    assert (before.value(mine), before.layer(mine)) == ("v", "l1")
    start().invalidate(marks.of_tag("old"))
    after = start()
    assert after.layer(mine) == "invalidated"
    before.clock.advance(DELTA + 0.001)
    assert before.layer(mine) == "invalidated"
    assert after.claim("a", mine).is_ours


def test_i3_a_ban_ends_what_matches_and_costs_one_more_trip_once(
    redis_server: Server, start: Start, here: Process
) -> None:
    others = [call("u:k", "u"), call("t:other")]
    for which in (call(), *others):
        here.store_value("v", which)
    here.invalidate(marks.of_pattern("t:?"))
    new = start()  # looked once, and has read all bans for it
    trips = []
    for which in (call(), *others):
        with round_trips(redis_server) as counted:
            new.look(which)
        trips.append(counted.count)
    assert trips == [1, 1, 1]
    assert [new.layer(which) for which in (call(), *others)] == ["invalidated", "l1", "l1"]


def test_i1_a_process_that_has_just_started_knows_of_a_ban(start: Start, here: Process) -> None:
    here.store_value("old")
    start().invalidate(marks.of_pattern("t:*"))
    new = Process(RedisStore(here.store.link, "ns"), here.clock)  # type: ignore[attr-defined]
    assert new.layer() == "invalidated", "with its very first command"
    assert new.claim("a").is_ours


@pytest.mark.parametrize("executed", [False, True])
def test_i1_without_the_bans_nothing_is_served(
    start: Start, here: Process, *, executed: bool
) -> None:
    here.store_value("old")
    here.invalidate(marks.of_pattern("u:*"))
    faulty = FaultyStore(here.store)
    new = Process(faulty, here.clock)
    faulty.fail(ReadBans, times=2, executed=executed)
    assert new.look() == Miss("unavailable", None)
    assert new.look(claim=claim("a")) == Miss("unavailable", None)
    assert new.abandoned == [("t:k", "a")]
    assert new.layer() == "l2"


def test_i1_after_a_gap_the_bans_are_read_anew(
    start: Start, here: Process, client: redis.Redis
) -> None:
    here.store_value("old")
    reader = start()
    another = start()
    another.invalidate(marks.of_pattern("t:*"))
    another.invalidate("m")
    client.xtrim("ns:{log}:stream", maxlen=0)
    reader.clock.advance(DELTA + 0.001)
    assert [reader.layer(), here.layer()] == ["invalidated", "invalidated"]


def test_i1_a_ban_that_was_folded_while_bans_are_read(
    start: Start, here: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the oldest has ended stays ended, when one too many comes behind the look."""
    monkeypatch.setattr(redis_module, "MAX_BANS", 2)
    here.store_value("old")
    another = start()
    for pattern in ("t:*", "a*"):
        another.invalidate(marks.of_pattern(pattern))

    class Between(FaultyStore):
        def execute(self, command: Command) -> Reply:
            if isinstance(command, ReadBans):
                another.invalidate(marks.of_pattern("b*"))
            return super().execute(command)

    new = Process(Between(here.store), here.clock)
    assert new.layer() == "invalidated"


def test_i5_a_flushed_redis_means_misses(start: Start, here: Process, client: redis.Redis) -> None:
    here.store_value("old")
    miss = here.look(call("t:2"))
    client.flushall()
    assert start().layer(call("t:2")) == "absent"
    here.clock.advance(1.0)
    assert here.layer() == "absent"
    here.fill("old", miss, call("t:2"))
    assert start().layer(call("t:2")) == "invalidated"


def test_i5_a_lost_log_means_misses(start: Start, here: Process, client: redis.Redis) -> None:
    here.store_value("old")
    client.delete("ns:{log}:control")
    here.clock.advance(1.0)
    assert here.layer() in {"log-lost", "invalidated"}
    assert here.layer() == "invalidated"
    assert start().layer() == "invalidated"


def test_i5_a_sequence_that_went_back_empties_l1(
    start: Start, here: Process, client: redis.Redis
) -> None:
    """A failover lost the last invalidations."""
    for _ in range(3):
        here.invalidate("m")
    here.store_value("v")
    client.hset("ns:{log}:control", "sequence", 1)
    client.xtrim("ns:{log}:stream", maxlen=0)
    here.clock.advance(1.0)
    assert here.layer() != "l1"


def test_i5_what_was_born_in_a_lost_future_is_not_served(
    start: Start, here: Process, client: redis.Redis
) -> None:
    """Its birth would be compared with marks of sequences that are given out again."""
    for _ in range(3):
        here.invalidate("m")
    here.store_value("old")
    client.hset("ns:{log}:control", "sequence", 1)
    client.delete("ns:{log}:stream")
    here.clock.advance(1.0)
    here.look(call("t:2"))
    start().invalidate("t:t")
    assert start().layer() == "invalidated"
    assert here.layer() == "invalidated"


# Faults


KINDS = [(), (Look,), (Poll,), (Fill,), (SetMarks,), (Scan,), (Count,)]


@pytest.mark.parametrize("executed", [False, True])
@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: "".join(k.__name__ for k in kinds))
def test_f1_no_fault_of_the_store_reaches_a_call(
    start: Start, clock: FakeClock, kinds: tuple[type, ...], *, executed: bool
) -> None:
    process = start()
    faulty = FaultyStore(process.store)
    process.store = faulty
    process.store_value("v", call("t:1"))
    faulty.fail(*kinds, executed=executed)
    for _ in range(3):
        for key in ("t:1", "t:2"):
            found = process.look(call(key))
            if isinstance(found, Miss):
                process.fill("v", found, call(key))
        clock.advance(1.0)
    faulty.heal()
    for key in ("t:1", "t:2"):
        if process.layer(call(key)) not in ("l1", "l2"):
            process.store_value("v", call(key))
        assert process.layer(call(key)) in ("l1", "l2"), "caching resumes"


def test_f1_without_a_position_nothing_is_stored(here: Process) -> None:
    faulty = FaultyStore(here.store)
    here.store = faulty
    faulty.fail(Look, times=1)
    miss = here.look()
    assert miss == Miss("unavailable", None)
    assert not here.fill("v", miss)
    assert not any(isinstance(command, Fill) for command in faulty.commands)
    assert here.layer() == "absent"


def test_i4_an_invalidation_that_was_not_acknowledged_raises(here: Process) -> None:
    faulty = FaultyStore(here.store)
    here.store = faulty
    faulty.fail(SetMarks, times=1)
    with pytest.raises(StoreUnavailable):
        here.invalidate("*")
    assert not any(isinstance(event, Invalidated) for event in here.events)


def test_f2_counts_survive_a_fault(start: Start) -> None:
    process = start()
    counters = process.engine.parts.counters
    faulty = FaultyStore(process.store)
    process.store = faulty
    for _ in range(3):
        counters(Lookup("t", "k", "pool", "l1", "", 1.0))
    before = run(process.engine.totals(), process.store).get("hit|pool|l1|t", 0)
    counters(Lookup("t", "k", "pool", "l1", "", 1.0))
    faulty.fail()
    with pytest.raises(StoreUnavailable):
        run(process.engine.totals(), process.store)
    process.clock.advance(5.0)
    process.look(call("t:2"))
    faulty.heal()
    assert run(process.engine.totals(), process.store)["hit|pool|l1|t"] == before + 1 == 4


def test_f2_events_say_what_happened(here: Process) -> None:
    here.events.clear()
    here.store_value("v")
    here.look()
    here.invalidate("t:t")
    missed, filled, hit, invalidated = here.events
    assert missed == Lookup("t", "t:k", "pool", None, "absent", seconds=0.0)
    assert isinstance(filled, Filled)
    assert (filled.reason, filled.size > 0) == ("", True)
    assert isinstance(hit, Lookup)
    assert hit == Lookup("t", "t:k", "pool", "l1", "", 2.0, hit.age, "id", seconds=0.0)
    assert 0 <= hit.age < 1
    assert invalidated == Invalidated(("t:t",), position(here.store).sequence)


# Management


def test_peek_and_scan_show_valid_entries_only(
    start: Start, here: Process, client: redis.Redis
) -> None:
    here.store_value("v")
    here.store_value("w", call("t:2"))
    found = run(here.engine.peek("t:k"), here.store)
    assert found is not None
    assert found[0].payload == b'"v"'
    assert [item.entry.key for item in run(here.engine.scan("t:2"), here.store).found] == ["t:2"]
    here.invalidate("k:t:k")
    assert run(here.engine.peek("t:k"), here.store) is None
    assert run(here.engine.peek("t:none"), here.store) is None
    assert [item.entry.key for item in run(here.engine.scan("*"), here.store).found] == ["t:2"]
    write_garbage(client, b"garbage")
    with pytest.raises(EntryError):
        run(here.engine.peek("t:k"), here.store)
