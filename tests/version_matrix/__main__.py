"""`make matrix`: the tests on each promised set of versions, and installing as users do.

What was run is kept in `.matrix/` and not run again, unless `--anew` asks for it: a matrix that was
interrupted goes on where it was. The tables are Markdown, for docs/versions.md.
"""

import sys
from collections.abc import Iterator, Sequence

import click

from tests.version_matrix.environments import NotInstallable
from tests.version_matrix.installing import WAYS, WELL, try_installing
from tests.version_matrix.running import Outcome, outcome_of, run
from tests.version_matrix.suites import PART, SUITES, Suite
from tests.version_matrix.version_sets import IN_CI, PYTHONS, SETS, VersionSet

UNITS = SUITES[-1]


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--celery", "chosen", multiple=True, help="Only these versions of Celery.")
@click.option("--suite", "suites", multiple=True, help="Only these suites.")
@click.option("--part", is_flag=True, help="What CI has time for: two versions, and less of each.")
@click.option("--installs", is_flag=True, help="Only install as users do, and run the example.")
@click.option("--anew", is_flag=True, help="Run again what was run before.")
@click.option("--table", is_flag=True, help="Run nothing: print what is known.")
@click.argument("arguments", nargs=-1)
def main(
    chosen: Sequence[str],
    suites: Sequence[str],
    arguments: Sequence[str],
    *,
    part: bool,
    installs: bool,
    anew: bool,
    table: bool,
) -> None:
    """Run the matrix; ARGUMENTS are pytest's."""
    ways = ["lower bounds"] if part else list(WAYS)
    well = (bool(chosen or suites) and not installs) or table or _print_installs(ways)
    if installs:
        sys.exit(not well)
    cells = [(each, PART) for each in IN_CI] if part else list(_cells(chosen, suites))
    for versions, suite in cells:
        if table or (not anew and not part and outcome_of(versions, suite)):
            continue
        try:
            outcome = run(versions, suite, arguments=arguments)
        except NotInstallable as error:
            raise click.ClickException(f"{versions.name}: {error}") from error
        click.echo(f"{versions.name}, {suite.name}: {outcome}", err=True)
    _print(cells)
    outcomes = [outcome_of(versions, suite) for versions, suite in cells]
    sys.exit(not well or any(each is not None and each.failed for each in outcomes))


def _cells(chosen: Sequence[str], suites: Sequence[str]) -> Iterator[tuple[VersionSet, Suite]]:
    """What to run: suite by suite, the most telling ones first."""
    for suite in SUITES:
        if suites and suite.name not in suites:
            continue
        for versions in (*SETS, *(PYTHONS if suite is UNITS else ())):
            if not chosen or versions.celery in chosen:
                yield versions, suite


def _print_installs(ways: Sequence[str]) -> bool:
    """Install in each of these ways, and print what came of it."""
    outcomes = {way: try_installing(way) for way in ways}
    click.echo("| what is installed | versions | what came of it |\n|---|---|---|")
    for way, (versions, outcome) in outcomes.items():
        asked = f" (`{' '.join(WAYS[way])}`)" if WAYS[way] else ""
        click.echo(f"| {way}{asked} | {versions} | {outcome} |")
    click.echo()
    return outcomes["lower bounds"][1] == WELL


def _print(cells: Sequence[tuple[VersionSet, Suite]]) -> None:
    columns = list(dict.fromkeys(versions for versions, _ in cells))
    click.echo("| suite | " + " | ".join(map(_heading, columns)) + " |")
    click.echo("|---" * (len(columns) + 1) + "|")
    commits = set()
    for suite in dict.fromkeys(suite for _, suite in cells):
        row = []
        for versions in columns:
            outcome = outcome_of(versions, suite) if (versions, suite) in cells else None
            row.append(_cell(outcome))
            commits |= {outcome.commit} if outcome else set()
        click.echo(f"| {suite.name} | " + " | ".join(row) + " |")
    tested = ", ".join(sorted(commits)) or "no commit"
    click.echo(f"\nTests passed, at {tested}; cells without a number were not run.")


def _heading(versions: VersionSet) -> str:
    heading = f"Celery {versions.celery}, kombu {versions.kombu}, redis-py {versions.redis}"
    return heading if versions.python == "3.11" else f"{heading}, Python {versions.python}"


def _cell(outcome: Outcome | None) -> str:
    return "" if outcome is None else str(outcome)


if __name__ == "__main__":
    main()
