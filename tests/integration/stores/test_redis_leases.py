"""Leases, bans and sweeps on Redis: what only a shared store can get wrong (I3, I5, C1, C3, R4)."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.integration.stores.redis_stores import (
    CONTROL,
    WRONG_TYPES,
    Pruning,
    redis_store,
)
from tests.support.counting import round_trips
from tests.support.servers import Server
from tests.support.topologies import ClusterServers
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.lease import Claim, Holding, Lease, Stage
from tta_taskcache.core.entries.marks import Ban
from tta_taskcache.errors import StoreRefused, StoreUnavailable
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.protocol import (
    Bans,
    Batch,
    Command,
    Fill,
    Look,
    ReadBans,
    Release,
    Renew,
    Scan,
    StoreReply,
)
from tta_taskcache.stores.redis.redis_store import LogBounds, RedisStore
from tta_taskcache.stores.sweep_commands import (
    ReadSweep,
    RecordSweep,
    RequestSweep,
    Sweep,
    SweepProgress,
    Swept,
)
from tta_taskcache.testing.contract import (
    LONG,
    claim,
    fill,
    invalidate,
    look,
    position,
    scan,
    sweep,
)

LEASE, SWEEP = "ns:l:{k}", "ns:{log}:sweep"
pytestmark = pytest.mark.every_server_kind


CLAIM = Claim(owner="a", stage=Stage.QUEUED, ttl=LONG)


@pytest.mark.parametrize(
    "command",
    [
        Look("k", ("*", "t:t", "k:k"), claim=CLAIM),
        Look("k", ("*",), Position("i", 0), {"a": 1}, CLAIM),
        Fill("k", b"x" * 1_000, LONG, {"a": 1}, "a"),
        Renew(tuple(Holding(f"k{i}", "a", Stage.RUNNING) for i in range(5)), LONG),
        Release("k", "a"),
        Release("k", "a", LONG),
        ReadBans(),
        RequestSweep(),
        ReadSweep(),
        RecordSweep(SweepProgress(request=1, cursor="5")),
    ],
    ids=lambda command: type(command).__name__,
)
def test_r3_one_round_trip_a_command(
    redis_server: Server, store: RedisStore, command: Command
) -> None:
    with round_trips(redis_server) as trips:
        store.execute(command)
    assert trips.count == 1


# A log that is lost


def test_i5_a_lease_of_a_lost_log_is_taken_over(store: RedisStore, client: redis.Redis) -> None:
    assert claim(store, "a").is_ours
    client.delete(CONTROL)
    look(store)
    assert claim(store, "b").is_ours
    assert store.execute(Fill("k", b"old", LONG, owner="a")) is False


def test_i5_a_lease_of_a_lost_future_is_taken_over(store: RedisStore, client: redis.Redis) -> None:
    """A failover has lost the invalidations that it was born behind."""
    for _ in range(3):
        invalidate(store, "m")
    assert claim(store, "a").is_ours
    client.hset(CONTROL, "sequence", 1)
    assert claim(store, "b").is_ours


def test_i5_an_entry_of_a_lost_future_makes_no_claim_needless(
    store: RedisStore, client: redis.Redis
) -> None:
    for _ in range(3):
        invalidate(store, "m")
    fill(store, "k")
    client.hset(CONTROL, "sequence", 1)
    assert claim(store, "b").is_ours


def test_i5_a_claim_on_a_lost_log_takes_nothing(store: RedisStore, client: redis.Redis) -> None:
    client.delete(CONTROL)
    assert look_and_claim(store) == StoreReply(None, None, 0.0, {}, None)
    assert not client.exists(LEASE)
    assert claim(store, "a").is_ours


def look_and_claim(store: RedisStore) -> object:
    return store.execute(Look("k", (), claim=CLAIM))


# In a cluster the position is read before the lease is asked for


class Between(RedisStore):
    """Something happens between the two."""

    happens: Callable[[], object]

    def _trusts(self, *args: Any) -> Any:
        is_trusted = yield from super()._trusts(*args)
        self.happens()
        return is_trusted


@pytest.fixture
def between(cluster_servers: ClusterServers) -> Between:
    return Between(Link(cluster_servers.url, 10.0), "ns")


@pytest.fixture
def other(cluster_servers: ClusterServers) -> RedisStore:
    return RedisStore(Link(cluster_servers.url, 10.0), "ns")


def test_c1_c4_a_younger_lease_is_not_taken_over(between: Between, other: RedisStore) -> None:
    def happens() -> None:
        invalidate(other, marks.of_key("k"))
        assert claim(other, "young").is_ours

    between.happens = happens
    assert claim(between, "late").is_followed
    held = Holding("k", "young", Stage.RUNNING)
    assert other.execute(Renew((held,), LONG)) == [True]


def test_c1_c4_a_younger_entry_makes_a_claim_needless(between: Between, other: RedisStore) -> None:
    def happens() -> None:
        invalidate(other, marks.of_key("k"))
        fill(other, "k")

    between.happens = happens
    assert claim(between, "late") == Lease("", None, None)


# Mistreated


@pytest.mark.parametrize("spoil", WRONG_TYPES, ids=["list", "hash", "set", "stream", "string"])
@pytest.mark.parametrize("name", ["ns:e:{k}", LEASE, CONTROL, SWEEP])
def test_r4_a_wrong_type_is_at_worst_a_refusal(
    store: RedisStore, client: redis.Redis, spoil: Callable[[redis.Redis, str], object], name: str
) -> None:
    position(store)
    client.delete(name)
    spoil(client, name)
    for command in (
        Look("k", ("m",), claim=CLAIM),
        Renew((Holding("k", "a", Stage.RUNNING),), LONG),
        Release("k", "a", LONG),
        Fill("k", b"1", LONG, owner="a"),
        ReadBans(),
        RequestSweep(),
        ReadSweep(),
        RecordSweep(SweepProgress(request=1)),
        Sweep(),
    ):
        try:
            store.execute(command)
        except StoreUnavailable as error:
            assert isinstance(error, StoreRefused)  # noqa: PT017 - it need not be refused


@pytest.mark.parametrize(
    "value", ["x", "[]", "[1]", '["a", 1, 2]', "{}", '[["a", "x", 1]]', "\xff"]
)
def test_r4_garbage_for_bans_is_at_worst_a_refusal(
    store: RedisStore, client: redis.Redis, value: str
) -> None:
    fill(store, "k")
    client.hset(CONTROL, mapping={"bans": value, "banned": 1})
    for command in (ReadBans(), Scan("*"), Sweep(), Look("k", ())):
        try:
            store.execute(command)
        except StoreUnavailable as error:
            assert isinstance(error, StoreRefused)  # noqa: PT017 - it need not be refused


@pytest.mark.parametrize("spoil", WRONG_TYPES[:4], ids=["list", "hash", "set", "stream"])
def test_i3_r4_a_sweep_passes_over_what_is_no_entry(
    store: RedisStore, client: redis.Redis, spoil: Callable[[redis.Redis, str], object]
) -> None:
    """One such key would otherwise be the end of every sweep."""
    spoil(client, "ns:e:{spoilt}")
    for i in range(5):
        fill(store, f"k{i}")
    invalidate(store, marks.EVERYTHING)
    assert sum(batch.dropped for batch in sweep(store)) == 5
    assert client.exists("ns:e:{spoilt}")


# Sweeps


def test_i3_a_sweep_never_drops_a_fresh_entry_that_replaced_an_ended_one(
    store: RedisStore, redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stored between the judgement on the old one and its end."""
    fill(store, "k", payload=b"old")
    fill(store, "l")
    invalidate(store, marks.EVERYTHING)
    other, judge = redis_store(redis_server), store._scanner._valid

    def judge_and_replace(entries: Any) -> set[str]:
        valid = judge(entries)
        fill(other, "k", payload=b"new")
        return valid

    monkeypatch.setattr(store._scanner, "_valid", judge_and_replace)
    assert sum(batch.dropped for batch in sweep(store)) == 1
    assert (look(store, "k").frame or b"").endswith(b"new")
    assert look(store, "l").frame is None


