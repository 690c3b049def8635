"""A short run of each scenario; `python -m tests.chaos` runs them for longer."""

import os
import random
import signal
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.chaos import __main__ as command
from tests.chaos.run import run
from tests.chaos.scenarios import SCENARIOS, Scenario
from tests.chaos.world import Setting, World
from tests.support.servers import ServerKind
from tta_taskcache.testing.history.__main__ import main as check_again

pytestmark = pytest.mark.one_server_kind

HARMFUL = [name for name in SCENARIOS if name != Scenario.name]


@pytest.mark.parametrize("name", HARMFUL)
def test_i1_i2_i5_f1_whatever_happens(name: str, redis_kind: ServerKind) -> None:
    scenario = SCENARIOS[name]()
    seconds = 2.0 if scenario.layout is None else 5.0
    outcome = run(scenario, Setting(seed=1, kind=redis_kind, seconds=seconds))
    assert outcome.good, outcome
    assert outcome.history.notes, "no harm was done"
    assert len(outcome.history.reads) > 100


@pytest.mark.parametrize("name", HARMFUL)
def test_i1_i2_i5_f1_whatever_happens_in_loops(name: str, redis_kind: ServerKind) -> None:
    """The same over the driver and the stores of asyncio."""
    scenario = SCENARIOS[name]()
    seconds = 2.0 if scenario.layout is None else 5.0
    outcome = run(scenario, Setting(seed=1, kind=redis_kind, seconds=seconds, in_loops=True))
    assert outcome.good, outcome
    assert outcome.history.notes, "no harm was done"
    assert len(outcome.history.reads) > 100


def test_a_process_that_ends_by_itself_is_a_failure(redis_kind: ServerKind) -> None:
    class Crash(Scenario):
        def strike(self, world: World, dice: random.Random) -> str:
            os.kill(world.pick(dice).pid, signal.SIGKILL)
            return "crash"

    outcome = run(Crash(), Setting(seed=1, kind=redis_kind, processes=2))
    assert not outcome.good
    assert "ended with -9" in str(outcome)


class TestCommand:
    def invoke(self, kind: ServerKind, folder: Path, *options: str) -> tuple[int, str]:
        fixed = ["--redis", kind.value, "--output", str(folder)]
        fixed += ["--seed", "7", "--scenario", "calm"]
        result = CliRunner().invoke(command.main, [*fixed, *options])
        return result.exit_code, result.output

    def test_says_what_was_done(self, redis_kind: ServerKind, tmp_path: Path) -> None:
        code, output = self.invoke(redis_kind, tmp_path, "--seconds", "0.2")
        assert code == 0, output
        assert "seed 7" in output
        assert "calm" in output
        assert list(tmp_path.iterdir()) == []

    def test_a_failure_can_be_looked_into(
        self, redis_kind: ServerKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "Setting", partial(Setting, trusted=5.0))
        code, output = self.invoke(redis_kind, tmp_path / "new", "--seconds", "1")
        assert code == 1
        assert "python -m tests.chaos --scenario calm --seed 7 --seconds 1 " in output
        (again,) = [line for line in output.splitlines() if line.startswith("check again: ")]
        arguments = again.split("testing.history ")[1].split()
        assert Path(arguments[0]).parent == tmp_path / "new"
        assert CliRunner().invoke(check_again, arguments).exit_code == 1
