"""What type checkers say of code that uses the library, with celery-types beside it."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tta_taskcache
from tests.support.workers import ROOT
from tta_taskcache.core.options.policy import OPTIONS

CASES = ROOT / "tests" / "typing"
STUB = ROOT / "tta_taskcache" / "__init__.pyi"

#: Where errors are: a file's name and a line.
Errors = set[tuple[str, int]]


def mypy(folder: Path) -> Errors:
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--config-file=",
        "--follow-imports=silent",
    ]
    done = subprocess.run(
        [*command, "--follow-imports=silent", "--cache-dir", str(folder), str(CASES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    found = re.findall(r"(\w+\.py):(\d+): error", done.stdout)
    return {(name, int(line)) for name, line in found}


def pyright(folder: Path) -> Errors:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(
        [*command, str(CASES)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        (Path(found["file"]).name, found["range"]["start"]["line"] + 1)
        for found in json.loads(done.stdout)["generalDiagnostics"]
        if found["severity"] == "error"
    }


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_what_is_wrong_is_an_error_and_nothing_else(
    checker: Callable[[Path], Errors], tmp_path: Path
) -> None:
    expected = {
        (path.name, number)
        for path in CASES.glob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if line.endswith("# error")
    }
    assert len(expected) == 31
    assert checker(tmp_path) == expected


def test_the_stub_has_the_names_and_options_that_there_are() -> None:
    tree = ast.parse(STUB.read_text())
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    names = next(ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)
                 and ast.unparse(node.targets[0]) == "__all__")  # fmt: skip
    assert names == tta_taskcache.__all__
    for name in ("CachedTask", "_Options"):
        fields = [ast.unparse(node.target) for node in classes[name].body
                  if isinstance(node, ast.AnnAssign)]  # fmt: skip
        options = {field for field in fields if field.startswith("cache_")}
        assert options == {f"cache_{option}" for option in OPTIONS}, name


def test_the_example_in_the_readme_is_among_the_cases() -> None:
    readme = (ROOT / "README.md").read_text()
    decorator = re.search(r"^@app\.task\(.*\)$", readme, re.MULTILINE)
    assert decorator is not None
    assert decorator[0] in (CASES / "accepted.py").read_text()
