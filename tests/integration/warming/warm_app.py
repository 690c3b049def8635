"""The application of the tests of warming and schedules, in the tests' process, workers and beats.

Each task counts its runs in Redis; `page` also counts how many calls are on their way.
"""

import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import redis
from celery import Celery, Task

from tta_taskcache import CachedTask, Invalidate, TaskCache, Warm

RUNS_DATABASE = 3


def make_app(broker: str, backend: str, cache: str, **conf: Any) -> Celery:
    app = Celery("tests.integration.warming.warm_app", set_as_current=False)
    app.conf.update(
        broker_url=broker,
        result_backend=backend,
        taskcache_url=cache,
        taskcache_timeout=2.0,
        broker_connection_retry_on_startup=True,
        beat_schedule={"own": {"task": "own", "schedule": 1.0}},
    )
    app.conf.update(conf)
    app.run_counts = redis.Redis.from_url(
        f"{broker.rsplit('/', 1)[0]}/{RUNS_DATABASE}", socket_timeout=None
    )
    _define(app, app.run_counts)
    return app


def _define(app: Celery, counts: redis.Redis) -> None:
    # shared=False: each app of the tests' process has tasks of its own.
    cached: Any = partial(app.task, base=CachedTask, shared=False)

    def ran(*name: Any) -> None:
        counts.incr(":".join(map(str, name)))

    _define_asked(cached, counts, ran)
    _define_deadly(cached, counts)
    _define_scheduled(app, cached, ran)


def _define_asked(cached: Any, counts: redis.Redis, ran: Callable[..., None]) -> None:
    @cached(name="page")
    def page(tag: str, n: int) -> int:
        """Fails for every seventh; its result is on its way until here."""
        ran("page", tag, n)
        counts.decr(f"outstanding:{tag}")
        if tag.startswith("fails") and n % 7 == 0:
            raise ValueError(n)
        return n

    @cached(name="gated")
    def gated(tag: str, n: int) -> int:
        ran("gated", tag, n)
        counts.blpop([f"open:{tag}"], timeout=60)
        return n

    @cached(name="again", bind=True, default_retry_delay=0)
    def again(self: Task, tag: str, n: int) -> int:
        ran("again", tag, n)
        if not self.request.retries:
            raise self.retry(countdown=0)
        return n

    @cached(name="skipped", cache_if=lambda _: False)
    def skipped(tag: str, n: int) -> int:
        return n

    @cached(name="tenants", cache_vary=("tenant",))
    def tenants(tag: str) -> str:
        return tag


def _define_deadly(cached: Any, counts: redis.Redis) -> None:
    @cached(name="deadly", acks_late=False)
    def deadly(tag: str, n: int) -> int:
        """The first run takes its process with it."""
        if counts.incr(f"deadly:{tag}:{n}") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return n

    @cached(name="endless", time_limit=0.5)
    def endless(tag: str, n: int) -> None:
        counts.blpop([f"open:{tag}"], timeout=60)


def _define_scheduled(app: Celery, cached: Any, ran: Callable[..., None]) -> None:
    @cached(name="popular", cache_ttl=3600, cache_warm=Warm(every=1, hot=2))
    def popular(tag: str) -> str:
        ran("popular", tag)
        return tag

    _define_learning(app, cached, ran)

    # Never fresh until the next turn: each turn runs it once.
    @cached(name="ticks", cache_ttl=0.5, cache_warm=Warm(every=1, calls=lambda: [["a"]]))
    def ticks(name: str) -> str:
        ran("ticks", name)
        return name

    @cached(name="report", cache_key="{n}")
    def report(n: int) -> int:
        return n

    @app.task(name="own", shared=False)
    def own() -> None:
        ran("own")

    TaskCache(app).schedule(Invalidate(pattern="report:*", every=1))


def _define_learning(app: Celery, cached: Any, ran: Callable[..., None]) -> None:
    """Tasks whose requests are counted where they are answered."""
    hourly = Warm(every=3600, hot=9)

    @cached(name="popular_there", cache_sites=("consumer",), cache_warm=hourly)
    def there(tag: str) -> str:
        return tag

    @cached(name="popular_gated", cache_warm=hourly)
    def gated(tag: str) -> str:
        ran("popular_gated", tag)
        app.run_counts.blpop([f"open:{tag}"], timeout=60)
        return tag

    @cached(name="popular_again", bind=True, default_retry_delay=0, cache_warm=hourly)
    def again(self: Task, tag: str) -> str:
        if not self.request.retries:
            raise self.retry(countdown=0)
        return tag


if "CELERY_BROKER_URL" in os.environ:
    app = make_app(
        os.environ["CELERY_BROKER_URL"],
        os.environ["CELERY_RESULT_BACKEND"],
        os.environ["TASKCACHE_URL"],
    )
