"""What the pages show does what they say."""

import re
import shlex
import subprocess
import sys
from itertools import dropwhile
from pathlib import Path
from urllib.request import urlopen

import click
import pytest

from tests.integration.documentation.pages import DOCS, ROOT, RUN, Block, blocks, pages
from tests.support.servers import Server, free_port
from tests.support.waiting import wait_until
from tests.support.workers import clean_environment
from tta_taskcache.celery.cli import cache

pytestmark = pytest.mark.one_server_kind

#: Languages of what isn't code of the reader's: output, diagrams.
OUTPUT = {"text", "mermaid", "", "json"}


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_examples_of_a_page_run(server_factory, page: Path) -> None:
    url = server_factory().url(0).rsplit("/", 1)[0]
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.documentation.run_page", str(page)],
        env=clean_environment({"TEST_REDIS": url, "PATH": ""}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_each_block_is_run_or_says_why_not(page: Path) -> None:
    for block in blocks(page):
        if block.language in OUTPUT or block.language == "console" or page in RUN:
            continue
        kind, _, said = block.mark.partition(": ")
        assert said, f"{page.name}:\n{block.text}"
        assert kind in {"not run", "run by", "file"}, block.mark
        if kind == "run by":
            path, _, name = said.partition("::")
            assert f"def {name}(" in (ROOT / path).read_text(), said


def commands() -> list[tuple[Path, str]]:
    lines = ((b.page, line) for page in pages() for b in blocks(page) if b.language == "console"
             and not b.mark.startswith("not run") for line in b.text.splitlines())  # fmt: skip
    return [(page, line[2:]) for page, line in lines if line.startswith("$ ")]


@pytest.mark.parametrize("page", sorted({page for page, _ in commands()}), ids=lambda p: p.stem)
def test_commands_and_their_options_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for where, line in commands():
        words = shlex.split(line.split("   #")[0].split(" | ")[0], comments=True)
        if where != page or words[0] == "docker":
            continue
        words = list(dropwhile(re.compile(r"[A-Z_]+=").match, words))  # variables of the command
        if words[:2] == ["celery", "-A"]:
            known = {"worker", "beat", "inspect", "control", "flower"}
            assert words[3] in known or words[3] == "cache", line
            if words[3] == "cache":
                command = cache.get_command(click.Context(cache), words[4])
                assert command is not None, line
                command.make_context(words[4], words[5:], resilient_parsing=True)
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), line
        elif words[:2] == ["python", "-m"]:
            path = ROOT / words[2].replace(".", "/")
            inside = Path(*path.parts[len(ROOT.parts) :]).with_suffix(".py")
            assert path.exists() or (ROOT / inside).exists() or words[2] == "venv", line
        else:
            assert words[0] in {"pip", "python", "curl"}, line


class Reader:
    """Follows the tutorial as it stands: files, a worker, commands and what they print."""

    def __init__(self, folder: Path, server: Server, port: int) -> None:
        self.folder = folder
        self._url = server.url(0).rsplit("/", 1)[0]
        self._port = str(port)
        path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
        self._environment = clean_environment({"PATH": path, "COLUMNS": "200"})
        self._worker: subprocess.Popen[bytes] | None = None

    def follow(self, block: Block) -> None:
        text = block.text.replace("redis://localhost:6379", self._url).replace("19808", self._port)
        kind, _, said = block.mark.partition(": ")
        if kind == "file":
            (self.folder / said).write_text(text)
        elif kind == "worker":
            self.stop()
            with (self.folder / "worker.log").open("w") as log:
                command = shlex.split(text.strip()[2:])
                self._worker = subprocess.Popen(
                    command, cwd=self.folder, env=self._environment, stdout=log, stderr=log
                )
            wait_until(lambda: " ready." in (self.folder / "worker.log").read_text(), timeout=60)
        elif kind == "metrics":
            with urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=10) as page:
                assert said in page.read().decode()
        elif block.language == "console" and kind != "not run":
            command, _, expected = text[2:].partition("\n")
            done = subprocess.run(
                shlex.split(command),
                cwd=self.folder,
                env=self._environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            is_miss = " explain " in command  # says so with its exit code
            assert done.returncode == int(is_miss), done.stdout + done.stderr
            pattern = re.escape(expected.strip()).replace("…", r"[\s\S]*?")
            assert re.fullmatch(pattern, done.stdout.strip()), done.stdout

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.terminate()
            self._worker.wait(30)


@pytest.mark.timeout(240)
def test_the_tutorial_as_it_stands(server_factory, tmp_path: Path) -> None:
    reader = Reader(tmp_path, server_factory(), free_port())
    try:
        for block in blocks(DOCS / "tutorial" / "index.md"):
            reader.follow(block)
    finally:
        reader.stop()
