"""`make demo`, a smaller one: it keeps its promises, shows them, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, clean_environment

pytestmark = pytest.mark.one_server_kind

TIMEOUT = 300
PARTS = (
    "1. A skewed stream of requests",
    "2. A hit while both processes of the pool are busy",
    "3. A chain of cached steps",
    "4. Invalidation",
)


class Demo:
    """A running demo, and all processes that were ever seen below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder.parent / "output"
        with self.output.open("w") as output:
            self._popen = subprocess.Popen(
                [sys.executable, "-m", "examples.analysis.demo", "--quick"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=clean_environment(os.environ) | {"TMPDIR": str(folder)},
                cwd=ROOT,
            )
        self.seen: set[psutil.Process] = set()

    @property
    def text(self) -> str:
        return self.output.read_text()

    def watch(self, until: Callable[[], bool]) -> None:
        """Note its processes until the condition is true."""

        def look() -> bool:
            if self._popen.poll() is None:
                self.seen.update(psutil.Process(self._popen.pid).children(recursive=True))
            return until()

        wait_until(look, timeout=TIMEOUT, what=self.text)

    def end(self) -> int:
        self.watch(lambda: self._popen.poll() is not None)
        return self._popen.returncode

    def signal(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def kill(self) -> None:
        for process in filter(runs, self.seen):
            process.kill()
        self._popen.kill()
        self._popen.wait()


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    folder = tmp_path / "tmp"
    folder.mkdir()
    demo = Demo(folder)
    yield demo
    demo.kill()


def runs(process: psutil.Process) -> bool:
    """Whether it does. A zombie doesn't: a container's first process may never reap orphans."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def assert_nothing_is_left(demo: Demo) -> None:
    # Server, the worker's main process, its pool.
    assert len(demo.seen) >= 4
    assert [process for process in demo.seen if runs(process)] == []
    port = int(re.findall(r"on 127\.0\.0\.1:(\d+)", demo.text)[0])
    connections = psutil.net_connections("tcp4")
    assert [c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr.port == port] == []
    assert list(demo.folder.iterdir()) == []


@pytest.mark.timeout(TIMEOUT + 20)
def test_the_demo_keeps_its_promises(demo: Demo) -> None:
    code = demo.end()
    assert code == 0, demo.text
    assert [part for part in PARTS if part not in demo.text] == []
    assert "broken" not in demo.text
    assert re.search(r"(\d+) of \1 promises checked and kept", demo.text)
    assert max(map(len, demo.text.splitlines())) <= 80
    assert_nothing_is_left(demo)


@pytest.mark.parametrize(
    ("part", "number"), [(PARTS[0], signal.SIGINT), (PARTS[1], signal.SIGTERM)]
)
def test_an_interrupted_demo_leaves_nothing(demo: Demo, part: str, number: signal.Signals) -> None:
    def worker_runs() -> bool:
        return part in demo.text and sum(map(runs, demo.seen)) >= 4

    demo.watch(worker_runs)
    demo.signal(number)
    assert demo.end() == 128 + number
    assert "Traceback" not in demo.text
    assert_nothing_is_left(demo)


def test_the_demo_leaves_a_used_server_alone(redis_server: Server) -> None:
    redis_server.client(1).set("somebody's", "data")
    ended = subprocess.run(
        [sys.executable, "-m", "examples.analysis.demo", "--redis", redis_server.url()],
        env=clean_environment(os.environ),
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert ended.returncode == 2
    assert "database 1 isn't empty" in ended.stdout
    assert redis_server.client(1).get("somebody's") == b"data"
