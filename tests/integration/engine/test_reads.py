"""The engine, reading: what is served, at which price (R1 to R5)."""

import pickle
from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.integration.engine.process import (
    DELTA,
    ENTRY,
    Process,
    Start,
    call,
    frame,
    write_garbage,
)
from tests.support.counting import round_trips
from tests.support.servers import Server
from tta_taskcache.cache.outcome import Hit, Miss
from tta_taskcache.core.entries.entry import Position, pack
from tta_taskcache.core.events import Filled, Lookup
from tta_taskcache.core.results.codec import Codecs, Serializer
from tta_taskcache.testing import make_entry

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


class Bomb:
    exploded = False

    def __reduce__(self) -> Any:
        return explode, ()


def explode() -> None:
    Bomb.exploded = True


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