@pytest.mark.parametrize("command", [Scan("*", "7@zzz"), Sweep("7@zzz")])
def test_i3_where_the_last_node_has_gone_a_scan_ends(store: RedisStore, command: Command) -> None:
    """A failover has put another in its place, whose name comes earlier."""
    reply = store.execute(command)
    assert isinstance(reply, Batch | Swept)
    assert reply.cursor == ""


def test_i3_a_scan_goes_on_behind_a_node_that_has_gone(other: RedisStore) -> None:
    keys = {f"k{i}" for i in range(50)}
    for key in keys:
        fill(other, key)
    found = other.execute(Scan("*", "7@0.0.0.0:1", 10_000))
    assert isinstance(found, Batch)
    assert found.cursor, "two more nodes follow"
    assert {item.entry.key for item in found.found} < keys
    assert {item.entry.key for item in scan(other)} == keys


def test_i3_a_sweep_that_nobody_goes_on_with_is_forgotten_whoever_asks(
    store: RedisStore, client: redis.Redis
) -> None:
    """Its message may be lost: those who ask later mustn't wait for it for ever."""
    assert store.execute(RequestSweep()) is True
    assert 0 < client.ttl(SWEEP) <= 3_600
    client.expire(SWEEP, 10)
    assert store.execute(RequestSweep()) is False
    assert client.ttl(SWEEP) <= 10
    store.execute(RecordSweep(SweepProgress(request=1, cursor="5")))
    assert client.ttl(SWEEP) > 10, "somebody is at it"


