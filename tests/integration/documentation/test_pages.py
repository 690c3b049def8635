"""What the pages show does what they say."""

import re
import shlex
import subprocess
import sys
from itertools import dropwhile
from pathlib import Path

import click
import pytest

from tests.integration.documentation.pages import ROOT, RUN, blocks, pages
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
        if block.language == "console" and not block.mark:  # its commands are checked below
            assert "\n$ " in f"\n{block.text}", f"{page.name}:\n{block.text}"
            continue
        if block.language in OUTPUT or (page in RUN and block.language == "python"):
            continue
        kind, _, said = block.mark.partition(": ")
        if kind == "worker":
            continue
        assert said, f"{page.name}:\n{block.text}"
        assert kind in {"not run", "run by", "file", "flower", "metrics"}, block.mark
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
