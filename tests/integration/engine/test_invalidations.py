"""The engine, invalidations: what is never served again (I1 to I5)."""

import pytest
import redis

from tests.integration.engine.process import DELTA, Process, Start, call, claim
from tests.support.counting import round_trips
from tests.support.servers import Server
from tta_taskcache.cache.outcome import Miss
from tta_taskcache.core.entries import marks
from tta_taskcache.core.events import Invalidated
from tta_taskcache.errors import StoreUnavailable
from tta_taskcache.stores.protocol import (
    Command,
    ReadBans,
    Reply,
    SetMarks,
)
from tta_taskcache.stores.redis.redis_store import LogBounds, RedisStore
from tta_taskcache.testing import FaultyStore

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


def test_i1_a_ban_that_was_folded_while_bans_are_read(start: Start, here: Process) -> None:
    """What the oldest has ended stays ended, when one too many comes behind the look."""
    here.store_value("old")
    another = start()
    another.store.bounds = LogBounds(bans=2)
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


def test_i4_an_invalidation_that_was_not_acknowledged_raises(here: Process) -> None:
    faulty = FaultyStore(here.store)
    here.store = faulty
    faulty.fail(SetMarks, times=1)
    with pytest.raises(StoreUnavailable):
        here.invalidate("*")
    assert not any(isinstance(event, Invalidated) for event in here.events)
