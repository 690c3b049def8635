"""A worker of the conformance application, shared by the tests that only send to it."""

from collections.abc import Iterator

import pytest

from tests.conformance.harness import MODULE, Harness, environment, make_harness, settings
from tests.support.servers import Server
from tests.support.workers import Worker


@pytest.fixture(scope="package")
def _worker(server: Server) -> Iterator[Worker]:
    with Worker(MODULE, env=environment(settings(server)), concurrency=2) as worker:
        yield worker


# Not of the package: another application's witness would hear, and count, the same tasks.
@pytest.fixture(scope="module")
def prefork(server: Server, _worker: Worker) -> Iterator[Harness]:
    """The application with a prefork worker of two; broker, results and cache on Redis."""
    with make_harness(settings(server)) as made:
        yield made
