"""Which Celery, kombu and redis-py are installed here, and what the app uses them for."""

from __future__ import annotations

import threading
from importlib.metadata import version
from typing import Any

import redis
from celery import Celery
from celery.backends.redis import RedisBackend

from ...core.record import record


@record(kw_only=True)
class PackageFacts:
    """What judgements about packages are made of.

    Attributes:
        celery: Version of Celery.
        kombu: Version of kombu.
        redis: Version of redis-py.
        pubsub_lock_is_reentrant: Whether a thread that holds the lock of redis-py's pub/sub can
            take it again, as Celery needs it; also if there is no lock.
        redis_broker: Whether the broker is Redis.
        redis_results: Whether results are in Redis.
    """

    celery: str
    kombu: str
    redis: str
    pubsub_lock_is_reentrant: bool
    redis_broker: bool
    redis_results: bool


def read_packages(app: Celery) -> PackageFacts:
    """See what is installed. Connects to nothing."""
    transport = app.connection_for_write().transport_cls
    return PackageFacts(
        celery=version("celery"),
        kombu=version("kombu"),
        redis=version("redis"),
        pubsub_lock_is_reentrant=not isinstance(_pubsub_lock(), type(threading.Lock())),
        redis_broker=transport in ("redis", "rediss", "sentinel"),
        redis_results=isinstance(app.backend, RedisBackend),
    )


def _pubsub_lock() -> Any:
    pubsub = redis.Redis().pubsub()  # type: ignore[no-untyped-call]  # connects when first used
    return getattr(pubsub, "_lock", None)
