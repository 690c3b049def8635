"""What `make celery-suite` calls a difference, and what it lets pass."""

import json
from pathlib import Path

import pytest

from tests.celery_suite.comparing import differences, explanations


def log(path: Path, **outcomes: str) -> Path:
    rows = [
        {"nodeid": name, "outcome": outcome, "xfail": False, "text": "E  because"}
        for name, outcome in outcomes.items()
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_a_difference_is_a_failure_of_its_own_or_a_test_that_is_missing(tmp_path: Path) -> None:
    plain = log(tmp_path / "plain", a="passed", b="failed", c="passed", d="passed")
    cached = log(tmp_path / "cached", a="failed", b="failed", c="passed", **{"c@2": "failed"})
    assert set(differences(plain, cached)) == {
        ("a", "because"),
        ("c@2", "because"),
        ("d", "not run"),
    }


@pytest.mark.parametrize("line", ["side effect | * | x", "bug | * | x | why", "time | * | | why"])
def test_explanations_are_of_three_kinds_and_say_why(tmp_path: Path, line: str) -> None:
    path = tmp_path / "explained.txt"
    path.write_text(f"# comment\n\n{line}\n")
    with pytest.raises(ValueError, match=r"explained.txt:3: .*no message was sent"):
        list(explanations(path))


def test_the_explanations_that_we_have_are_fit() -> None:
    assert list(explanations())
