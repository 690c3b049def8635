"""One worker a server, shared by the tests that don't harm it; and the app to talk to it."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.integration import scenes
from tests.integration.benches import MODULE, Bench, make_bench
from tests.integration.scenes import Scene, make_scene
from tests.integration.shop import Shop, shop_of
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
    """`own_worker(bench, conf, **options)`: a worker for a bench on servers of its own.

    On the shared server it would share the queue with the shared worker. `conf` is more of the
    worker's configuration, `broker` another way to the broker.
    """

    def make(
        bench: Bench,
        conf: dict[str, Any] | None = None,
        broker: str | None = None,
        **options: Any,
    ) -> Worker:
        here = bench.app.conf
        env = {
            "CELERY_BROKER_URL": broker or here.broker_url,
            "CELERY_RESULT_BACKEND": here.result_backend,
            "TASKCACHE_URL": here.taskcache_url,
            "APP_CONF": json.dumps(conf or {}),
        }
        return worker_factory(MODULE, env=env, **options)

    return make


@pytest.fixture
def new_bench(redis_server: Server, server_factory: Callable[..., Server]) -> Iterator[Any]:
    """`new_bench(server, cache=None, **conf)`: one more app. Ends before the servers do."""
    made: list[Bench] = []

    def make(*args: Any, **conf: Any) -> Bench:
        made.append(make_bench(*args, **conf))
        return made[-1]

    yield make
    for bench in made:
        take_leave(bench.app)
        bench.app.close()


@pytest.fixture
def bench(redis_server: Server, new_bench: Callable[..., Bench]) -> Bench:
    """A producer: a new app, with an empty cache."""
    return new_bench(redis_server)


@pytest.fixture
def alone(server_factory: Callable[..., Server], new_bench: Callable[..., Bench]) -> Shop:
    """A producer without workers: what isn't answered stays in the queue."""
    return shop_of(new_bench(server_factory()))


@pytest.fixture
def shop(bench: Bench, worker: Worker) -> Shop:
    """A producer with a worker."""
    return shop_of(bench)


@pytest.fixture(scope="module")
def _warmed(redis_kind: ServerKind) -> Iterator[Server]:
    with (
        Server(redis_kind) as server,
        Worker(scenes.MODULE, env=scenes.environment(server), concurrency=2),
    ):
        yield server


@pytest.fixture
def scene(_warmed: Server) -> Iterator[Scene]:
    """An app that is warmed, with a worker that the module's tests share: leave it as it was."""
    for database in (1, 2, 3):
        _warmed.client(database).flushdb()
    with make_scene(_warmed) as scene:
        yield scene


@pytest.fixture
def own_scene(server_factory: Callable[..., Server]) -> Iterator[Scene]:
    """The same on a server of its own, without a worker."""
    with make_scene(server_factory()) as scene:
        yield scene


@pytest.fixture
def works(own_scene: Scene, worker_factory: Callable[..., Worker]) -> Callable[..., Worker]:
    """`works(**options)`: a worker for `own_scene`."""

    def start(**options: Any) -> Worker:
        return worker_factory(scenes.MODULE, env=own_scene.env, **options)

    return start
