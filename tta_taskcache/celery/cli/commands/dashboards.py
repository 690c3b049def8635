"""``cache dashboards``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from .... import observability
from .. import formatting
from ..session import USAGE, CacheCommand, Failure, example

#: What is written: the files in ``observability/dashboards``.
FILES = ("taskcache.json", "alerts.yml")


@click.command(
    cls=CacheCommand,
    short_help="Write the Grafana dashboard and the alert rules.",
    epilog=example("celery -A proj cache dashboards --output monitoring"),
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="The folder to write to. It is made if it isn't there.",
)
@click.option("--force", is_flag=True, help="Replace files that differ.")
def dashboards(output: Path, *, force: bool) -> None:
    """Write the Grafana dashboard and the alert rules for Prometheus into a folder.

    Import taskcache.json into Grafana (Dashboards, New, Import) and choose the Prometheus data
    source at its top; name alerts.yml in Prometheus' rule_files. Both need metrics: set
    taskcache_metrics_port, and let Prometheus scrape that port of each worker.

    A file that is there and differs is left alone, unless --force replaces it.
    """
    texts = {name: (files(observability) / "dashboards" / name).read_bytes() for name in FILES}
    paths = {name: output / name for name in texts}
    try:
        output.mkdir(parents=True, exist_ok=True)
        edited = [
            path
            for name, path in paths.items()
            if not force and path.exists() and path.read_bytes() != texts[name]
        ]
        if edited:
            raise Failure(
                f"{', '.join(map(str, edited))}: there already, with something else in it; "
                "nothing was written (--force replaces it)",
                USAGE,
            )
        for name, path in paths.items():
            path.write_bytes(texts[name])
            click.echo(formatting.printable(str(path)))
    except OSError as error:
        raise Failure(f"{error.filename}: {error.strerror}", USAGE) from None
