"""One worker a server, shared by the tests that don't harm it; and the app to talk to it."""

import gc
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery import Celery

from tests.integration.app import make_app
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tests.support.workers import Worker
from tta_taskcache import TaskCache

MODULE = "tests.integration.app"


@dataclass
class Bench:
    """An app in this process, and what its tasks did anywhere.

    Attributes:
        server: Where its broker is.
        app: The app.
        cache: Its cache.
        tag: An argument that no other test uses.
    """

    server: Server
    app: Celery
    cache: TaskCache
    tag: str

    def task(self, name: str) -> Any:
        return self.app.tasks[name]

    @property
    def counts(self) -> redis.Redis:
        return self.app.run_counts

    def runs(self, *name: Any) -> int:
        return int(self.counts.get(":".join(map(str, name))) or 0)

    def occupy(self, processes: int) -> Callable[[], None]:
        """Keep pool processes busy; returns what opens the gate again."""
        name = uuid4().hex
        for _ in range(processes):
            self.task("gate").delay(name)
        wait_until(
            lambda: self.counts.llen(f"waiting:{name}") == processes, what="busy pool processes"
        )
        return lambda: self.counts.rpush(f"open:{name}", *range(processes)) and None


def make_bench(server: Server, cache: str | None = None, **conf: Any) -> Bench:
    app = make_app(server.url(0), server.url(1), cache or server.url(2), **conf)
    return Bench(server, app, TaskCache(app), uuid4().hex[:12])


@pytest.fixture(scope="package")
def _shared_worker(server: Server) -> Iterator[Worker]:
    urls = {
        "CELERY_BROKER_URL": server.url(0),
        "CELERY_RESULT_BACKEND": server.url(1),
        "TASKCACHE_URL": server.url(2),
    }
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
    gc.collect()  # results take leave of their server while it is there
    for bench in made:
        bench.app.close()


@pytest.fixture
def bench(redis_server: Server, new_bench: Callable[..., Bench]) -> Bench:
    """A producer: a new app, with an empty cache."""
    return new_bench(redis_server)
