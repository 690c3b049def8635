"""Redis mistreated: wrong types, garbage, dead, hanging and full servers."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from tests.integration.stores.redis_stores import (
    CONTROL,
    STREAM,
    WRONG_TYPES,
    guarded,
    redis_store,
)
from tests.support.servers import Server, take
from tta_taskcache.core.entries.entry import pack
from tta_taskcache.errors import StoreRefused, StoreUnavailable
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.protocol import (
    Count,
    Fill,
    Look,
    Poll,
    Scan,
    SetMarks,
)
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.testing import make_entry
from tta_taskcache.testing.contract import (
    LONG,
    look,
    position,
    scan,
)

pytestmark = pytest.mark.every_server_kind


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
    read, strikes = connection.read_replies, iter([True])

    def struck(*args: Any, **kwargs: Any) -> Any:
        if next(strikes, False):
            raise Struck
        return read(*args, **kwargs)

    connection.read_replies = struck
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
