"""F1: a connection that ends while a reply is awaited is opened again once, on every redis-py."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from inspect import signature
from typing import Any

import pytest
from redis.connection import AbstractConnection

from tests.support.servers import Server
from tta_taskcache.stores.connections.connection import Link

pytestmark = pytest.mark.one_server_kind


class HangingUp:
    """A way to a server that ends the connection on which something is asked next, when told to."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._next = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def hang_up_next(self) -> None:
        self._next.set()

    def stop(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                for source, target in ((client, server), (server, client)):
                    is_asked = source is client
                    work = (source, target, is_asked)
                    threading.Thread(target=self._pass_on, args=work, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_asked: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if is_asked and self._next.is_set():
                    self._next.clear()
                    break
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def hanging_up(redis_server: Server) -> Iterator[HangingUp]:
    way = HangingUp(redis_server.port)
    yield way
    way.stop()


def pipeline(client: Any) -> Any:
    pipe = client.pipeline(transaction=False)
    pipe.get("k")
    return pipe.execute()[0]


#: Up to redis-py 4, whose connections speak one protocol, a pipeline repeats timeouts only.
REPEATS = "protocol" in signature(AbstractConnection).parameters


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda client: client.get("k"), id="get"),
        pytest.param(
            pipeline,
            id="pipeline",
            marks=pytest.mark.skipif(not REPEATS, reason="since redis-py 5"),
        ),
    ],
)
def test_f1_what_ends_while_a_reply_is_awaited_is_asked_again(
    hanging_up: HangingUp, ask: Callable[[Any], Any]
) -> None:
    link = Link(hanging_up.url, 10.0)
    link.client.set("k", "1")
    hanging_up.hang_up_next()
    assert ask(link.client) == b"1"
