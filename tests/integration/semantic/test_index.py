"""The index in Redis, its copies, and what a neighbour's entry has to be to answer."""

# ruff: noqa: ARG005 - the signatures are what users write

from typing import Any

import pytest
import redis

from tests.integration.engine.process import DELTA, Process
from tests.integration.semantic.harness import PARTITION, SemanticProcess, embed
from tta_taskcache.cache.outcome import Hit
from tta_taskcache.semantic.index import IndexBounds
from tta_taskcache.stores.memory.memory_store import MemoryStore
from tta_taskcache.testing import FakeClock

pytestmark = pytest.mark.every_server_kind

OTHER = "q" * 32
RECORDS = f"ns:v:{{{PARTITION}}}:records"
USES = f"ns:v:{{{PARTITION}}}:uses"


def test_a_stored_call_answers_the_next_of_its_neighbours_everywhere(begin: Any) -> None:
    here, there = begin(), begin()
    here.store("cats are what?", "pets")
    assert here.answer("cats - what are they?") == "pets"
    found = there.find("cats - what are they?")
    assert found.hit is not None
    assert found.hit.value == "pets"
    assert found.hit.matched == "cats are what?"
    assert 0.9 < found.hit.similarity < 1
    assert there.answer("dogs - what are they?") is None


def test_partitions_are_apart(begin: Any) -> None:
    here = begin()
    here.store("cats are what?", "pets")
    assert here.answer("cats - what are they?", partition=OTHER) is None
    here.store("cats?", "other", partition=OTHER)
    assert here.answer("cats - what are they?", partition=OTHER) == "other"
    assert here.answer("cats - what are they?") == "pets"


def test_a_copy_lags_by_no_more_than_the_staleness(begin: Any, clock: FakeClock) -> None:
    here, there = begin(), begin()
    assert there.answer("cats?") is None
    here.store("cats are what?", "pets")
    clock.advance(DELTA * 0.9)
    assert there.answer("cats?") is None
    clock.advance(DELTA * 0.2)
    assert there.answer("cats?") == "pets"


@pytest.mark.parametrize("how", ["tags", "key", "task", "pattern"])
def test_an_ended_entry_is_nobodys_neighbour(
    begin: Any, client: redis.Redis, clock: FakeClock, how: str
) -> None:
    here, there = begin(), begin()
    call = here.store("cats are what?", "pets", tags=("animals",))
    assert there.answer("cats?") == "pets"
    names = {"tags": "g:animals", "key": f"k:{call.key}", "task": "t:t", "pattern": "b:t:pppp:*"}
    there.process.invalidate(names[how])
    clock.advance(DELTA * 1.1)
    assert here.answer("cats?") is None
    assert there.answer("cats?") is None
    client.zadd(USES, dict.fromkeys(client.zrange(USES, 0, -1), 1))  # added long ago
    clock.advance(DELTA * 1.1)
    here.find("cats?")
    assert client.hlen(RECORDS) == client.zcard(USES) == 0  # the record is withdrawn, too


def test_the_tags_of_the_call_count_as_well(
    begin: Any, client: redis.Redis, clock: FakeClock
) -> None:
    here = begin()
    here.store("cats are what?", "pets")
    here.process.invalidate("g:user")
    clock.advance(DELTA * 1.1)
    assert here.answer("cats?", tags=("user",)) is None
    assert here.answer("cats?") == "pets"
    client.zadd(USES, dict.fromkeys(client.zrange(USES, 0, -1), 1))  # added long ago
    clock.advance(DELTA * 1.1)
    assert here.answer("cats?") == "pets"  # its record wasn't withdrawn


def test_a_call_that_runs_again_keeps_its_record(begin: Any, clock: FakeClock) -> None:
    """Though another process has just found that its entry had ended."""
    here, there = begin(), begin()
    here.store("cats are what?", "pets", tags=("animals",))
    assert there.answer("cats?") == "pets"
    here.process.invalidate("g:animals")
    clock.advance(DELTA * 1.1)
    assert there.answer("cats?") is None
    here.store("cats are what?", "more pets", tags=("animals",))
    clock.advance(DELTA * 1.1)
    assert there.answer("nobody?") is None  # tells of the end
    clock.advance(DELTA * 1.1)
    assert there.answer("cats?") == here.answer("cats?") == "more pets"


def test_an_embedder_with_other_dimensions_starts_over(begin: Any, clock: FakeClock) -> None:
    here = begin()
    here.store("cats are what?", "pets")
    shorter = {"embed": lambda texts: [vector[:16] for vector in embed(texts)], "embedder": "toy"}
    there = begin(**shorter)
    assert there.answer("cats?") is None
    there.store("cats, or what?", "more pets")
    clock.advance(DELTA * 1.1)
    assert there.answer("cats?") == "more pets"
    assert here.answer("cats?") == "pets"


