"""Processes with a wrong wall clock, as chaos runs use them."""

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.clocks import skewed

ROOT = Path(__file__).parents[3]


def run(seconds: float, *arguments: str) -> str:
    command = skewed(seconds, "tests.unit.testing.test_clocks", *arguments)
    return subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True).stdout


@pytest.mark.parametrize("seconds", [60, -60, 0.5, 0])
def test_only_the_wall_clock_is_off(seconds: float) -> None:
    before = [time.time(), time.time_ns(), time.monotonic()]
    found = json.loads(run(seconds))
    after = [time.time(), time.time_ns(), time.monotonic()]
    off = [seconds, int(seconds * 1e9), 0]
    for low, value, high, offset in zip(before, found["clocks"], after, off, strict=True):
        assert low + offset <= value <= high + offset


def test_the_module_sees_its_own_arguments() -> None:
    assert json.loads(run(60, "--option", "x"))["arguments"] == ["--option", "x"]


if __name__ == "__main__":  # what the tests run
    import sys

    clocks = [time.time(), time.time_ns(), time.monotonic()]
    sys.stdout.write(json.dumps({"clocks": clocks, "arguments": sys.argv[1:]}))
