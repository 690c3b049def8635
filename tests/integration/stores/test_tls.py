"""`rediss://` URLs: TLS on the way, with the server's certificate verified."""

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
from celery import Celery

from tests.support.servers import Server
from tta_taskcache import CachedTask, CachePrimitive, TaskCache

pytestmark = pytest.mark.one_server_kind

Runs = Callable[[str], int]


class Terminator:
    """Speaks TLS on a port of its own, and plainly with a server behind it."""

    def __init__(self, context: ssl.SSLContext, behind: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._behind = behind
        serving = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self._server = self._loop.run_until_complete(serving)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._behind)
        await asyncio.gather(_pass(reader, back), _pass(there, writer))

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._server.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def named() -> str:
    """Whom the server's certificate is for."""
    return "127.0.0.1"


@pytest.fixture
def tls(redis_server: Server, authority: trustme.CA, named: str) -> Iterator[int]:
    """The port of the server, by TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(named).configure_cert(context)
    terminator = Terminator(context, redis_server.port)
    yield terminator.port
    terminator.stop()


def runs_in_a_loop(url: str) -> int:
    """How often a function runs that two primitives of one name execute."""
    count: list[int] = []

    async def function(_data: object, _context: object) -> int:
        count.append(1)
        return 1

    async def main() -> None:
        for _ in range(2):
            async with CachePrimitive(
                function, name="tls", backend="redis", redis_url=url, timeout=5.0
            ) as cache:
                assert await cache.execute("data") == 1

    asyncio.run(main())
    return len(count)


def runs(url: str) -> int:
    """How often a task runs that is called twice."""
    app = Celery(broker="memory://", backend="cache+memory://", set_as_current=False)
    TaskCache(app, url, timeout=5.0, l1_max_entries=0)
    count: list[int] = []

    @app.task(base=CachedTask, shared=False, name="tls")
    def task() -> int:
        count.append(1)
        return 1

    assert [task.cache.call(), task.cache.call()] == [1, 1]
    return len(count)


in_both_worlds = pytest.mark.parametrize("runs", [runs, runs_in_a_loop])


@in_both_worlds
def test_f1_tls_with_a_trusted_certificate(
    tls: int, authority: trustme.CA, tmp_path: Path, runs: Runs
) -> None:
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    assert runs(f"rediss://127.0.0.1:{tls}/2?ssl_ca_certs={trusted}") == 1


@in_both_worlds
def test_f1_tls_with_a_certificate_of_somebody_else(tls: int, tmp_path: Path, runs: Runs) -> None:
    """Nothing is sent there; the call runs."""
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    assert runs(f"rediss://127.0.0.1:{tls}/2?ssl_ca_certs={other}") == 2


@in_both_worlds
@pytest.mark.parametrize("named", ["localhost"])
@pytest.mark.parametrize(("host", "count"), [("localhost", 1), ("127.0.0.1", 2)])
def test_f1_a_certificate_is_for_the_name_and_not_for_what_it_resolves_to(
    tls: int, authority: trustme.CA, tmp_path: Path, runs: Runs, host: str, count: int
) -> None:
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    options = f"ssl_ca_certs={trusted}&ssl_check_hostname=True"  # by default since redis-py 6
    assert runs(f"rediss://{host}:{tls}/2?{options}") == count
