"""A stranger who types what a page says, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Self
from urllib.request import urlopen

from tests.integration.documentation.pages import Block
from tests.support.servers import Server, free_port
from tests.support.waiting import wait_until
from tests.support.workers import clean_environment

#: The environment that the stranger has made: `make first-hour` makes one from the wheel.
BIN = Path(os.environ.get("FIRST_HOUR", Path(sys.executable).parent)).absolute()


class Reader:
    """Writes the files, keeps a worker and Flower running, and compares what commands print."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self._places = {
            "redis://localhost:6379": server.url(0).rsplit("/", 1)[0],
            "redis://localhost/": server.url(0).rsplit("/", 1)[0] + "/",
            "19808": str(free_port()),
            "celery -A proj flower": f"celery -A proj flower --port={(port := free_port())}",
        }
        self._flower_url = f"http://127.0.0.1:{port}"
        self._environment = clean_environment({"PATH": f"{BIN}:/usr/bin:/bin", "COLUMNS": "200"})
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for name in list(self._running):
            self.stop(name)

    def follow(self, block: Block) -> None:
        """Do what a block says, by its mark."""
        text = self._here(block.text)
        kind, _, said = block.mark.partition(": ")
        if kind == "file":
            (self.folder / said).write_text(text)
        elif kind == "worker":
            self.start("worker", text.strip()[2:], " ready.")
        elif kind == "flower":
            self.start("flower", text.strip()[2:], "Connected to")
        elif kind == "metrics":
            assert said in fetch(f"http://127.0.0.1:{self._places['19808']}/metrics")
        elif block.language == "console" and kind != "not run":
            command, _, expected = text[2:].partition("\n")
            printed = self.run(command)
            pattern = re.escape(expected.strip()).replace("…", r"[\s\S]*?")
            assert re.fullmatch(pattern, printed.strip()), printed

    def write(self, name: str, text: str) -> None:
        """Write a file."""
        (self.folder / name).write_text(self._here(text))

    def run(self, command: str) -> str:
        """Return what a command prints."""
        began = time.monotonic()
        done = subprocess.run(
            shlex.split(command),
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        print(f"{time.monotonic() - began:5.1f} s  $ {command}")  # noqa: T201 - with pytest -s
        is_miss = " explain " in command  # says so with its exit code
        assert done.returncode == int(is_miss), done.stdout + done.stderr
        return done.stdout

    def start(self, name: str, command: str, ready: str) -> None:
        """Start what goes on running, in place of the one before, and wait until it says so."""
        self.stop(name)
        path = self.folder / f"{name}.log"
        began = time.monotonic()
        with path.open("w") as log:
            self._running[name] = subprocess.Popen(
                shlex.split(command), cwd=self.folder, env=self._environment, stdout=log, stderr=log
            )
        wait_until(lambda: ready in path.read_text(), timeout=60)
        print(f"{time.monotonic() - began:5.1f} s  $ {command}")  # noqa: T201 - with pytest -s

    def stop(self, name: str) -> None:
        """Stop what was started, if it was."""
        if process := self._running.pop(name, None):
            process.terminate()
            process.wait(30)

    def flower_metrics(self) -> str:
        """Return what Flower counts."""
        return fetch(f"{self._flower_url}/metrics")

    def _here(self, text: str) -> str:
        for there, here in self._places.items():
            text = text.replace(there, here)
        return text


def fetch(url: str) -> str:
    with urlopen(url, timeout=10) as page:  # noqa: S310 - of this machine
        return page.read().decode()
