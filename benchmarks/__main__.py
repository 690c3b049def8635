"""`python -m benchmarks`: run all of them, or those that are named."""

import click

from benchmarks import (
    coalescing,
    event_loops,
    freshness,
    groups,
    hot,
    invalidation,
    metrics,
    semantic,
    task_hits,
)

BENCHMARKS = {
    "coalescing": coalescing.run,
    "event_loops": event_loops.run,
    "freshness": freshness.run,
    "groups": groups.run,
    "hot": hot.run,
    "invalidation": invalidation.run,
    "metrics": metrics.run,
    "semantic": semantic.run,
    "task_hits": task_hits.run,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
def main(names: tuple[str, ...]) -> None:
    """Run benchmarks on an embedded server, and print what they found."""
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()


main()
