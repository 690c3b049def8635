"""`python -m benchmarks`: compare all, side by side; or run the benchmarks that are named."""

import sys
import time

import click

from benchmarks import (
    coalescing,
    dependencies,
    event_loops,
    freshness,
    groups,
    hot,
    invalidation,
    metrics,
    semantic,
    task_hits,
)
from benchmarks.comparison import calls, counts, growth, lookups, report, streams
from benchmarks.comparison.app import make_app
from benchmarks.show import console, table
from tests.support.servers import Server, available

BENCHMARKS = {
    "coalescing": coalescing.run,
    "dependencies": dependencies.run,
    "event_loops": event_loops.run,
    "freshness": freshness.run,
    "groups": groups.run,
    "hot": hot.run,
    "invalidation": invalidation.run,
    "metrics": metrics.run,
    "semantic": semantic.run,
    "task_hits": task_hits.run,
}

#: Parts of the comparison, in order.
PARTS = {"lookups": lookups.run, "calls": calls.run, "growth": growth.run, "streams": streams.run}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*BENCHMARKS, *PARTS]))
@click.option("--counts", "only_counts", is_flag=True, help="Check counts only, never times.")
@click.option("--rounds", default=9, show_default=True, help="Rounds by turns.")
@click.option(
    "--runs",
    default=1,
    show_default=True,
    help="Runs of the comparison, of which the median is shown.",
)
def main(names: tuple[str, ...], only_counts: bool, rounds: int, runs: int) -> None:
    """Compare on an embedded server, or run the benchmarks that are named."""
    if only_counts:
        sys.exit(_check_counts())
    for name in names:
        if name in BENCHMARKS:
            BENCHMARKS[name]()
    parts = [name for name in PARTS if name in names or not names]
    if parts:
        _compare(parts, rounds, runs)


def _check_counts() -> int:
    """Print the counts; 1 if one is above its bound."""
    with Server(available()[0]) as server:
        app = make_app(server.url(0), server.url(1), server.url(2))
        counted = counts.measure(server, app)
        app.close()
    rows = [(name, f"{counted[name]:g}", str(most)) for name, most in counts.BOUNDS.items()]
    table("counts", ("what", "counted", "at most"), rows)
    return int(any(counted[name] > most for name, most in counts.BOUNDS.items()))


def _compare(parts: list[str], rounds: int, runs: int) -> None:
    measured, missing = [], []
    for number in range(runs):
        rows = []
        for part in parts:
            started = time.perf_counter()
            with Server(available()[0], "--enable-debug-command", "yes") as server:
                app = make_app(server.url(0), server.url(1), server.url(2))
                found, reasons = PARTS[part](server, app, rounds)
                app.close()
            rows += [row.summary() for row in found]
            missing += reasons
            console.print(f"run {number + 1}: {part}, {time.perf_counter() - started:.0f} s")
        measured.append(rows)
    report.write(measured, missing)
    console.print(f"results: {report.FOLDER}")


main()
