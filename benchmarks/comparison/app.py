"""The application of the comparison: the same in the measuring process and in its workers."""

import os
import time
from typing import Any

from celery import Celery

from tta_taskcache import CachedTask, TaskCache

SITES = ("producer", "consumer", "pool")


def make_app(broker: str, backend: str, cache: str, **conf: Any) -> Celery:
    """An app whose tasks do nothing, but for one that sleeps."""
    app = Celery("benchmarks.comparison.app", set_as_current=False)
    app.conf.update(
        broker_url=broker,
        result_backend=backend,
        taskcache_url=cache,
        taskcache_timeout=2.0,
        broker_connection_retry_on_startup=True,
        singleton_backend_url=cache,
        ONCE={"backend": "celery_once.backends.Redis", "settings": {"url": cache}},
    )
    app.conf.update(conf)
    TaskCache(app)

    def define(name: str, function: Any, **options: Any) -> None:
        app.task(name=name, shared=False, **options)(function)

    def nothing(number: int = 0) -> int:
        return number

    def text(size: int) -> str:
        return "x" * size

    def sleep(key: str, seconds: float) -> str:
        time.sleep(seconds)
        return key

    for name, function in {"nothing": nothing, "text": text, "sleep": sleep}.items():
        define(f"plain.{name}", function)
        define(f"cached.{name}", function, base=CachedTask)
        for site in SITES:
            define(f"{site}.{name}", function, base=CachedTask, cache_sites=(site,))
    for name, base, options in _single_flight_peers():
        define(f"{name}.sleep", sleep, base=base, **options)
    app.finalize()
    return app


def _single_flight_peers() -> list[tuple[str, Any, dict[str, Any]]]:
    """Other libraries for equal calls in flight, those that are installed."""
    peers: list[tuple[str, Any, dict[str, Any]]] = []
    try:
        from celery_singleton import Singleton  # noqa: PLC0415 - an optional peer

        peers.append(("celery-singleton", Singleton, {}))
    except ImportError:
        pass
    try:
        from celery_once import QueueOnce  # noqa: PLC0415 - an optional peer

        peers.append(("celery-once", QueueOnce, {"once": {"graceful": True}}))
    except ImportError:
        pass
    return peers


if "CELERY_BROKER_URL" in os.environ:
    app = make_app(
        os.environ["CELERY_BROKER_URL"],
        os.environ["CELERY_RESULT_BACKEND"],
        os.environ["TASKCACHE_URL"],
    )
