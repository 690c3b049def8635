"""F3: a soft time limit that strikes inside the cache does no harm."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.servers import Server

pytestmark = pytest.mark.one_server_kind

ROOT = Path(__file__).parents[3]
STRIKES = 10_000


def test_f3_10000_soft_limits_leave_no_deadlock_and_no_lease(redis_server: Server) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.integration.faults.strikes",
            redis_server.url(2),
            str(STRIKES),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6_000:]
    found = json.loads(done.stdout)
    assert found["strikes"] == STRIKES
    assert found["raised"] > STRIKES / 2, "most of them arrive"
    assert found["threads"] == 1
