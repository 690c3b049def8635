"""K1: the same keys in every process and on every Python."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

# The core needs nothing but Python: loaded without the package's __init__, which imports Celery.
SCRIPT = """
import sys, types
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum, StrEnum
from uuid import UUID

package = types.ModuleType("tta_taskcache")
package.__path__ = [sys.argv[1] + "/tta_taskcache"]
sys.modules["tta_taskcache"] = package

from tta_taskcache.core.arguments.binding import Binder
from tta_taskcache.core.arguments.canonical import canonical
from tta_taskcache.core.identity.keys import Keyer
from tta_taskcache.core.options.option_values import Choices
from tta_taskcache.core.options.policy import read_policy

class Colour(StrEnum):
    RED = "red"

class Number(IntEnum):
    ELEVEN = 11

def refuse(value):
    raise TypeError

def summarize(user_id, *texts, model="small", **options):
    return user_id

VALUES = [
    {"b": [1, 2.5, {"z": (None, True), "a": {"y": 1, "x": [()]}}], "a": {3: 4, 1.5: 5, None: 6}},
    (1, (2, (3, [4]))),
    datetime(2024, 2, 29, 12, 30, 1, 5, timezone(timedelta(hours=5, minutes=30))),
    datetime(2024, 2, 29), datetime(2024, 2, 29, tzinfo=UTC), date(2024, 2, 29), time(1, 2, 3, 4),
    UUID(int=2**100), Decimal("1.50"), Decimal("1E+3"), Decimal("NaN"), Decimal("-0"),
    "é", "e\\u0301", "😀", "\\0", "\\ud800", "中文", "", b"\\xff\\0", bytearray(b"x"),
    0, -1, 2**100, 0.1, 1e100, -0.0, float("inf"), float("nan"), 1, 1.0, True, "1",
    Colour.RED, Number.ELEVEN, {"é": "😀", "😀": "é"}, {"a", "b", "c", "d"}, frozenset("xyz"),
]
binder = Binder(summarize)
options = {"key": "{user_id}:{tenant}", "vary": ("tenant",), "version": "source"}
for version in ("1", "source"):
    policy = read_policy("t", {**options, "version": version}, Choices(binder.names), default_ttl=1)
    keyer = Keyer("t", binder, policy, refuse, source=read_policy)
    for value in VALUES:
        print(keyer.identify(("u", value), {"x": value, "model": value}, {"tenant": "acmé"}).key)
print(sys.version_info[:2], hash("x"), file=sys.stderr)
"""


def keys(python: str, seed: str) -> tuple[list[str], str]:
    """The keys that another process computes, and what it says about itself."""
    run = subprocess.run(
        [python, "-c", SCRIPT, str(ROOT)],
        env={"PATH": os.environ["PATH"], "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines(), run.stderr


@pytest.fixture(scope="module")
def here() -> tuple[list[str], str]:
    return keys(sys.executable, "1")


def test_k1_keys_differ_where_values_do(here: tuple[list[str], str]) -> None:
    found, _ = here
    assert len(found) > 60
    # In each of the two versions no two values mean the same.
    assert len(set(found)) == len(found)


def test_k1_same_keys_with_other_hashes(here: tuple[list[str], str]) -> None:
    found, about = keys(sys.executable, "2")
    assert about != here[1], "strings hash otherwise there"
    assert found == here[0]


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_k1_same_keys_on_python(here: tuple[list[str], str], version: str) -> None:
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no python{version} on PATH or from pyenv")
    found, about = keys(python, "3")
    assert about.startswith(str(tuple(map(int, version.split(".")))))
    assert found == here[0]


def interpreter(version: str) -> str | None:
    """A Python of that version, on PATH or installed by pyenv, whatever it has selected."""
    installed = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [shutil.which(f"python{version}")]
    found += map(str, sorted(installed.glob(f"{version}.*/bin/python{version}")))
    return next((python for python in found if python and runs(python)), None)


def runs(python: str) -> bool:
    """Whether it is there; version managers leave scripts for what isn't."""
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0
