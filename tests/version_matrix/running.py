"""Running a suite with a set of versions, and remembering what came of it."""

import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.support.workers import ROOT, clean_environment
from tests.version_matrix.environments import HOME, test_environment
from tests.version_matrix.suites import Suite
from tests.version_matrix.version_sets import VersionSet

#: Seconds that one suite may take.
PATIENCE = 3600


@dataclass(frozen=True)
class Outcome:
    """What came of a suite.

    Attributes:
        passed: So many tests passed.
        failed: So many failed, or had an error.
        skipped: So many were skipped.
        ended: Whether the suite ran to its end.
        commit: The commit that was tested.
    """

    passed: int
    failed: int
    skipped: int
    ended: bool
    commit: str

    def __str__(self) -> str:
        text = f"{self.passed}"
        if self.failed:
            text += f" / {self.failed} FAILED"
        if self.skipped:
            text += f" ({self.skipped} skipped)"
        return text if self.ended else f"{text}, cut"


def outcome_of(versions: VersionSet, suite: Suite) -> Outcome | None:
    """What came of it, if it was run."""
    file = _folder(versions, suite) / "outcome.json"
    return Outcome(**json.loads(file.read_text())) if file.exists() else None


def run(versions: VersionSet, suite: Suite, *, arguments: Sequence[str]) -> Outcome:
    """Run a suite, and keep its log and what came of it."""
    folder = _folder(versions, suite)
    folder.mkdir(parents=True, exist_ok=True)
    report = folder / "junit.xml"
    report.unlink(missing_ok=True)
    command = [str(test_environment(versions)), "-m", "pytest", "-q", f"--junitxml={report}"]
    command += ["--numprocesses=2", "--dist=loadfile", *map(str, suite.paths), *arguments]
    if suite.chosen:
        command += ["-k", suite.chosen]
    with (folder / "log.txt").open("w") as log:
        try:
            subprocess.run(
                command,
                cwd=ROOT,
                env=clean_environment(os.environ),
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
            )
        except subprocess.TimeoutExpired:
            log.write(f"\ncut after {PATIENCE} s\n")
    outcome = _read(report)
    (folder / "outcome.json").write_text(json.dumps(asdict(outcome)))
    return outcome


def _folder(versions: VersionSet, suite: Suite) -> Path:
    return HOME / versions.name / suite.name.replace(" ", "-")


def _read(report: Path) -> Outcome:
    """What a report of pytest says; one that isn't there comes of a suite that was cut."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607 - of the developer's PATH
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    if not report.exists():
        return Outcome(0, 1, 0, ended=False, commit=commit)
    found = ET.parse(report).getroot().find("testsuite")  # noqa: S314 - pytest's own
    assert found is not None
    count = {name: int(found.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    passed = count["tests"] - failed - count["skipped"]
    return Outcome(passed, failed, count["skipped"], ended=True, commit=commit)
