"""A network that can be broken: a TCP proxy on 127.0.0.1 in front of a server."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self, TypeVar

HOST = "127.0.0.1"
CHUNK = 64 * 1024
# What its own thread may take to do something. It never waits for a peer.
PROMPTLY = 10.0

T = TypeVar("T")


@dataclass(slots=True)
class Traffic:
    """What went through, since the start.

    Attributes:
        connections: How many were accepted.
        requests: Bytes passed on to the server.
        replies: Bytes passed on to clients.
        dropped: Bytes of replies that vanished.
    """

    connections: int = 0
    requests: int = 0
    replies: int = 0
    dropped: int = 0


class _Link:
    """One connection of a client, and ours to the server for it."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.task: asyncio.Task[None] | None = None
        self.lost_replies = False

    def end(self, *, reset: bool) -> None:
        for writer in self.writers:
            if reset:
                # Lingering for no time is what makes the kernel send RST instead of FIN.
                raw = writer.get_extra_info("socket")
                with suppress(OSError):  # its peer has ended it meanwhile
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        if self.task is not None:
            self.task.cancel()


class Proxy:
    """A proxy for the server on `port`: `with Proxy(server.port) as proxy: connect(proxy.url())`.

    It passes everything on until it is told otherwise; `heal()` makes it well again. All methods
    may be called from any thread, and have taken effect when they return. It ends with its block,
    and all connections with it.

    Attributes:
        port: Where it listens, from start to stop the same.
        traffic: What went through so far.
    """

    def __init__(self, port: int) -> None:
        self.port = 0
        self.traffic = Traffic()
        self._server_port = port
        self._links: set[_Link] = set()
        self._listener: asyncio.Server | None = None
        self._moving = asyncio.Event()
        self._stopping = asyncio.Event()
        self._delay = 0.0
        self._dropping = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.heal()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def connections(self) -> int:
        """How many are open now, frozen ones too."""
        return len(self._links)

    def url(self, db: int = 0) -> str:
        return f"redis://{HOST}:{self.port}/{db}"

    def cut(self, *, reset: bool = True) -> None:
        """End all connections: with RST, as a host that lost its state, or with FIN."""
        self._do(lambda: self._end_links(list(self._links), reset=reset))

    def refuse(self) -> None:
        """Refuse new connections; open ones go on."""
        self._do(self._unlisten)

    def accept(self) -> None:
        """Accept new connections again."""
        self._wait_for(self._listen())

    def freeze(self) -> None:
        """Let no byte pass, in either direction, and tell nobody: as a network that lost its way.

        Open connections stay, new ones are accepted; whatever either side sends or closes reaches
        the other when `thaw` is called.
        """
        self._do(self._moving.clear)

    def thaw(self) -> None:
        self._do(self._moving.set)

    def delay(self, seconds: float) -> None:
        """Pass everything on so much later, in each direction; 0 for at once."""

        def set_delay() -> None:
            self._delay = seconds

        self._do(set_delay)

    def drop_replies(self) -> None:
        """Let replies vanish: the server executes what is asked, and nobody hears of it."""
        self._do(lambda: self._set_dropping(True))

    def pass_replies(self) -> None:
        """Pass replies on again, and reset the connections that lost some.

        TCP loses no bytes in the middle of a connection: without, later replies would be taken for
        those that were lost.
        """
        self._do(lambda: self._set_dropping(False))

    def heal(self) -> None:
        """Undo all of that."""
        self.delay(0.0)
        self.pass_replies()
        self.thaw()
        self.accept()

    def stop(self) -> None:
        """End it, and all its connections."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join(PROMPTLY)
            if self._thread.is_alive():
                raise TimeoutError("the thread of the proxy doesn't end")

    # From here on all happens in its own thread, except for _do and _wait_for.

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        await self._stopping.wait()
        self._unlisten()
        links = list(self._links)
        self._end_links(links, reset=True)
        await asyncio.gather(*(link.task for link in links if link.task), return_exceptions=True)

    def _do(self, action: Callable[[], T]) -> T:
        async def act() -> T:
            return action()

        return self._wait_for(act())

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PROMPTLY)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._accepted, HOST, self.port)
            self.port = self._listener.sockets[0].getsockname()[1]

    def _unlisten(self) -> None:
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _set_dropping(self, dropping: bool) -> None:
        self._dropping = dropping
        if not dropping:
            self._end_links([link for link in self._links if link.lost_replies], reset=True)

    def _end_links(self, links: list[_Link], *, reset: bool) -> None:
        self._links.difference_update(links)
        for link in links:
            link.end(reset=reset)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.traffic.connections += 1
        link = _Link(writer)
        self._links.add(link)
        link.task = self._loop.create_task(self._connect(link, reader, writer))

    async def _connect(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            await self._moving.wait()
            answers, server = await asyncio.open_connection(HOST, self._server_port)
            link.writers.append(server)
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pass_on(reader, server, self._note_request))
                pumps.create_task(self._pass_on(answers, writer, lambda n: self._note(link, n)))
        except* OSError:
            link.end(reset=True)  # one end is gone, the other shall know
        finally:
            self._end_links([link], reset=False)

    async def _pass_on(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        passes: Callable[[int], bool],
    ) -> None:
        while chunk := await source.read(CHUNK):
            await asyncio.sleep(self._delay)
            await self._moving.wait()
            if passes(len(chunk)):
                target.write(chunk)
                await target.drain()
        await self._moving.wait()
        target.write_eof()

    def _note_request(self, size: int) -> bool:
        self.traffic.requests += size
        return True

    def _note(self, link: _Link, size: int) -> bool:
        link.lost_replies |= self._dropping
        if link.lost_replies:
            self.traffic.dropped += size
        else:
            self.traffic.replies += size
        return not link.lost_replies
