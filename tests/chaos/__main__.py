"""`python -m tests.chaos`: run scenarios, and say what came of it."""

import random
import tempfile
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from tests.chaos.run import Outcome, run
from tests.chaos.scenarios import SCENARIOS
from tests.chaos.world import Setting
from tests.support.servers import ServerKind, available

CAPTION = (
    "harm: how often it was done · procs: processes that worked · extra: runs beyond one a thing "
    "and one an invalidation · ends: invalidations · unsure: those that raised · broken: reads "
    "that broke a promise · failed: processes that failed or hung · max ms: the slowest read"
)


@click.command(context_settings={"show_default": True})
@click.option("--seed", type=int, help="Of all dice. By default a new one, which is printed.")
@click.option("--seconds", type=click.FloatRange(min=0), default=5.0, help="For each scenario.")
@click.option("--scenario", "names", multiple=True, type=click.Choice(list(SCENARIOS)))
@click.option("--staleness", type=click.FloatRange(min=0), default=0.05, help="Δ in seconds.")
@click.option("--processes", type=click.IntRange(min=1), default=3, help="At work at a time.")
@click.option(
    "--redis",
    "kind",
    type=click.Choice([kind.value for kind in ServerKind]),
    required=True,
    default=lambda: next(map(str, available()), None),
    show_default="the first there is",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(tempfile.gettempdir()),
    help="Where the history of a run that failed is kept.",
)
def main(
    seed: int | None,
    seconds: float,
    names: tuple[str, ...],
    staleness: float,
    processes: int,
    kind: str,
    output: Path,
) -> None:
    """Let processes read, compute and invalidate while things go wrong, and check what they read.

    Runs all scenarios unless some are named. Exits with 1 when a promise was broken.
    """
    setting = Setting(
        seed=random.randrange(1_000_000) if seed is None else seed,
        seconds=seconds,
        staleness=staleness,
        processes=processes,
        kind=ServerKind(kind),
    )
    console = Console()
    console.print(f"seed {setting.seed}, on {setting.kind}")
    outcomes = []
    for name in names or SCENARIOS:
        with console.status(name):
            outcome = run(SCENARIOS[name](), setting)
        outcomes.append(outcome)
        if not outcome.good:
            console.print(f"{outcome}\n{_keep(outcome, output)}", markup=False, soft_wrap=True)
    console.print(_table(outcomes))
    raise SystemExit(not all(outcome.good for outcome in outcomes))


def _keep(outcome: Outcome, folder: Path) -> str:
    setting = outcome.setting
    file = folder / f"chaos-{outcome.scenario}-{setting.seed}.jsonl"
    folder.mkdir(parents=True, exist_ok=True)
    outcome.history.dump(file)
    module = "tta_taskcache.testing.history"
    return f"check again: python -m {module} {file} --staleness {setting.staleness:g}\n"


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(box=None, caption=CAPTION, caption_justify="left", padding=(0, 1, 0, 0))
    for name in _cells(outcomes[0]):
        table.add_column(name, justify="left" if name == "scenario" else "right", no_wrap=True)
    for outcome in outcomes:
        table.add_row(*_cells(outcome).values(), style="" if outcome.good else "red")
    return table


def _cells(outcome: Outcome) -> dict[str, str]:
    history = outcome.history
    slowest = max((read.end - read.begin for read in history.reads), default=0.0)
    numbers = {
        "harm": len(history.notes),
        "procs": outcome.processes,
        "reads": len(history.reads),
        "runs": len(history.runs),
        "extra": outcome.surplus_runs,
        "ends": len(history.invalidations),
        "unsure": sum(not item.acknowledged for item in history.invalidations),
        "broken": len(outcome.violations) + len(outcome.unexplained),
        "failed": len(outcome.failures),
    }
    shown = {name: f"{number:,}" for name, number in numbers.items()}
    return {"scenario": outcome.scenario, **shown, "max ms": f"{slowest * 1000:.0f}"}


if __name__ == "__main__":
    main()
