"""Cached tasks in a process of their own, on a fake clock."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Self

from celery import Celery

from tta_taskcache import CachedTask, TaskCache
from tta_taskcache.celery.config.settings import Settings
from tta_taskcache.testing import FakeClock


class OneProcess:
    """An app whose cache is in memory, and whose calls are eager."""

    def __init__(self) -> None:
        self.app = Celery(set_as_current=False, broker="memory://", backend="cache+memory://")
        self.app.conf.task_always_eager = True
        self.cache = TaskCache(self.app)
        self.clock = FakeClock()

    def task(self, run: Callable[..., Any], **options: Any) -> Any:
        options = {"cache_ttl": 100, "name": run.__name__, **options}

        @wraps(run)
        def body(*args: Any, **kwargs: Any) -> Any:
            return run(*args, **kwargs)

        body.__name__ = options["name"]
        return self.app.task(base=CachedTask, shared=False, **options)(body)

    def fills(self, task: Any) -> dict[str, int]:
        return self.cache.stats().tasks[task.name].fills

    def __enter__(self) -> Self:
        self.block = self.cache.substituted(Settings(), self.clock)
        self.block.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.block.__exit__(None, None, None)
