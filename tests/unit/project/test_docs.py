"""What the documents name is there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
DOCS = ROOT / "docs"

#: The numbers of all promises.
PROMISES = [
    *(f"K{n}" for n in range(1, 6)), "R1", "R1b", *(f"R{n}" for n in range(2, 6)),
    *(f"S{n}" for n in range(1, 8)), *(f"C{n}" for n in range(1, 9)),
    *(f"I{n}" for n in range(1, 9)), *(f"D{n}" for n in range(1, 6)),
    *(f"F{n}" for n in range(1, 9)), "X1", "X2",
]  # fmt: skip


def functions(path: Path) -> set[str]:
    """Names of the functions and classes of a module, and of the methods of these."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (each for each in node.body if isinstance(each, ast.FunctionDef))
            names |= {f"{node.name}.{method.name}" for method in methods}
    return names


def test_each_promise_has_its_row() -> None:
    rows = re.findall(r"^\| ([A-Z]\d+b?) \|", (DOCS / "promises.md").read_text(), re.MULTILINE)
    assert rows == PROMISES


def test_each_promise_that_is_kept_names_a_test() -> None:
    text = (DOCS / "promises.md").read_text()
    rows = re.findall(r"^\| ([A-Z]\d+b?) \| (.*) \| (.*?)\|$", text, re.MULTILINE)
    assert [name for name, promise, tests in rows if "*To come" not in promise and not tests] == []


@pytest.mark.parametrize(
    "named",
    sorted(set(re.findall(r"`(tests/\S+::\w+)`", (DOCS / "promises.md").read_text()))),
)
def test_the_tests_of_promises_exist(named: str) -> None:
    path, _, name = named.partition("::")
    assert name in functions(ROOT / path)


@pytest.mark.parametrize(
    "named",
    sorted(set(re.findall(r"[a-z_0-9/]+\.py::[\w.]+", (DOCS / "life-of-a-call.md").read_text()))),
)
def test_the_arrows_in_the_life_of_a_call_exist(named: str) -> None:
    path, _, name = named.partition("::")
    if path != "module.py":
        assert name in functions(ROOT / "tta_taskcache" / path)


def test_the_questions_of_newcomers_are_answered_where_it_says() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (.+\?) \| `(\w+)` \| `([\w/]+\.py)` \|$", text, re.MULTILINE)
    assert len(rows) == 16
    for _, word, path in rows:
        assert word in (ROOT / "tta_taskcache" / path).read_text(), path