def test_what_answers_is_fresh_and_new_enough(begin: Any, client: redis.Redis) -> None:
    """An entry ages in Redis: by so much its time to live is less."""
    stored = begin().store("cats are what?", "pets", ttl=20, stale_while_revalidate=1000.0)
    options = {"ttl": 20, "stale_while_revalidate": 1000.0}

    def answers(**semantic: Any) -> tuple[Any, list[str]]:
        found = begin(**semantic).find("cats?", **options)
        return found.hit and found.hit.value, [near.reason for near in found.judged]

    def age(seconds: int) -> None:
        name = f"ns:e:{{{stored.key}}}"
        assert client.pexpire(name, client.pttl(name) - seconds * 1000)

    assert answers(max_age=10) == ("pets", [""])
    age(15)
    assert answers(max_age=10) == (None, ["too-old"])
    assert answers() == ("pets", [""])
    age(10)
    assert answers() == (None, ["stale"])
    # The call whose entry it is takes it: stale entries answer their own calls.
    assert isinstance(begin().exact(stored), Hit)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"threshold": 0.999}, "below-threshold"),
        ({"equal": lambda asked, stored: False}, "equal"),
        ({"equal": lambda asked, stored: 1 / 0}, "equal: failed"),
        ({"guard": lambda asked, stored: "colours"}, "guard: colours"),
        ({"guard": lambda asked, stored: 1 / 0}, "guard: failed"),
    ],
)
def test_a_veto_says_why(begin: Any, options: dict[str, Any], reason: str) -> None:
    here, strict = begin(), begin(**options)
    here.store("cats are what?", "pets")
    found = strict.find("cats?")
    assert found.hit is None
    assert [near.reason for near in found.judged] == [reason]
    assert here.answer("cats?") == "pets"


def test_the_next_nearest_answers_when_the_nearest_may_not(begin: Any) -> None:
    here = begin()
    texts = ["cats are what?", "cats, please", "cats!"]
    for text in texts:
        here.store(text)
    order = [near.text for near in begin(threshold=0.9999).find("cats?").judged]
    assert sorted(order) == sorted(texts)
    choosy = begin(equal=lambda asked, stored: stored != order[0])
    assert choosy.answer("cats?") == order[1]


def test_the_least_recently_used_leave_first(
    begin: Any, client: redis.Redis, clock: FakeClock
) -> None:
    here = begin(max_entries=3)
    for name in ("ants", "bees", "cats"):
        here.store(f"{name} are what?", name)
        clock.advance(DELTA * 1.1)
        here.answer("nobody?")
    client.zadd(USES, dict.fromkeys(client.zrange(USES, 0, -1), 1))  # all as old
    assert here.answer("ants?") == "ants"
    clock.advance(DELTA * 1.1)
    here.answer("nobody?")  # tells of the use
    here.store("dogs are what?", "dogs")
    here.store("eels are what?", "eels")
    clock.advance(DELTA * 1.1)
    assert client.hlen(RECORDS) == 3
    assert [here.answer(f"{name}?") for name in ("ants", "bees", "cats", "dogs", "eels")] == [
        "ants", None, None, "dogs", "eels"
    ]  # fmt: skip


def test_a_lost_index_is_empty_and_a_long_absence_reloads(
    begin: Any, client: redis.Redis, clock: FakeClock
) -> None:
    here, there = begin(bounds=IndexBounds(max_changes=10)), begin()
    here.store("cats are what?", "pets")
    assert there.answer("cats?") == "pets"
    for name in client.scan_iter("ns:v:*"):
        client.delete(name)
    clock.advance(DELTA * 1.1)
    assert there.answer("cats?") is None
    for number in range(300):
        here.store(f"x{number} is what?", number)
    clock.advance(DELTA * 1.1)
    assert there.answer("x7 is?") == 7  # whose change is in the stream no more
    assert there.answer("x299 is?") == 299


def test_a_large_partition_is_loaded_piece_by_piece(begin: Any) -> None:
    here = begin()
    for number in range(700):
        query = here.query(f"x{number} is what?")
        here.add(query)
    one_piece_a_call = IndexBounds(loaded_at_once=50, loading=-1.0)
    there = begin(bounds=one_piece_a_call)
    copy = there.neighbours.copies.of(PARTITION)
    pieces = 0
    while copy.cursor is not None or not pieces:
        there.find("nobody?")
        pieces += 1
    assert len(copy) == 700
    assert pieces > 5


def test_x2_without_the_secret_nobody_makes_a_neighbour(begin: Any, client: redis.Redis) -> None:
    here, forger = begin(secret=b"secret"), begin(secret=b"")
    here.store("cats are what?", "pets")
    own = here.query("cats are what?")
    # The entry is there, and another partition's record says that it fits.
    forger.add(forger.query("dogs are what?", partition=OTHER))
    (record,) = client.hvals(f"ns:v:{{{OTHER}}}:records")
    client.hset(RECORDS, own.call.key, record)
    client.hdel(RECORDS, "nothing")
    reader = begin(secret=b"secret")
    assert reader.answer("dogs?") is None
    assert reader.answer("cats?") is None  # its record was overwritten
    assert here.process.look(own.call).value == "pets"


def test_a_record_of_another_partition_is_none_here(begin: Any, client: redis.Redis) -> None:
    here = begin()
    here.store("cats are what?", "pets", partition=OTHER)
    here.store("dogs are what?", "more pets")
    for key, record in client.hgetall(f"ns:v:{{{OTHER}}}:records").items():
        client.hset(RECORDS, key, record)
    assert begin().answer("cats?") is None


def test_memory_alone_keeps_an_index_of_its_own(clock: FakeClock) -> None:
    store = MemoryStore(100, 1_000_000, clock)
    here = SemanticProcess(Process(store, clock), namespace=None, max_entries=2)
    here.store("ants are what?", "ants")
    here.store("bees are what?", "bees")
    assert here.answer("ants?") == "ants"
    here.store("cats are what?", "cats")
    assert [here.answer(f"{name}?") for name in ("ants", "bees", "cats")] == ["ants", None, "cats"]
