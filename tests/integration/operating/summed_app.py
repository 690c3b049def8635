"""An app whose tasks end in all ways, and count in Redis how each run has ended."""

import os
from typing import Any

import redis
from celery import Celery
from celery.exceptions import Ignore, Reject

from tta_taskcache import CachedTask

MODULE = "tests.integration.operating.summed_app"

#: Options of the tasks, by name.
TASKS: dict[str, dict[str, Any]] = {
    "everywhere": {},
    "producer": {"cache_sites": ("producer",)},
    "consumer": {"cache_sites": ("consumer",)},
    "pool": {"cache_sites": ("pool",)},
    "alone": {"cache_coalesce": False},
    "verified": {"cache_verify": 1.0},
    "shadowed": {"cache_shadow": True},
    "refusing": {"cache_if": lambda result: result % 2 == 0},
    "off": {"cache_enabled": False},
    "remembering": {"cache_errors": {ValueError: 60}},
}


def make_app(broker: str, backend: str, cache: str) -> Celery:
    app = Celery(MODULE, broker=broker, backend=backend, set_as_current=False)
    app.conf.update(
        taskcache_url=cache, taskcache_timeout=5.0, broker_connection_retry_on_startup=True
    )
    app.ends = redis.Redis.from_url(backend)
    for name, options in TASKS.items():
        _define(app, name, options)
    app.finalize()
    return app


def _define(app: Celery, name: str, options: dict[str, Any]) -> None:
    @app.task(name=name, base=CachedTask, bind=True, shared=False, max_retries=1, **options)
    def run(self: Any, way: str, number: int) -> int:
        is_again = self.request.retries > 0
        end = "returned" if way == "retry" and is_again else way
        app.ends.hincrby(f"ends:{name}", end)
        match end:
            case "failed":
                raise ValueError(number)
            case "retry":
                raise self.retry(countdown=0)
            case "ignore":
                raise Ignore
            case "reject":
                raise Reject(requeue=False)
        return number


if "SUMMED_CACHE" in os.environ:
    app = make_app(
        os.environ["CELERY_BROKER_URL"],
        os.environ["CELERY_RESULT_BACKEND"],
        os.environ["SUMMED_CACHE"],
    )
