"""An app in this process, and what its tasks did anywhere."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import redis
from celery import Celery

from tests.integration.app import make_app
from tests.support.servers import Server
from tests.support.waiting import wait_until
from tta_taskcache import TaskCache

MODULE = "tests.integration.app"


@dataclass
class Harness:
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


def make_harness(server: Server, cache: str | None = None, **conf: Any) -> Harness:
    app = make_app(server.url(0), server.url(1), cache or server.url(2), **conf)
    return Harness(server, app, TaskCache(app), uuid4().hex[:12])
