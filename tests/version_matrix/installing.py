"""Installing the library as its users do, and running the README's example with it."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.processes import Process
from tests.support.servers import Server, available
from tests.support.waiting import wait_until
from tests.support.workers import ROOT, clean_environment
from tests.version_matrix.environments import HOME, NotInstallable, install, uv
from tests.version_matrix.version_sets import PROJECTS

#: What came of it when all is well.
WELL = "runs the example and the command line"

#: Each way to install it: a name, and the arguments of `uv pip install` beside the library.
WAYS: dict[str, tuple[str, ...]] = {
    "lower bounds": ("--resolution", "lowest-direct"),
    "newest": (),
    "with its extra opentelemetry": (f"tta-taskcache[opentelemetry] @ {ROOT.as_uri()}",),
    **{pins.name: pins.requirements for pins in PROJECTS},
}

#: What its extra is for.
OBSERVED = """
from proj import app, summarize
from tta_taskcache import TaskCache
cache = TaskCache(app, observers=["opentelemetry"])
assert cache.runtime.observers
with cache.context(tenant="observed"):
    assert summarize.cache.call("u1", "new") == summarize.cache.call("u1", "new")
"""


def try_installing(way: str) -> tuple[str, str]:
    """Install it in one way, and run the example.

    Returns:
        The versions that were installed, and what came of it.
    """
    folder = HOME / "installed" / re.sub(r"\W+", "-", way.lower())
    try:
        python = install(folder, "3.11", str(ROOT), *WAYS[way])
    except NotInstallable as error:
        return "", " ".join(str(error).split())
    versions = _versions(python)
    try:
        _run_example(python)
    except (AssertionError, TimeoutError, subprocess.SubprocessError) as error:
        return versions, f"FAILS: {' '.join(str(error).split())[-300:]}"
    return versions, WELL


def _versions(python: Path) -> str:
    listed = uv("pip", "freeze", "--python", python).splitlines()
    names = ("celery==", "kombu==", "redis==", "rich==", "click==", "cachebox==")
    return ", ".join(line.replace("==", " ") for line in listed if line.startswith(names))


@contextmanager
def _project(server: Server) -> Iterator[tuple[Path, dict[str, str]]]:
    """The README's example, as a module in a folder of its own."""
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert code is not None
    url = server.url(0).rsplit("/", 1)[0]
    with TemporaryDirectory() as folder:
        (Path(folder) / "proj.py").write_text(code[1].replace("redis://localhost", url))
        urls = {"CELERY_BROKER_URL": server.url(0), "CELERY_RESULT_BACKEND": server.url(1)}
        yield Path(folder), {**urls, "PYTHONPATH": folder}


def _run_example(python: Path) -> None:
    with Server(available()[0]) as server, _project(server) as (folder, env):
        with _worker(folder, env, python):
            told = _run(folder, env, python, "-m", "proj")
            found = _run(folder, env, python, "-m", "celery", "-A", "proj", "cache", "doctor")
        assert "CacheStatus(hit=True" in told, told
        stats = _run(folder, env, python, "-m", "celery", "-A", "proj", "cache", "stats")
        assert "summarize" in stats, stats
        assert "Packages: Celery" in found, found
        if "opentelemetry-api==" in uv("pip", "freeze", "--python", python):
            _run(folder, env, python, "-c", OBSERVED)


@contextmanager
def _worker(folder: Path, env: dict[str, str], python: Path) -> Iterator[None]:
    command = [str(python), "-m", "celery", "-A", "proj", "worker", "--concurrency=1", "-l", "INFO"]
    process = Process(command, env=clean_environment(os.environ) | env, cwd=folder)
    try:
        wait_until(
            lambda: process.exit_code is not None or " ready." in process.log,
            timeout=60,
            what="the worker",
        )
        assert process.exit_code is None, process.log[-600:]
        yield
    finally:
        process.terminate(15)


def _run(folder: Path, env: dict[str, str], *command: str | Path) -> str:
    done = subprocess.run(
        command,
        env=clean_environment(os.environ) | env,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
