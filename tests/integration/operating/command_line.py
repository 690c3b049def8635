"""Commands of `celery -A proj cache`, run as a user would."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from tests.support.servers import Server
from tests.support.workers import ROOT, clean_environment
from tta_taskcache import TaskCache

BROKER = 5


MODULE = "tests.integration.cli_app"


FORECAST, TOTAL = f"{MODULE}.forecast", f"{MODULE}.total"


Done = subprocess.CompletedProcess[str]


def run_celery(app: str, env: dict[str, str], *args: str, stdin: Any = subprocess.DEVNULL) -> Done:
    """`celery -A APP …`, with these variables."""
    return subprocess.run(
        [sys.executable, "-m", "celery", "-A", app, *args],
        env=clean_environment(os.environ) | env,
        cwd=ROOT,
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@dataclass
class Cli:
    """Runs the command, on an app whose cache `cache` sees as another process does."""

    env: dict[str, str]
    cache: TaskCache

    def __call__(self, *args: str, stdin: Any = subprocess.DEVNULL, **env: str) -> Done:
        return run_celery(MODULE, self.env | env, "cache", *args, stdin=stdin)

    def json(self, *args: str, **env: str) -> Any:
        done = self(*args, "--json", **env)
        assert (done.returncode, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def task(self, name: str) -> Any:
        return self.cache.app.tasks[name]


def keys(cli: Cli) -> set[str]:
    return set(cli.cache.keys())


def lines(done: Done) -> list[str]:
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


# sweep


def entries(server: Server) -> int:
    return sum(1 for _ in server.client(2).scan_iter(match="taskcache:e:*"))
