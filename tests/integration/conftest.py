"""One worker a server, shared by the tests that don't harm it; and the app to talk to it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration.groups.counting_harness import CountingHarness, count_trips
from tests.integration.harness import MODULE, Harness, make_harness
from tests.integration.warming.warm_harness import MODULE as WARM_MODULE
from tests.integration.warming.warm_harness import WarmHarness, environment, make_warm_harness
from tests.support.results import take_leave
from tests.support.servers import Server, ServerKind
from tests.support.workers import Worker


@pytest.fixture(scope="package")
def _shared_worker(server: Server) -> Iterator[Worker]:
    urls = server.environment
    with Worker(MODULE, env=urls, concurrency=2) as worker:
        yield worker


@pytest.fixture
def worker(_shared_worker: Worker, redis_server: Server, request: pytest.FixtureRequest) -> Worker:
    """A prefork worker of two processes. Leave it as it was."""
    assert _shared_worker.running, _shared_worker.log
    return _shared_worker


@pytest.fixture
def own_worker(worker_factory: Callable[..., Worker]) -> Callable[..., Worker]:
    """`own_worker(harness, conf, **options)`: a worker for a harness on servers of its own.

    On the shared server it would share the queue with the shared worker. `conf` is more of the
    worker's configuration, `broker` another way to the broker.
    """

    def make(
        harness: Harness,
        conf: dict[str, Any] | None = None,
        broker: str | None = None,
        **options: Any,
    ) -> Worker:
        here = harness.app.conf
        env = {
            "CELERY_BROKER_URL": broker or here.broker_url,
            "CELERY_RESULT_BACKEND": here.result_backend,
            "TASKCACHE_URL": here.taskcache_url,
            "APP_CONF": json.dumps(conf or {}),
        }
        return worker_factory(MODULE, env=env, **options)

    return make


@pytest.fixture
def new_harness(redis_server: Server, server_factory: Callable[..., Server]) -> Iterator[Any]:
    """`new_harness(server, cache=None, **conf)`: one more app. Ends before the servers do."""
    made: list[Harness] = []

    def make(*args: Any, **conf: Any) -> Harness:
        made.append(make_harness(*args, **conf))
        return made[-1]

    yield make
    for harness in made:
        take_leave(harness.app)
        harness.app.close()


@pytest.fixture
def harness(redis_server: Server, new_harness: Callable[..., Harness]) -> Harness:
    """A producer: a new app, with an empty cache."""
    return new_harness(redis_server)


@pytest.fixture
def counting_harness_alone(
    server_factory: Callable[..., Server], new_harness: Callable[..., Harness]
) -> CountingHarness:
    """A producer without workers: what isn't answered stays in the queue."""
    return count_trips(new_harness(server_factory()))


@pytest.fixture
def counting_harness(harness: Harness, worker: Worker) -> CountingHarness:
    """A producer with a worker."""
    return count_trips(harness)


@pytest.fixture(scope="module")
def _warmed(redis_kind: ServerKind) -> Iterator[Server]:
    with (
        Server(redis_kind) as server,
        Worker(WARM_MODULE, env=environment(server), concurrency=2),
    ):
        yield server


@pytest.fixture
def warm_harness(_warmed: Server) -> Iterator[WarmHarness]:
    """An app that is warmed, with a worker that the module's tests share: leave it as it was."""
    for database in (1, 2, 3):
        _warmed.client(database).flushdb()
    with make_warm_harness(_warmed) as warm_harness:
        yield warm_harness


@pytest.fixture
def own_warm_harness(server_factory: Callable[..., Server]) -> Iterator[WarmHarness]:
    """The same on a server of its own, without a worker."""
    with make_warm_harness(server_factory()) as warm_harness:
        yield warm_harness


@pytest.fixture
def works(
    own_warm_harness: WarmHarness, worker_factory: Callable[..., Worker]
) -> Callable[..., Worker]:
    """`works(**options)`: a worker for `own_warm_harness`."""

    def start(**options: Any) -> Worker:
        return worker_factory(WARM_MODULE, env=own_warm_harness.env, **options)

    return start
