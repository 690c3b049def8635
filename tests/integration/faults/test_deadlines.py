"""One deadline for an operation, and one way to the node with the log (F5, I4)."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from tests.support.servers import Server, take
from tests.support.topologies import ClusterServers
from tests.support.waiting import wait_until
from tta_taskcache.errors import NotReplicated, StoreUnavailable
from tta_taskcache.stores.connections import deadline
from tta_taskcache.stores.connections.connection import Link
from tta_taskcache.stores.protocol import ClientCall, Fill, SetMarks
from tta_taskcache.stores.redis.redis_store import RedisStore
from tta_taskcache.testing.contract import LONG, look

pytestmark = pytest.mark.one_server_kind

#: Seconds; what is done against it would take a minute.
TIMEOUT = 0.5


class Dripping:
    """A way to a server on which replies come drop by drop, each sooner than a timeout."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.closed = threading.Event()
        self._stopped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                for source, target, drips in ((client, server, False), (server, client, True)):
                    work = (source, target, drips)
                    threading.Thread(target=self._pass_on, args=work, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, drips: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                for start in range(0, len(data), 1_024):
                    target.sendall(data[start : start + 1_024])
                    if drips and len(data) > 10_000:
                        self._stopped.wait(TIMEOUT / 20)
        if not drips:
            self.closed.set()


@pytest.fixture
def dripping(redis_server: Server) -> Iterator[Dripping]:
    proxy = Dripping(redis_server.port)
    yield proxy
    proxy.stop()


def test_f5_a_reply_that_trickles_is_given_up_in_time(
    redis_server: Server, dripping: Dripping
) -> None:
    RedisStore(Link(redis_server.url(), 10.0), "ns").execute(Fill("k", b"x" * 3_000_000, LONG))
    store = RedisStore(Link(f"redis://127.0.0.1:{dripping.port}/0", TIMEOUT), "ns")
    assert look(store, "another").frame is None
    with pytest.raises(StoreUnavailable):
        look(store, "k")
    assert dripping.closed.wait(10), "its connection is closed"
    assert look(store, "another").frame is None


def test_f5_what_has_come_in_time_is_read_by_who_is_late(redis_server: Server) -> None:
    store = RedisStore(Link(redis_server.url(), TIMEOUT), "ns")

    def ask_and_be_late(client: Any) -> Any:
        connection = take(client.connection_pool)
        connection.send_command("PING")
        with suppress(TimeoutError):
            while True:
                deadline.remaining(None)
        try:
            return connection.read_response()
        finally:
            client.connection_pool.release(connection)

    assert store.execute(ClientCall(ask_and_be_late)) == b"PONG"


def test_f5_f3_a_deadline_that_was_left_behind_counts_for_nothing(redis_server: Server) -> None:
    """As by a time limit that strikes on the way out."""
    store = RedisStore(Link(redis_server.url(), TIMEOUT), "ns")

    def work() -> Any:
        left_behind = deadline.within(0.0)
        left_behind.__enter__()
        try:
            return look(store, "k")
        finally:
            left_behind.__exit__(None, None, None)

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(work).result().frame is None


def test_f5_names_that_are_not_resolved_are_given_up_in_time(
    redis_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, asked = threading.Event(), []
    resolve = socket.getaddrinfo

    def hang(host: Any, *args: Any, **options: Any) -> Any:
        if host == "slow.example":
            asked.append(host)
            hangs.wait(30)
            host = "127.0.0.1"
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    store = RedisStore(Link(f"redis://slow.example:{redis_server.port}/0", TIMEOUT), "ns")
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            look(store)
    assert asked == ["slow.example"], "a name server that hangs keeps one thread, not one a look"
    hangs.set()

    def is_back() -> bool:
        with suppress(StoreUnavailable):
            return look(store).position is not None
        return False

    wait_until(is_back, timeout=20, what="the name")


def test_i4_who_only_invalidates_finds_a_clusters_new_primary(
    cluster_servers: ClusterServers,
) -> None:
    """With ``wait_replicas``; an operator's swap, then a crash."""
    store = RedisStore(Link(cluster_servers.url, 5.0), "ns", replicas=1, patience=2.0)
    store.execute(SetMarks(("a",)))
    log = "ns:{log}:control"
    cluster_servers.failover(cluster_servers.owner(log))

    def is_acknowledged() -> bool:
        with suppress(NotReplicated):  # its replica isn't there yet
            store.execute(SetMarks(("a",)))
            return True
        return False

    wait_until(is_acknowledged, timeout=30, what="an invalidation that a replica has")
    cluster_servers.kill(cluster_servers.owner(log))
    with pytest.raises(NotReplicated, match="0 of 1"):
        store.execute(SetMarks(("a",)))
