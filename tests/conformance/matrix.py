"""The matrix: which workflows come out as plain ones, answered at which site, in which place.

`make conformance` prints it: every workflow at each place where one thing differs from a prefork
worker with everything on Redis; and, if asked, a few of them at all other combinations.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from tests.conformance.app import CACHED
from tests.conformance.cases import CANVASES, FEATURES, Case
from tests.conformance.comparing import HotCallTally, tally
from tests.conformance.places import AXES, FEW, PRODUCT, Around, Place, at, why_not
from tests.support import rabbitmq, servers
from tests.support.rabbitmq import Rabbit
from tests.support.servers import Server

ALL = CANVASES | FEATURES
SOON = ("countdown", "countdown in a chain")


@dataclass
class Row:
    """What came of one place.

    Attributes:
        place: Where.
        counts: Of each kind of task, in the order of `CACHED`.
        missing: Why the place can't be had here.
    """

    place: Place
    counts: dict[str, HotCallTally]
    missing: str = ""

    def cells(self) -> list[str]:
        names = [self.place.pool, self.place.broker, self.place.backend]
        if self.missing:
            return [*names, f"not run: {self.missing}", *[""] * len(CACHED)]
        tallies = [self.counts[kind] for kind in CACHED]
        first = tallies[0]
        run = first.passed + first.refused + len(first.differences)
        return [*names, str(run), *map(_cell, tallies)]


def _cell(count: HotCallTally) -> str:
    told = f"{count.passed}"
    if count.refused:
        told += f" + {count.refused} refused"
    if count.differences:
        told += f", {len(count.differences)} DIFFER"
    return told


def cases_of(place: Place) -> dict[str, Case]:
    """What is run at a place."""
    names = ALL if place in AXES else FEW
    # With quorum queues Celery can't send what is to come in less than a second.
    left_out = SOON if place.broker == "quorum" else ()
    return {name: ALL[name] for name in names if name not in left_out}


class Rabbits:
    """RabbitMQ, from the first time it is asked for until the end."""

    def __init__(self) -> None:
        self._rabbit: Rabbit | None = None

    def __call__(self) -> Rabbit:
        if self._rabbit is None:
            self._rabbit = Rabbit().start()
        return self._rabbit

    def stop(self) -> None:
        if self._rabbit is not None:
            self._rabbit.stop()


def run(places: Iterable[Place], progress: Progress) -> list[Row]:
    """Run the workflows everywhere, each place with a server of its own."""
    rabbit, rows = Rabbits(), []
    try:
        for place in progress.track(list(places), description="places"):
            if reason := why_not(place):
                rows.append(Row(place, {}, reason))
                continue
            with Server(servers.available()[0]) as server, TemporaryDirectory() as folder:
                around = Around(server, rabbit, Path(folder))
                with at(place, around) as harness:
                    rows.append(Row(place, tally(harness, CACHED, cases_of(place))))
            progress.console.print(
                *rows[-1].cells(), *differences(rows[-1:]), sep=" · ", markup=False
            )
    finally:
        rabbit.stop()
    return rows


def table(rows: list[Row]) -> Table:
    made = Table(title="as plain tasks, cold and warm", caption="workflows passed at each site")
    for name in ("pool", "broker", "results"):
        made.add_column(name)
    for name in ("run", "all sites", *CACHED[1:]):
        made.add_column(name, justify="right")
    for row in rows:
        made.add_row(*row.cells())
    return made


def markdown(rows: list[Row]) -> str:
    head = ["pool", "broker", "results", "run", "all sites", *CACHED[1:]]
    lines = [head, ["---"] * len(head), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines) + "\n"


def differences(rows: list[Row]) -> list[str]:
    return [
        f"{row.place} · {kind} · {difference}"
        for row in rows
        for kind, count in row.counts.items()
        for difference in count.differences
    ]


@click.command()
@click.option("--product", is_flag=True, help="All combinations, also those that differ in more.")
@click.option("--only", help="Only places whose name contains this, as 'gevent, redis'.")
@click.option("--write", type=click.Path(path_type=Path), help="Write the table as Markdown.")
def main(*, product: bool, only: str | None, write: Path | None) -> None:
    """Compare workflows of cached tasks with plain ones at every place there is."""
    console = Console()
    if rabbitmq.executable() is None:
        console.print(f"Without RabbitMQ: {rabbitmq.why_missing()}")
    places = [place for place in (PRODUCT if product else AXES) if (only or "") in str(place)]
    with Progress(console=console) as progress:
        rows = run(places, progress)
    console.print(table(rows))
    if write:
        write.write_text(markdown(rows))
    if differing := differences(rows):
        raise click.ClickException(f"{len(differing)} workflows differ.")


if __name__ == "__main__":
    main()
