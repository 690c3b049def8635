"""`celery -A … cache warm`, run as people run it."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.warming.test_warming import learn
from tests.integration.warming.warm_harness import WarmHarness
from tests.support.servers import free_port
from tests.support.waiting import wait_until
from tests.support.workers import ROOT

Done = subprocess.CompletedProcess[str]


def run(warm_harness: WarmHarness, *args: str, stdin: str = "", **env: str) -> Done:
    return subprocess.run(
        warm_harness.command(*args),
        env=warm_harness.env | env,
        cwd=ROOT,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def file(warm_harness: WarmHarness, tmp_path: Path) -> Path:
    """Forty calls."""
    file = tmp_path / "calls.jsonl"
    file.write_text("".join(f"{json.dumps(call)}\n" for call in warm_harness.calls(40)))
    return file


def test_a_file(warm_harness: WarmHarness, file: Path) -> None:
    done = run(warm_harness, "page", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"Warmed 40 calls in [\d.a-z]+: 40 stored\.\n", done.stdout), "plain"
    again = run(warm_harness, "page", str(file), "--json", "--rate", "500", "--in-flight", "3")
    assert (again.returncode, again.stderr) == (0, "")
    report = json.loads(again.stdout)
    assert (report["total"], report["fresh"], report["sent"]) == (40, 40, 0)


def test_stdin(warm_harness: WarmHarness, file: Path) -> None:
    done = run(warm_harness, "page", "-", "--json", stdin=file.read_text())
    assert json.loads(done.stdout)["stored"] == 40
    bad = run(warm_harness, "page", "-", stdin=f'["{warm_harness.tag}", 1]\nnonsense\n')
    assert (bad.returncode, bad.stdout) == (2, "")
    assert bad.stderr.startswith("Error: stdin, line 2: no JSON")


def test_calls_that_fail(warm_harness: WarmHarness, file: Path) -> None:
    file.write_text("".join(f'["fails{warm_harness.tag}", {n}]\n' for n in range(14)))
    done = run(warm_harness, "page", str(file))
    assert done.returncode == 1
    assert re.search(r": 12 stored, 2 failed\.$", done.stdout.strip())


def test_hot(warm_harness: WarmHarness) -> None:
    learn(warm_harness, "a", 2)
    learn(warm_harness, "b", 1)
    done = run(warm_harness, "popular", "--hot", "1", "--json")
    assert json.loads(done.stdout)["stored"] == 1
    assert warm_harness.runs("popular", "a") == 1


def test_queue(warm_harness: WarmHarness, file: Path) -> None:
    command = warm_harness.command("page", str(file), "--queue", "unread", "--in-flight", "2")
    broker = warm_harness.server.client(0)
    with subprocess.Popen(
        command, env=warm_harness.env, cwd=ROOT, stderr=subprocess.PIPE
    ) as process:
        wait_until(lambda: broker.llen("unread") == 2, timeout=30)
        process.send_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("page",), 2, "give either FILE (or -) or --hot"),
        (("page", "/no/such/file"), 2, "/no/such/file: No such file"),
        (("pages", "-"), 2, "did you mean 'page'?"),
        (("page", "-", "--rate", "0"), 2, "rate=0.0"),
    ],
)
def test_wrong_usage(
    warm_harness: WarmHarness, args: tuple[str, ...], code: int, words: str
) -> None:
    done = run(warm_harness, *args)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("what", ["TASKCACHE_URL", "CELERY_BROKER_URL"])
def test_what_cannot_be_reached(warm_harness: WarmHarness, what: str) -> None:
    done = run(
        warm_harness,
        "popular",
        "-",
        stdin='["a"]\n',
        **{what: f"redis://127.0.0.1:{free_port()}/0"},
    )
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 1
    assert "can't be reached" in done.stderr


def test_interrupted_it_is_gone_on_with(warm_harness: WarmHarness, tmp_path: Path) -> None:
    file, number = tmp_path / "calls.jsonl", 200
    file.write_text("".join(f"{json.dumps(call)}\n" for call in warm_harness.calls(number)))
    process = subprocess.Popen(
        warm_harness.command("page", str(file), "--in-flight", "10"),
        env=warm_harness.env,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: len(warm_harness.all_runs("page")) > 50, timeout=60)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (1, "")
    assert re.search(
        r"^Error: interrupted after \d+ calls; repeat it to go on$", errors, re.MULTILINE
    )
    assert "Traceback" not in errors
    assert len(warm_harness.all_runs("page")) < number


class Screen:
    """A terminal, and what was drawn on it."""

    def __init__(self, columns: int) -> None:
        self.ours, self.theirs = pty.openpty()
        self.drawn = b""
        self.resize(columns)
        self._reader = threading.Thread(target=self._read)

    def resize(self, columns: int) -> None:
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def _read(self) -> None:
        with suppress(OSError):  # its other end is closed
            while part := os.read(self.ours, 4096):
                self.drawn += part

    def watch(self, process: subprocess.Popen[str], meanwhile: Callable[[], Any]) -> str:
        """Read until the command ends."""
        self._reader.start()
        meanwhile()
        output, _ = process.communicate(timeout=60)
        os.close(self.theirs)
        self._reader.join(timeout=30)
        os.close(self.ours)
        return output

    def lines(self, start: int = 0, end: int | None = None) -> list[str]:
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.drawn[start:end].decode())
        return [line for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_the_bar_says_what_is_left_and_survives_a_resize(
    warm_harness: WarmHarness,
    tmp_path: Path,
) -> None:
    file, number = tmp_path / "calls.jsonl", 200
    file.write_text("".join(f"{json.dumps(call)}\n" for call in warm_harness.calls(number)))
    screen, resized = Screen(100), 0
    process = subprocess.Popen(
        warm_harness.command("page", str(file), "--rate", "100"),
        env=warm_harness.env | {"TERM": "xterm"},
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=screen.theirs,
        text=True,
    )

    def resize() -> None:
        nonlocal resized
        wait_until(lambda: re.search(rb"[1-9]\d* of 200 left", screen.drawn), timeout=60)
        screen.resize(30)
        wait_until(lambda: len(warm_harness.all_runs("page")) > 150, timeout=60)
        resized = len(screen.drawn)

    output = screen.watch(process, resize)
    assert process.returncode == 0
    assert output.startswith("Warmed 200 calls in ")
    assert any(re.search(r"\d+% \d+ of 200 left, ", line) for line in screen.lines(0, resized))
    # The line that was being written when that was measured may be half an old one.
    after = screen.lines(resized)[1:]
    assert after
    assert max(map(len, after)) <= 30
    assert "100%" in after[-1]
