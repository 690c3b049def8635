"""Shell completion of `celery -A proj cache`: click's protocol, and shells with a Tab key."""

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.integration.operating.command_line import FORECAST, MODULE, TOTAL
from tests.support.workers import ROOT, clean_environment
from tta_taskcache.celery.cli import COMMANDS

CELERY = Path(sys.executable).with_name("celery")

#: No server is asked for completions.
NOWHERE = "redis://localhost:1/0"

#: What a shell reads at its start, as docs/how-to/shell-completion.md says, and how it is started.
SHELLS = {
    "bash": (
        'eval "$(_CELERY_COMPLETE=bash_source celery)"',
        ("bash", "--norc", "--noprofile", "-i"),
    ),
    "zsh": (
        'autoload -Uz compinit && compinit -D\neval "$(_CELERY_COMPLETE=zsh_source celery)"',
        ("zsh", "-f", "-i"),
    ),
    "fish": ("_CELERY_COMPLETE=fish_source celery | source", ("fish", "--no-config", "-i")),
}


def environment(**more: str) -> dict[str, str]:
    path = f"{CELERY.parent}{os.pathsep}{os.environ['PATH']}"
    base = {"TASKCACHE_URL": NOWHERE, "PATH": path, "TERM": "xterm"}
    return clean_environment(os.environ) | base | more


def completions(line: str, **env: str) -> dict[str, str]:
    """What click offers for a line, by its protocol: values, and the types of these."""
    done = subprocess.run(
        [CELERY],
        env=environment(
            COMP_WORDS=line,
            COMP_CWORD=str(len(line.split()) - (not line.endswith(" "))),
            _CELERY_COMPLETE="bash_complete",
            **env,
        ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return {value: kind for kind, _, value in (row.partition(",") for row in done.stdout.split())}


def test_commands() -> None:
    assert tuple(completions(f"celery -A {MODULE} cache ")) == COMMANDS


@pytest.mark.parametrize(
    "words", ["explain", "warm", "invalidate --task", "invalidate --task plain --task"]
)
def test_names_of_cached_tasks(words: str) -> None:
    offered = completions(f"celery -A {MODULE} cache {words} t")
    assert list(offered) == [FORECAST, f"{MODULE}.labelled", TOTAL]
    assert list(completions(f"celery -A {MODULE} cache {words} {FORECAST[:-3]}")) == [FORECAST]


def test_tasks_with_semantic_keys_only() -> None:
    nowhere = dict.fromkeys(("CELERY_BROKER_URL", "SEMANTIC_BACKEND", "SEMANTIC_CACHE"), NOWHERE)
    app = "celery -A tests.integration.semantic.semantic_app"
    names = completions(f"{app} cache semantic ", **nowhere)
    assert {"answer", "shadowed"} < names.keys()
    assert completions(f"{app} cache explain ", **nowhere).keys() - names.keys() == {"exact"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("ls --sort ", {"age": "plain", "size": "plain", "key": "plain"}),
        ("stats --since 7", {"7d": "plain"}),
        ("stats --jso", {"--json": "plain"}),
        ("dashboards --output ", {"": "dir"}),
        (f"warm {TOTAL} ", {"": "file"}),
    ],
)
def test_values(words: str, offered: dict[str, str]) -> None:
    assert completions(f"celery -A {MODULE} cache {words}") == offered


@pytest.mark.parametrize("app", ["-A no_such_module", "-A tests.integration.operating", ""])
def test_an_app_that_cannot_be_loaded_offers_nothing_and_prints_nothing(app: str) -> None:
    assert completions(f"celery {app} cache explain t") == {}


def test_what_modules_of_the_app_print_is_not_offered(tmp_path: Path) -> None:
    (tmp_path / "talking.py").write_text(
        "import sys\nfrom celery import Celery\nfrom tta_taskcache import CachedTask\n"
        "print('hello'); print('hello', file=sys.stderr)\n"
        "app = Celery('talking')\n"
        "@app.task(base=CachedTask, name='talking.add')\ndef add(x): ...\n"
    )
    line = f"celery --workdir {tmp_path} -A talking cache explain talk"
    assert list(completions(line)) == ["talking.add"]


@contextmanager
def terminal(command: tuple[str, ...], home: Path) -> Iterator[int]:
    """A shell on a terminal of its own."""
    child, screen = pty.fork()
    if not child:
        os.chdir(ROOT)
        os.execvpe(command[0], command, environment(HOME=str(home), PS1="$ "))  # noqa: S606 - a shell
    try:
        yield screen
    finally:
        os.close(screen)
        with suppress(ProcessLookupError):
            os.kill(child, 9)
        os.waitpid(child, 0)


def read_until(screen: int, wanted: str) -> str:
    shown, end = "", time.monotonic() + 60
    while wanted not in shown:
        ready, _, _ = select.select([screen], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"{wanted!r} isn't in {shown!r}"
        shown += os.read(screen, 4096).decode(errors="replace")
    return shown


@pytest.mark.parametrize("shell", SHELLS)
def test_the_tab_key(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} isn't installed")
    page = (ROOT / "docs" / "how-to" / "shell-completion.md").read_text()
    start, command = SHELLS[shell]
    assert all(line in page for line in start.replace(" -D", "").splitlines())
    with terminal(command, tmp_path) as screen:
        # In two parts: the terminal echoes what is typed.
        os.write(screen, f"{start}\necho rea''dy\n".encode())
        read_until(screen, "ready")
        os.write(screen, f"celery -A {MODULE} cache explain {FORECAST[:-4]}\t".encode())
        read_until(screen, "cast")
