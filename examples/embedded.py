"""A Redis for the examples: the one that `REDIS_URL` names, or one of their own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.analysis.demo.processes import server


@contextmanager
def redis_url() -> Iterator[str]:
    """The URL of a Redis, for as long as the block lasts."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server(Path(folder), os.environ.get("REDIS_URL")) as (_, env),
    ):
        yield env["TASKCACHE_URL"]
