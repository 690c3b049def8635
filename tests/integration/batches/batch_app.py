"""The application of the tests of batches: each run notes its items in Redis."""

import os
from collections.abc import Callable
from typing import Any

import redis
from celery import Celery, Task
from celery.result import allow_join_result

from tta_taskcache import CachedTask

RUNS_DATABASE = 3


def make_app(broker: str, backend: str, cache: str, **conf: Any) -> Celery:
    app = Celery("tests.integration.batches", set_as_current=False)
    app.conf.update(
        broker_url=broker,
        result_backend=backend,
        taskcache_url=cache,
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=8,
        taskcache_timeout=5.0,  # the machines of CI are slow
    )
    app.conf.update(conf)
    url = backend.rsplit("/", 1)[0] + f"/{RUNS_DATABASE}"
    app.run_counts = redis.Redis.from_url(url, socket_timeout=None)
    _define(app, app.run_counts)
    app.finalize()
    return app


def _define(app: Celery, counts: redis.Redis) -> None:
    def cached(name: str, **options: Any) -> Any:
        return app.task(name=name, base=CachedTask, shared=False, **options)

    def note(name: str, tag: str, texts: list[str]) -> None:
        with counts.pipeline(transaction=False) as pipe:
            pipe.rpush(f"sizes:{name}:{tag}", len(texts))
            for text in texts:
                pipe.hincrby(f"items:{name}:{tag}", text, 1)
            pipe.execute()

    _define_batches(cached, counts, note)
    _define_plain(app, counts)


def _define_batches(cached: Any, counts: redis.Redis, note: Callable[..., None]) -> None:

    @cached("embed", cache_each="texts", cache_key="{texts}", cache_tags=("text:{texts}",))
    def embed(tag: str, texts: list[str]) -> list[Any]:
        """What each text is made to; waits, with a gate, until a test opens it."""
        note("embed", tag, texts)
        if counts.exists(f"gated:{tag}"):
            counts.rpush(f"started:{tag}", ",".join(texts))
            order = counts.blpop([f"open:{tag}"], timeout=60)
            if order and order[1] == b"fail":
                raise ValueError(tag)
        return [f"<{text}>" for text in texts]

    @cached("rates", cache_each="codes", cache_ttl=0.3, cache_stale_while_revalidate=60)
    def rates(tag: str, codes: list[str]) -> list[int]:
        note("rates", tag, codes)
        return [int(counts.hincrby(f"rate:{tag}", code, 1)) for code in codes]

    @cached("prices", cache_each="items", cache_vary=("tenant",))
    def prices(tag: str, items: list[int]) -> dict[int, str]:
        note("prices", tag, list(map(str, items)))
        return {item: f"{item} €" for item in items}

    @cached("inside", bind=True, cache_each="texts", cache_ignore=("depth",))
    def inside(self: Task, tag: str, texts: list[str], depth: int = 0) -> list[str]:
        """Asks for its own items, by a message, and waits for the answer."""
        note("inside", tag, texts)
        if depth:
            return [f"inner {text}" for text in texts]
        with allow_join_result():
            inner: list[str] = self.delay(tag, texts, depth=1).get(timeout=60)
            return inner


def _define_plain(app: Celery, counts: redis.Redis) -> None:
    @app.task(name="gate", shared=False, ignore_result=True)
    def gate(name: str) -> None:
        counts.rpush(f"waiting:{name}", os.getpid())
        counts.blpop([f"go:{name}"], timeout=60)

    @app.task(name="plain", shared=False)
    def plain(x: int) -> int:
        return x

    @app.task(name="sum", shared=False)
    def collect(found: list[list[str]]) -> int:
        return sum(map(len, found))


if "CELERY_BROKER_URL" in os.environ:
    app = make_app(
        os.environ["CELERY_BROKER_URL"],
        os.environ["CELERY_RESULT_BACKEND"],
        os.environ["TASKCACHE_URL"],
    )
