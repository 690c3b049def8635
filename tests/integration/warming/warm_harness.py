"""An app that is warmed, on a server of its own, and what it sent."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from celery import Celery, signals

from tests.integration.warming.warm_app import make_app
from tests.support.results import take_leave
from tests.support.servers import Server
from tests.support.workers import Worker, clean_environment
from tta_taskcache import TaskCache

MODULE = "tests.integration.warming.warm_app"

Workers = Callable[..., Worker]


@dataclass
class WarmHarness:
    """An app in this process, and what it sent.

    Attributes:
        app: The app.
        cache: Its cache.
        tag: An argument that no other test uses.
        sent: When each message of `page` went out, and how many were on their way with it.
    """

    server: Server
    app: Celery
    cache: TaskCache
    tag: str = field(default_factory=lambda: uuid4().hex[:8])
    sent: list[tuple[float, int]] = field(default_factory=list)

    def task(self, name: str) -> Any:
        return self.app.tasks[name]

    def calls(self, number: int) -> Iterator[list[Any]]:
        return ([self.tag, n] for n in range(number))

    def runs(self, *name: Any) -> int:
        return int(self.app.run_counts.get(":".join(map(str, name))) or 0)

    def all_runs(self, task: str) -> list[int]:
        counts = self.app.run_counts
        return [int(counts.get(key)) for key in counts.scan_iter(f"{task}:{self.tag}:*")]

    def on_publish(self, **_: Any) -> None:
        outstanding = self.app.run_counts.incr(f"outstanding:{self.tag}")
        self.sent.append((time.monotonic(), outstanding))

    def command(self, *args: str) -> list[str]:
        return [sys.executable, "-m", "celery", "-A", MODULE, "cache", "warm", *args]

    @property
    def env(self) -> dict[str, str]:
        return clean_environment(os.environ) | environment(self.server)


def environment(server: Server) -> dict[str, str]:
    return {
        "CELERY_BROKER_URL": server.url(0),
        "CELERY_RESULT_BACKEND": server.url(1),
        "TASKCACHE_URL": server.url(2),
    }


@contextmanager
def make_warm_harness(server: Server) -> Iterator[WarmHarness]:
    app = make_app(server.url(0), server.url(1), server.url(2))
    app.finalize()
    made = WarmHarness(server, app, TaskCache(app))
    signals.before_task_publish.connect(made.on_publish, sender="page", weak=False)
    yield made
    signals.before_task_publish.disconnect(made.on_publish, sender="page")
    take_leave(app)
    app.close()
