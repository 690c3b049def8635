"""Commands of `celery -A proj cache`, run as a user would."""

import pytest

from tests.integration import cli_app
from tests.integration.operating.command_line import BROKER, FORECAST, TOTAL, Cli
from tests.support.servers import Server
from tta_taskcache import TaskCache
from tta_taskcache.core.entries.marks import of_task


@pytest.fixture
def cli(redis_server: Server) -> Cli:
    urls = {
        # Not where workers of other tests take messages.
        "CELERY_BROKER_URL": redis_server.url(BROKER),
        "CELERY_RESULT_BACKEND": redis_server.url(1),
        "TASKCACHE_URL": redis_server.url(2),
    }
    cli_app.app.finalize()
    return Cli(urls, TaskCache(cli_app.app, url=redis_server.url(2), timeout=5))


@pytest.fixture
def filled(cli: Cli) -> Cli:
    """Three entries of two tasks, one of them read twice."""
    forecast, total = cli.task(FORECAST), cli.task(TOTAL)
    for city in ("Berlin", "Rome/Ostia"):
        forecast.cache.call("u42", city)
    forecast.cache.call("u42", "Berlin")
    forecast.cache.call("u42", "Berlin")
    total.cache.set(6, [1, 2, 3])
    cli.cache.stats()  # hands over what this process counted
    return cli


@pytest.fixture
def ended(cli: Cli) -> Cli:
    """300 entries that have ended, and one that hasn't; no sweep was asked for."""
    for number in range(300):
        cli.task(TOTAL).cache.set(number, [number])
    runtime = cli.cache.runtime
    runtime.run(runtime.engine.invalidate((of_task(TOTAL),)))
    cli.task(FORECAST).cache.set(1, "u42", "Berlin")
    return cli