# Bans


def bans(store: RedisStore) -> list[Ban]:
    read = store.execute(ReadBans())
    assert isinstance(read, Bans)
    return list(read.bans)


def test_i3_too_many_bans_become_one_that_ends_everything_older(store: RedisStore) -> None:
    store.bounds = LogBounds(bans=3)
    fill(store, "old")
    third = [invalidate(store, marks.of_pattern(f"{i}*")).sequence for i in range(3)][2]
    fill(store, "new")
    assert look(store, "k", "*").marks == {}, "so many are kept apart"
    invalidate(store, marks.of_pattern("3*"), marks.of_pattern("4*"))
    assert bans(store)[2:] == [Ban("*", third)], "the three oldest have become one"
    assert len(bans(store)) == 3
    assert look(store, "k", "*").marks == {"*": third}
    assert [item.entry.key for item in scan(store)] == ["new"]


def test_i3_what_was_folded_takes_back_no_younger_mark(store: RedisStore) -> None:
    store.bounds = LogBounds(bans=2)
    names = [marks.of_pattern("0*"), marks.of_pattern("1*"), marks.EVERYTHING]
    names.append(marks.of_pattern("2*"))
    _, second, third, fourth = (invalidate(store, name).sequence for name in names)
    assert bans(store) == [Ban("2*", fourth), Ban("*", second)]
    assert look(store, "k", "*").marks == {"*": third}


def test_i1_bans_are_forgotten_once_they_are_useless(pruning: Pruning, store: RedisStore) -> None:
    store.execute(Fill("k", b"1", 0.9))
    invalidate(store, marks.of_pattern("a*"))
    pruning.wait(350)
    invalidate(store, marks.of_pattern("b*"))
    assert [ban.pattern for ban in bans(store)] == ["b*", "a*"], "entries may live on"
    pruning.wait(1_000)
    invalidate(store, marks.of_pattern("c*"))
    assert [ban.pattern for ban in bans(store)] == ["c*"]


def test_i1_bans_are_kept_for_the_longest_lifetime(pruning: Pruning, store: RedisStore) -> None:
    store.execute(Fill("k", b"1", LONG))
    invalidate(store, marks.of_pattern("a*"))
    pruning.wait(350)
    invalidate(store, marks.of_pattern("b*"))
    assert [ban.pattern for ban in bans(store)] == ["b*", "a*"]
