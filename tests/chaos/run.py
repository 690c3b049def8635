"""One run: processes at work, a nemesis, and the check of what came of it."""

import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.scenarios import Scenario
from tests.chaos.world import Setting, World, new_world
from tta_taskcache.testing import History, Read, Violation, check, surplus_runs
from tta_taskcache.testing.history import unexplained_reads


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Attributes:
        scenario: Its name.
        setting: How it was run.
        history: All that was recorded.
        violations: Reads that broke I1, I2 or I5: what is stale after a loss is stale.
        unexplained: Reads of what no run returned.
        failures: Processes that failed or hung.
        processes: How many there were.
    """

    scenario: str
    setting: Setting
    history: History
    violations: list[Violation]
    unexplained: list[Read]
    failures: list[str]
    processes: int

    @property
    def good(self) -> bool:
        return not (self.violations or self.unexplained or self.failures)

    @property
    def surplus_runs(self) -> int:
        return surplus_runs(self.history)

    def __str__(self) -> str:
        """What is wrong, for people; and how to see it again."""
        setting = self.setting
        problems = [str(violation) for violation in self.violations[:5]]
        problems += [f"R1: no run returned what was read: {read}" for read in self.unexplained[:5]]
        again = (
            f"python -m tests.chaos --scenario {self.scenario} --seed {setting.seed} "
            f"--seconds {setting.seconds:g} --staleness {setting.staleness:g} "
            f"--redis {setting.kind}"
        )
        counted = (
            f"{self.scenario}: {len(self.violations)} violations, "
            f"{len(self.unexplained)} unexplained reads, {len(self.failures)} failures"
        )
        return "\n".join([counted, *problems, *self.failures[:3], f"once more: {again}"])


def run(scenario: Scenario, setting: Setting) -> Outcome:
    """Run a scenario, and check what was read."""
    dice = random.Random(setting.seed)
    with (
        tempfile.TemporaryDirectory(prefix="tests-chaos-") as folder,
        new_world(setting, Path(folder), scenario.layout) as world,
    ):
        scenario.gather(world, dice)
        world.wait_until_all_work()
        _strike(scenario, world, dice)
        world.proxy.heal()
        world.dismiss()
        history = world.history()
        return Outcome(
            scenario=scenario.name,
            setting=setting,
            history=history,
            violations=check(history, setting.staleness),
            unexplained=unexplained_reads(history),
            failures=world.failures,
            processes=world.started,
        )


def _strike(scenario: Scenario, world: World, dice: random.Random) -> None:
    end = time.monotonic() + world.setting.seconds
    while (left := end - time.monotonic()) > 0 and not world.failures:
        # Not waiting for something: the moment is what is drawn.
        time.sleep(min(left, dice.random() * scenario.pause))
        world.look_after()
        if world.members and (done := scenario.strike(world, dice)):
            world.note(done)
