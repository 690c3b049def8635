"""The log on Redis: its round trips, its losses, and for how long it keeps marks."""

import json
from typing import Any

import pytest
import redis

from tests.integration.stores.redis_stores import (
    CONTROL,
    STREAM,
    Pruning,
    redis_store,
)
from tests.support.counting import commands, round_trips
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tta_taskcache.core.entries import marks
from tta_taskcache.core.entries.entry import Position, pack
from tta_taskcache.stores.exchanges import log_state as state_module
from tta_taskcache.stores.protocol import (
    Command,
    Count,
    Fill,
    Look,
    Poll,
    Record,
    SetMarks,
)
from tta_taskcache.stores.redis.redis_store import LogBounds, RedisStore
from tta_taskcache.testing import make_entry
from tta_taskcache.testing.contract import (
    LONG,
    invalidate,
    look,
    poll,
    position,
    scan,
    totals,
)

pytestmark = pytest.mark.every_server_kind


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


def test_i5_a_trimmed_log_is_a_gap(store: RedisStore) -> None:
    store.bounds = LogBounds(length=10)
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
