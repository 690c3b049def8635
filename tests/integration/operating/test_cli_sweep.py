"""`cache sweep`."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from tests.integration.operating.command_line import MODULE, Cli, entries, keys
from tests.support.proxy import Proxy
from tests.support.servers import Server
from tests.support.workers import ROOT, clean_environment
from tta_taskcache.cache.engine import sweeping
from tta_taskcache.stores.sweep_commands import SweepProgress

pytestmark = pytest.mark.one_server_kind


def swept(cli: Cli, batches: int = 0) -> SweepProgress:
    """Ask for a sweep, and do so much of it."""
    runtime, now = cli.cache.runtime, SweepProgress()
    runtime.run(sweeping.request())
    for _ in range(batches):
        now = runtime.run(sweeping.batch(runtime.engine, now))
    return now


def test_sweep(ended: Cli, redis_server: Server) -> None:
    done = ended("sweep")
    assert re.fullmatch(r"Swept \d+ keys: 300 entries dropped, [\d.]+kB freed\.\n", done.stdout)
    assert re.search(r"^100% (\d+)/\1 keys, 300 dropped, ", done.stderr, re.MULTILINE)
    assert "\x1b" not in done.stdout + done.stderr
    assert entries(redis_server) == len(keys(ended)) == 1
    again = ended.json("sweep")
    assert (again["dropped"], again["freed_bytes"]) == (0, 0)
    assert again["keys"] > 0


def test_sweep_takes_over_where_one_stands_still(ended: Cli, redis_server: Server) -> None:
    left = swept(ended, 1)
    assert left.cursor
    done = ended("sweep")
    assert done.returncode == 0, done.stderr
    assert "following it" in done.stderr
    assert "going on with it from here" in done.stderr
    assert "300 entries dropped" in done.stdout, "what was dropped before is counted"
    assert entries(redis_server) == 1


def test_sweep_takes_over_one_that_never_began(ended: Cli, redis_server: Server) -> None:
    swept(ended)
    assert ended.json("sweep")["dropped"] == 300
    assert entries(redis_server) == 1


def test_sweep_follows_another(ended: Cli, redis_server: Server) -> None:
    now, runtime = swept(ended, 1), ended.cache.runtime
    with started(ended, "sweep") as (process, told):
        told("following it")
        while not now.is_over:
            now = runtime.run(sweeping.batch(runtime.engine, now))
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "300 entries dropped" in output
    assert "going on with it" not in errors
    assert entries(redis_server) == 1


def test_sweep_interrupted_leaves_the_rest_to_the_next(ended: Cli, redis_server: Server) -> None:
    with Proxy(redis_server.port) as proxy, started(ended, "sweep", url=proxy.url(2)) as sweeps:
        proxy.delay(0.1)  # a batch then takes far longer than a signal
        process, told = sweeps
        told("/")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert re.search(r"^Error: interrupted at \d\d%; the next sweep goes on", errors, re.MULTILINE)
    assert "Traceback" not in errors
    left = entries(redis_server)
    assert 1 < left < 301
    done = ended("sweep")
    assert "going on with it from here" in done.stderr
    assert "300 entries dropped" in done.stdout
    assert entries(redis_server) == 1


def test_sweep_on_a_terminal(ended: Cli, redis_server: Server) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with started(ended, "sweep", stderr=theirs) as (process, _):
        os.close(theirs)
        drawn = b""
        with suppress(OSError):  # its other end is closed
            while part := os.read(ours, 4096):
                drawn += part
        output, _ = process.communicate(timeout=60)
    os.close(ours)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.decode())
    assert re.search(r"━ +100% (\d+)/\1 keys, 300 dropped, [\d.]+kB freed", text)
    assert all(len(line) < 80 for line in re.split(r"[\r\n]+", text))
    assert output.startswith("Swept ")
    assert entries(redis_server) == 1


def test_sweep_interrupted_while_it_follows(ended: Cli, redis_server: Server) -> None:
    swept(ended, 1)
    with started(ended, "sweep") as (process, told):
        told("following it")
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert re.search(r"^Error: interrupted at \d+%; it goes on without us$", errors, re.MULTILINE)
    assert "Traceback" not in errors
    assert ended.json("sweep")["dropped"] == 300
    assert entries(redis_server) == 1


@contextmanager
def started(
    cli: Cli, *args: str, url: str = "", stderr: int = subprocess.PIPE
) -> Iterator[tuple[subprocess.Popen[str], Callable[[str], None]]]:
    """The command, running; and what waits until it says something on stderr."""
    env = clean_environment(os.environ) | {"TERM": "xterm"} | cli.env
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", MODULE, "cache", *args],
        env=env | ({"TASKCACHE_URL": url} if url else {}),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )

    def told(words: str) -> None:
        assert process.stderr is not None
        assert any(words in line for line in process.stderr), words

    try:
        yield process, told
    finally:
        process.kill()
        process.communicate()
