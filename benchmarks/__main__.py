"""`python -m benchmarks`: run all of them, or those that are named."""

import click

from benchmarks import coalescing, freshness, groups, hot, invalidation, metrics

BENCHMARKS = {
    "coalescing": coalescing.run,
    "freshness": freshness.run,
    "groups": groups.run,
    "hot": hot.run,
    "invalidation": invalidation.run,
    "metrics": metrics.run,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)))
def main(names: tuple[str, ...]) -> None:
    """Run benchmarks on an embedded server, and print what they found."""
    for name in names or BENCHMARKS:
        BENCHMARKS[name]()


main()
