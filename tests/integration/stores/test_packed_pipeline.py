"""Packed pipelines return what redis-py's return, however the network cuts replies."""

from select import select
from typing import Any

import pytest
import redis

from tests.support.servers import Server
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.connections.packed_pipeline import PackedPipeline

#: More than one read of a socket.
LARGE = bytes(range(256)) * 1_000


def queue(pipe: Any) -> None:
    pipe.set("k", LARGE, px=60_000)
    pipe.set("k", b"other", px=60_000, nx=True)
    pipe.get("k")
    pipe.get("none")
    pipe.eval("return {1, 'two', {}, false, 'r\\r\\n'}", 0)
    pipe.eval("return {KEYS[1], ARGV[1], ARGV[2]}", 1, "h", 1.5, "é")
    pipe.hmget("h", "a", "c", "b")
    pipe.hgetall("h")
    pipe.hgetall("none")
    pipe.xrange("s", min="-", max="+", count=10)
    pipe.pttl("none")
    pipe.delete("none")


def test_replies_are_those_of_redis_py(redis_server: Server) -> None:
    client = redis_server.client()
    client.hset("h", mapping={"a": 1.5, "b": "é"})
    for number in (1, 2):
        client.xadd("s", {"m": number, "n": ""}, id=f"{number}-1")
    link = Link(redis_server.url(), 5.0)
    theirs = link.client.pipeline(transaction=False)
    queue(theirs)
    expected = theirs.execute()
    for _ in range(3):  # the second time, replies are known
        ours = link.pipeline()
        assert isinstance(ours, PackedPipeline)
        queue(ours)
        assert ours.execute() == normal(expected)


def normal(replies: list[Any]) -> list[Any]:
    """What redis-py makes of ``OK``, undone."""
    first, *others = replies
    assert first is True
    return [b"OK", *others]


def test_a_changed_reply_is_read_anew(redis_server: Server) -> None:
    client, link = redis_server.client(), Link(redis_server.url(), 5.0)
    for value in (b"1", b"1", b"22", b"1"):
        client.hset("h", "a", value)
        pipe = link.pipeline()
        pipe.hmget("h", "a")
        pipe.hmget("h", "none", "a")
        assert pipe.execute() == [[value], [None, value]]


def test_an_error_leaves_the_connection_clean(redis_server: Server) -> None:
    client, link = redis_server.client(), Link(redis_server.url(), 5.0)
    client.set("k", "v")
    before = connections_received(client)
    for _ in range(2):
        pipe = link.pipeline()
        pipe.hgetall("k")
        pipe.get("k")
        with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
            pipe.execute()
    pipe = link.pipeline()
    pipe.get("k")
    assert pipe.execute() == [b"v"]
    assert connections_received(client) == before + 1


def connections_received(client: redis.Redis) -> int:
    return int(client.info("stats")["total_connections_received"])


@pytest.mark.parametrize("dirty", [True, False])
def test_f3_what_redis_py_has_left_unread_is_not_taken_for_a_reply(
    redis_server: Server, dirty: bool
) -> None:
    link = Link(redis_server.url(), 5.0)
    pool: Any = link.client.connection_pool
    connection = pool.take()
    if dirty:
        connection.send_command("ECHO", "stray")
        assert connection.can_read(5.0)
    pool.give_back(connection)
    pipe = link.pipeline()
    pipe.get("none")
    assert pipe.execute() == [None]


def test_f3_replies_that_redis_py_left_unread_after_an_exchange(redis_server: Server) -> None:
    link = Link(redis_server.url(), 5.0)
    pipe = link.pipeline()
    pipe.get("none")
    assert pipe.execute() == [None]
    (connection,) = link.client.connection_pool._available_connections
    connection.send_command("ECHO", "stray")
    assert select([connection._sock.fileno()], [], [], 5.0)[0]
    pipe = link.pipeline()
    pipe.get("none")
    assert pipe.execute() == [None]


def test_f3_an_exchange_interrupted_twice_leaves_no_reply_to_the_next_one(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = Link(redis_server.url(), 5.0)
    connection: Any = link.client.connection_pool.take()
    connection.connect()
    link.client.connection_pool.give_back(connection)

    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(connection, "read_replies", interrupted)
        patched.setattr(connection, "disconnect", interrupted)
        # The reply is late: at the next take there is nothing to be read yet.
        patched.setattr(connection, "can_read", lambda *_: False)
        pipe = link.pipeline()
        pipe.eval("return 'of the first'", 0)
        with pytest.raises(KeyboardInterrupt):
            pipe.execute()
    with monkeypatch.context() as patched:
        patched.setattr(connection, "can_read", lambda *_: False)
        pipe = link.pipeline()
        pipe.get("none")
        assert pipe.execute() == [None]
