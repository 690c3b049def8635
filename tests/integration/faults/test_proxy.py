"""The broken network that chaos runs use: what it says it does is what clients see."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.waiting import wait_until

pytestmark = pytest.mark.one_server_kind

Connect = Callable[..., redis.Redis]


@pytest.fixture
def redis_server(server_factory: Callable[[], Server]) -> Server:
    """One of its own: its clients are counted."""
    return server_factory()


@pytest.fixture
def proxy(redis_server: Server) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


@pytest.fixture
def connect(proxy: Proxy) -> Iterator[Connect]:
    """`connect(**options)`: a client through the proxy, with one connection and no retries."""
    made: list[redis.Redis] = []

    def make(**options: Any) -> redis.Redis:
        fixed = {"single_connection_client": True, "retry": Retry(NoBackoff(), 0)}
        made.append(redis.Redis.from_url(proxy.url(3), **fixed | {"socket_timeout": 5} | options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def raw(proxy: Proxy) -> socket.socket:
    """A connection that has been through to the server."""
    plain = socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
    plain.sendall(b"PING\r\n")
    assert plain.recv(100) == b"+PONG\r\n"
    return plain


def test_passes_everything_on(redis_server: Server, proxy: Proxy, connect: Connect) -> None:
    client = connect()
    value = bytes(range(256)) * 40_000
    assert client.set("k", value)
    assert client.get("k") == redis_server.client(3).get("k") == value
    traffic = proxy.traffic
    assert traffic.connections == proxy.connections == 1
    assert traffic.requests > len(value)
    assert traffic.replies > len(value)
    assert traffic.dropped == 0


def test_a_closed_connection_is_closed_at_the_other_end(
    redis_server: Server, proxy: Proxy, connect: Connect
) -> None:
    admin = redis_server.client()
    before = admin.info("clients")["connected_clients"]
    client = connect()
    client.ping()
    assert admin.info("clients")["connected_clients"] == before + 1
    client.close()
    wait_until(lambda: admin.info("clients")["connected_clients"] == before)
    wait_until(lambda: proxy.connections == 0)
    with raw(proxy) as plain:
        admin.client_kill_filter(_type="normal", skipme=True)
        assert plain.recv(100) == b""
    wait_until(lambda: proxy.connections == 0)


@pytest.mark.parametrize("reset", [True, False])
def test_cut_ends_connections_with_rst_or_fin(proxy: Proxy, reset: bool) -> None:
    with raw(proxy) as plain:
        proxy.cut(reset=reset)
        assert proxy.connections == 0
        if reset:
            with pytest.raises(ConnectionResetError):
                plain.recv(100)
        else:
            assert plain.recv(100) == b""
    with raw(proxy):
        assert proxy.traffic.connections == 2


@pytest.mark.parametrize("reset", [True, False])
def test_cut_ends_what_the_server_sees(redis_server: Server, proxy: Proxy, reset: bool) -> None:
    admin = redis_server.client()
    before = admin.info("clients")["connected_clients"]
    with raw(proxy):
        assert admin.info("clients")["connected_clients"] == before + 1
        proxy.cut(reset=reset)
        wait_until(lambda: admin.info("clients")["connected_clients"] == before)


def test_refuses_new_connections_only(proxy: Proxy, connect: Connect) -> None:
    client, port = connect(), proxy.port
    client.ping()
    proxy.refuse()
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        raw(proxy)
    assert client.ping()
    proxy.accept()
    proxy.accept()
    assert proxy.port == port
    with raw(proxy):
        assert client.ping()


def test_frozen_nothing_moves_and_nothing_is_lost(
    redis_server: Server, proxy: Proxy, connect: Connect
) -> None:
    admin = redis_server.client(3)
    with raw(proxy) as old:
        proxy.freeze()
        old.settimeout(0.1)
        old.sendall(b"SELECT 3\r\nINCR n\r\n")
        with pytest.raises(TimeoutError):
            old.recv(100)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=0.1) as new:
            new.sendall(b"SELECT 3\r\nINCR n\r\n")
            with pytest.raises(TimeoutError):
                new.recv(100)
            assert admin.get("n") is None
            assert proxy.connections == 2
            proxy.thaw()
            wait_until(lambda: admin.get("n") == b"2")
            for plain in (old, new):
                plain.settimeout(5)
                assert plain.recv(100).startswith(b"+OK\r\n")


def test_what_a_client_sent_before_it_gave_up_is_executed_after_the_thaw(
    redis_server: Server, proxy: Proxy, connect: Connect
) -> None:
    client = connect(socket_timeout=0.1)
    client.ping()
    proxy.freeze()
    with pytest.raises(redis.TimeoutError):
        client.set("late", 1)
    client.close()
    admin = redis_server.client(3)
    assert admin.get("late") is None
    proxy.thaw()
    wait_until(lambda: admin.get("late") == b"1")
    wait_until(lambda: proxy.connections == 0)


def test_cut_reaches_frozen_connections(proxy: Proxy) -> None:
    with raw(proxy) as old:
        proxy.freeze()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as new:
            wait_until(lambda: proxy.connections == 2)
            proxy.cut()
            for plain in (old, new):
                with pytest.raises(ConnectionResetError):
                    plain.recv(100)
        proxy.thaw()
    assert proxy.connections == 0


def test_delays_both_ways(proxy: Proxy, connect: Connect) -> None:
    client = connect(socket_timeout=0.1)
    client.ping()
    proxy.delay(0.3)
    with pytest.raises(redis.TimeoutError):
        client.ping()
    proxy.delay(0)
    assert client.ping()


def test_replies_vanish_and_commands_are_executed(
    redis_server: Server, proxy: Proxy, connect: Connect
) -> None:
    client, admin = connect(socket_timeout=0.1), redis_server.client(3)
    client.ping()
    proxy.drop_replies()
    with pytest.raises(redis.TimeoutError):
        client.incr("n")
    wait_until(lambda: admin.get("n") == b"1")
    wait_until(lambda: proxy.traffic.dropped > 0)


def test_no_reply_is_taken_for_one_that_was_lost(proxy: Proxy, connect: Connect) -> None:
    with raw(proxy) as plain:
        proxy.drop_replies()
        plain.sendall(b"ECHO lost\r\n")
        wait_until(lambda: proxy.traffic.dropped > 0)
        proxy.pass_replies()
        with pytest.raises(ConnectionResetError):
            plain.recv(100)


def test_heals_from_everything(proxy: Proxy, connect: Connect) -> None:
    proxy.freeze()
    proxy.refuse()
    proxy.delay(60)
    proxy.drop_replies()
    proxy.heal()
    assert connect().ping()


def test_a_dead_server_ends_its_connections(
    server_factory: Callable[..., Server], request: pytest.FixtureRequest
) -> None:
    server = server_factory()
    with Proxy(server.port) as proxy:
        with raw(proxy) as plain:
            server.kill()
            assert plain.recv(100) == b""
        with pytest.raises(ConnectionError):
            raw(proxy)
        wait_until(lambda: proxy.connections == 0)
        server.restart()
        with raw(proxy):
            pass


def test_threads_may_all_use_it_at_once(proxy: Proxy) -> None:
    def work(number: int) -> None:
        with redis.Redis.from_url(proxy.url(), retry=Retry(NoBackoff(), 50)) as client:
            for _ in range(30):
                if number:
                    client.ping()
                else:
                    proxy.cut()
                    proxy.freeze()
                    proxy.thaw()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    wait_until(lambda: proxy.connections == 0)


@pytest.mark.parametrize("state", [Proxy.freeze, Proxy.refuse, Proxy.drop_replies, Proxy.heal])
def test_leaves_nothing_behind(redis_server: Server, state: Callable[[Proxy], None]) -> None:
    admin = redis_server.client()
    connected = admin.info("clients")["connected_clients"]
    threads = threading.active_count()
    with Proxy(redis_server.port) as proxy, raw(proxy) as plain:
        state(proxy)
        proxy.stop()
        with pytest.raises(ConnectionResetError):
            plain.recv(100)
    proxy.stop()
    assert threading.active_count() == threads
    wait_until(lambda: admin.info("clients")["connected_clients"] == connected)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", proxy.port), timeout=5)
