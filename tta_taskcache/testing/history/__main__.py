"""Check a history that was kept: ``python -m tta_taskcache.testing.history FILE ...``."""

from __future__ import annotations

from pathlib import Path

import click

from . import History, HistoryError, check, surplus_runs


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--staleness",
    type=click.FloatRange(min=0),
    default=0.25,
    show_default=True,
    help="Δ in seconds: how long after an invalidation a memory may still answer.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Print so many violations.",
)
def main(files: tuple[Path, ...], staleness: float, limit: int) -> None:
    """Check the promises I1 and I2 in a history, which may be in several FILES.

    Exits with 1 when they were broken, with 2 when the history can't be read.
    """
    try:
        history = History.load(*files)
    except (HistoryError, UnicodeDecodeError) as error:
        raise click.UsageError(str(error)) from error
    violations = check(history, staleness)
    for violation in violations[:limit]:
        click.echo(str(violation))
    if len(violations) > limit:
        click.echo(f"… and {len(violations) - limit:,} more")
    unknown = sum(not item.acknowledged for item in history.invalidations)
    click.echo(
        f"{len(history.reads):,} reads, {len(history.invalidations):,} invalidations "
        f"({unknown:,} not acknowledged), {len(history.runs):,} runs "
        f"({surplus_runs(history):,} more than needed): {len(violations):,} violations"
    )
    raise SystemExit(1 if violations else 0)


if __name__ == "__main__":
    main()
