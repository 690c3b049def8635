"""Results of a Redis backend that are stored together, which Celery stores one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import Celery
from celery.backends.redis import RedisBackend


class ResultBatch:
    """The results that are stored at the end of a block, in one transaction.

    Celery reads a call's state before it stores its result: that, too, is one round trip for all.

    Args:
        backend: This thread's backend.
        task_ids: Of the calls whose results are stored.
    """

    def __init__(self, backend: RedisBackend, task_ids: Sequence[str]) -> None:
        self._backend = backend
        keys = [backend.get_key_for_task(task_id) for task_id in task_ids]
        self._stored = dict(zip(keys, backend.mget(keys), strict=True)) if keys else {}
        self._kept: list[tuple[Any, Any, Any]] = []
        self._get: Callable[[Any], Any] = backend.get

    def get(self, key: Any) -> Any:
        """What was stored under a key before."""
        return self._stored[key] if key in self._stored else self._get(key)

    def keep(self, key: Any, value: Any, expires: Any = None) -> None:
        """Store a value at the end."""
        self._kept.append((key, value, self._backend.expires if expires is None else expires))

    def store(self) -> None:
        """Store all results, and publish them for their waiters."""
        if self._kept:
            self._backend.ensure(self._write, ())

    def _write(self) -> None:
        with self._backend.client.pipeline() as pipe:
            for key, value, expires in self._kept:
                pipe.set(key, value, ex=expires or None)
                pipe.publish(key, value)
            pipe.execute()


def can_batch(app: Celery) -> bool:
    """Whether results of an app can be stored together from this thread.

    Not by backends that others share: they would store theirs later than they think.
    """
    backend = app.backend
    return type(backend) is RedisBackend and not backend.thread_safe


@contextmanager
def results_together(app: Celery, task_ids: Sequence[str]) -> Iterator[None]:
    """Inside, results are kept; at the end of the block they are stored, if it raises nothing.

    Args:
        app: An app that ``can_batch``.
        task_ids: Of the calls.

    Raises:
        Exception: What the backend raises.
    """
    backend: Any = app.backend
    batch = ResultBatch(backend, task_ids)
    backend._set, backend.get = batch.keep, batch.get
    try:
        yield
    finally:
        del backend._set, backend.get
    batch.store()
