"""What warming keeps in Redis, on every kind of server, by an ACL's user, and in a cluster."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.stores.test_acl import RULES
from tests.support.servers import Server, free_port
from tests.support.topologies import ClusterServers
from tta_taskcache.core.entries.entry import Position
from tta_taskcache.core.entries.lease import Claim, Stage
from tta_taskcache.core.events import CircuitChanged, Event, Refused
from tta_taskcache.errors import CircuitOpen, StoreRefused, StoreUnavailable
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.protocol import Look
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.stores.redis.warming_store import WarmingStore
from tta_taskcache.stores.wrappers.breaker import Breaker, GuardedStore

pytestmark = pytest.mark.every_server_kind


def aside_on(url: str) -> WarmingStore:
    return WarmingStore(RedisStore(Link(url, 10.0), "ns"), "ns")


@pytest.fixture
def aside(redis_server: Server) -> WarmingStore:
    return aside_on(redis_server.url())


def use(aside: WarmingStore) -> None:
    """Everything once."""
    aside.add_outcome("run", "one stored")
    aside.add_outcome("run", "two failed")
    assert aside.take_outcomes("run") == ["one stored", "two failed"]
    assert aside.take_outcomes("run") == []
    claim = Claim(owner="me", stage=Stage.QUEUED, ttl=60.0)
    looked: Any = aside.store.execute(Look("led", (), claim=claim))
    if looked.position is None:  # the log has just begun
        looked = aside.store.execute(Look("led", (), claim=claim))
    assert isinstance(looked.position, Position)
    assert aside.stages(["led", "idle", "other"]) == [Stage.QUEUED, None, None]
    aside.count_hot("t", [("k1", 1, "c1"), ("k2", 3, "c2")], 10)
    aside.count_hot("t", [("k3", 2, "c3")], 10)
    assert aside.hottest("t", 2) == ["c2", "c3"]
    assert aside.hottest("other", 2) == []
    assert aside.take_turn("s", 100.0, 9.0, "first").is_taken
    assert not aside.take_turn("s", 100.5, 9.0, "second").is_taken


def test_on_one_server(aside: WarmingStore) -> None:
    use(aside)


def test_by_a_user_with_the_rights_of_the_readme(server_factory: Callable[..., Server]) -> None:
    server = server_factory()
    rules = [rule.replace("~taskcache", "~ns") for rule in RULES]
    server.client().execute_command("ACL", "SETUSER", "cache", *rules)
    use(aside_on(server.url().replace("//", "//cache:p%40ss%3Aword@")))


@pytest.mark.one_server_kind
def test_in_a_cluster(cluster_servers: ClusterServers) -> None:
    use(aside_on(cluster_servers.url))


def test_f1_f2_its_faults_are_the_stores(redis_server: Server) -> None:
    events: list[Event] = []
    store = RedisStore(Link(f"redis://127.0.0.1:{free_port()}/0", 0.25), "ns")
    down = WarmingStore(GuardedStore(store, Breaker(events.append)), "ns")
    with pytest.raises(StoreUnavailable):
        down.add_outcome("run", "x")
    with pytest.raises(CircuitOpen):
        down.hottest("t", 1)
    assert [type(event) for event in events] == [CircuitChanged]
    events.clear()
    well = WarmingStore(
        GuardedStore(RedisStore(Link(redis_server.url(), 10.0), "ns"), Breaker(events.append)), "ns"
    )
    redis_server.client().set("ns:w:{run}", "somebody else's")
    with pytest.raises(StoreRefused):
        well.take_outcomes("run")
    assert [type(event) for event in events] == [Refused]


def test_counts_are_bounded_and_decay(aside: WarmingStore, redis_server: Server) -> None:
    aside.count_hot("t", [(f"k{n}", n + 1, f"c{n}") for n in range(20)], 10)
    client = redis_server.client()
    assert client.zcard("ns:h:{t}") == 10
    assert client.hlen("ns:hc:{t}") == 11, "no call without a count"
    assert aside.hottest("t", 2) == ["c19", "c18"]
    before = client.zscore("ns:h:{t}", "k19")
    client.hincrby("ns:hc:{t}", "decayed", -3600)
    aside.count_hot("t", [("k19", 1, "c19")], 10)
    assert client.zscore("ns:h:{t}", "k19") == pytest.approx(before / 2 + 1, rel=0.01)
    assert 0 < client.ttl("ns:h:{t}") <= 8 * 3600


def test_a_turn_is_taken_once(aside: WarmingStore) -> None:
    def take(name: str, at: float, owner: str) -> bool:
        return aside.take_turn(name, at, 9.0, owner).is_taken

    assert take("s", 100.0, "first")
    assert not take("s", 100.5, "second")
    assert not take("s", 99.5, "late")
    assert take("s", 100.0, "first"), "tried again, it is still its turn"
    assert take("s", 109.1, "third")
    assert not take("s", 100.5 + 9.0, "fourth")
    assert take("other", 109.2, "fifth")


def test_a_turn_may_have_been_taken_an_hour_before(aside: WarmingStore) -> None:
    aside.take_turn("s", 100_000.0, 50.0, "at two, in summer time")
    assert not aside.take_turn(
        "s", 102_600.0, 50.0, "a quarter to, in winter time", 99_000.0
    ).is_taken
    assert not aside.take_turn("s", 103_600.0, 50.0, "at two, in winter time", 100_000.0).is_taken
    assert aside.take_turn("s", 104_500.0, 50.0, "a quarter past", 100_900.0).is_taken
    assert aside.take_turn("s", 190_000.0, 50.0, "the next day").is_taken


def test_messages_out_of_order_say_by_how_much(aside: WarmingStore) -> None:
    assert aside.take_turn("s", 1_000.0, 54.0, "of one beat").late == 0
    assert aside.take_turn("s", 1_300.0, 54.0, "of another, ahead").late == 0
    assert aside.take_turn("s", 1_060.0, 54.0, "of one beat, again").late == pytest.approx(240)
