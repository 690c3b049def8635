"""A Redis for the examples: the one that `REDIS_URL` names, or one of their own."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.analysis.demo.processes import server


@contextmanager
def redis() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder for logs, and the environment that leads an app to Redis, while the block lasts.

    A command may take 5 s instead of 0.25: a laptop that starts all of this may be busy.
    """
    with (
        tempfile.TemporaryDirectory() as name,
        server(Path(name), os.environ.get("REDIS_URL")) as (_, env),
    ):
        url = env["TASKCACHE_URL"]
        mark = "&" if "?" in url else "?"
        patient = f"{url}{mark}socket_timeout=5&socket_connect_timeout=5"
        yield Path(name), {**env, "TASKCACHE_URL": patient}


@contextmanager
def redis_url() -> Iterator[str]:
    """The URL of a Redis, for as long as the block lasts."""
    with redis() as (_, env):
        yield env["TASKCACHE_URL"]
