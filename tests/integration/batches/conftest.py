"""Apps with batches, and their workers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery

from tests.integration.batches.batch_app import make_app
from tests.support.results import take_leave
from tests.support.servers import Server
from tests.support.workers import Worker
from tta_taskcache import TaskCache
from tta_taskcache.testing import FaultyStore

MODULE = "tests.integration.batches.batch_app"

#: What a test waits at most (s).
PATIENCE = 60


@dataclass
class BatchHarness:
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
    tag: str = field(default_factory=lambda: uuid4().hex[:8])

    @property
    def embed(self) -> Any:
        return self.app.tasks["embed"]

    def task(self, name: str) -> Any:
        return self.app.tasks[name]

    def ran(self, task: str = "embed") -> dict[str, int]:
        """How often each item ran."""
        found = self.app.run_counts.hgetall(f"items:{task}:{self.tag}")
        return {item.decode(): int(times) for item, times in found.items()}

    def sizes(self, task: str = "embed") -> list[int]:
        """The number of items of each run."""
        return [int(size) for size in self.app.run_counts.lrange(f"sizes:{task}:{self.tag}", 0, -1)]

    @property
    def sent(self) -> int:
        """Messages that nobody has taken."""
        return int(self.server.client(0).llen("celery"))

    def shut(self) -> None:
        """Let each run wait until it is opened."""
        self.app.run_counts.set(f"gated:{self.tag}", 1)

    def started(self) -> list[str]:
        """Wait for a run: its items."""
        popped = self.app.run_counts.blpop([f"started:{self.tag}"], timeout=PATIENCE)
        assert popped is not None, "nothing runs"
        return popped[1].decode().split(",")

    def open(self, *orders: str) -> None:
        """Let as many runs go on as there are orders."""
        self.app.run_counts.rpush(f"open:{self.tag}", *(orders or ("go",)))

    def waiting(self) -> int:
        """Number of messages that wait in workers' main processes for items in flight."""
        replies = self.app.control.broadcast("taskcache", reply=True, timeout=1) or []
        return sum(one["followers"] for reply in replies for one in reply.values())


def make_batch_harness(server: Server, **conf: Any) -> BatchHarness:
    app = make_app(server.url(0), server.url(1), server.url(2), **conf)
    return BatchHarness(server, app, TaskCache(app))


def count_commands(batches: BatchHarness) -> list[Any]:
    """Note the commands of an app's process from now on."""
    runtime = batches.cache.runtime
    runtime.engine.parts.l1.max_staleness = 60.0  # a slow machine polls no more often
    store = FaultyStore(runtime.store)
    batches.cache._provider._built["runtime"] = replace(runtime, store=store)
    return store.commands


@pytest.fixture
def new_batches(server_factory: Callable[..., Server]) -> Iterator[Callable[..., BatchHarness]]:
    """`new_batches(server, **conf)`: one more app."""
    made: list[BatchHarness] = []

    def make(server: Server | None = None, **conf: Any) -> BatchHarness:
        made.append(make_batch_harness(server or server_factory(), **conf))
        return made[-1]

    yield make
    for harness in made:
        take_leave(harness.app)
        harness.app.close()


@pytest.fixture
def batches(redis_server: Server, new_batches: Callable[..., BatchHarness]) -> BatchHarness:
    """A producer without workers of its own, with an empty cache."""
    return new_batches(redis_server)


@pytest.fixture
def work(worker_factory: Callable[..., Worker]) -> Callable[..., Worker]:
    """`work(harness, **options)`: a worker."""

    def start(harness: BatchHarness, **options: Any) -> Worker:
        conf = harness.app.conf
        env = {
            "CELERY_BROKER_URL": conf.broker_url,
            "CELERY_RESULT_BACKEND": conf.result_backend,
            "TASKCACHE_URL": conf.taskcache_url,
        }
        return worker_factory(MODULE, env=env, **options)

    return start
