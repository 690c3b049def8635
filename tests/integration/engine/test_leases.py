"""The engine, leases: who computes, and what ends it (C1, C3)."""

import pytest
import redis

from tests.integration.engine.process import ENTRY, Process, Start, call, claim, write_garbage
from tests.support.counting import round_trips
from tests.support.servers import Server
from tta_taskcache.cache.engine.new_entry import MAX_RUN
from tta_taskcache.cache.engine.writer import UNSHARED_FOR
from tta_taskcache.cache.outcome import Call, Miss
from tta_taskcache.cache.plan import run
from tta_taskcache.core.entries.lease import Holding, Lease, Stage
from tta_taskcache.core.events import Filled
from tta_taskcache.errors import CircuitOpen
from tta_taskcache.stores.protocol import (
    Fill,
    Look,
    Release,
)
from tta_taskcache.testing import FaultyStore
from tta_taskcache.testing.contract import position

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
    filled = here.filled()
    assert filled == Filled("t", "t:k", filled.size, "lease-lost", filled.seconds)
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
    assert 0 < lease.remaining <= UNSHARED_FOR
    other.invalidate("t:t")
    assert other.claim("b").is_ours, "the next results may be others"


def test_r1b_what_took_too_long_to_be_stored_is_not_waited_for(here: Process) -> None:
    miss = here.look(claim=claim("a"))
    assert isinstance(miss, Miss)
    long = MAX_RUN + 1
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
