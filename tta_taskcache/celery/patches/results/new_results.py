"""The stored result of a call whose id is new: nobody waits for it, and nothing is stored there."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from celery import states
from celery.app.task import Context
from celery.backends.redis import RedisBackend

from ....core.record import record


@record
class NewResult:
    """A result that is ready to be stored.

    Attributes:
        backend: The result backend.
        key: Its key there.
        data: Its bytes.
        meta: The meta data that the backend returns of it.
    """

    backend: RedisBackend
    key: Any
    data: Any
    meta: dict[str, Any]

    def store(self) -> None:
        """Store it with one command.

        Raises:
            redis.RedisError: Redis didn't take it.
        """
        self.backend.client.set(self.key, self.data, ex=self.backend.expires or None)


def can_store(backend: Any) -> bool:
    """Whether results of a backend can be stored so: Redis', of which nothing is replaced."""
    # An extended result has what a worker knows of the call.
    is_as_made = type(backend) is RedisBackend and not _REPLACEABLE & vars(backend).keys()
    return is_as_made and not backend.app.conf.result_extended


#: The methods with which Celery stores a result, which tools and tests replace.
_REPLACEABLE = frozenset(
    {"mark_as_done", "store_result", "_store_result", "set", "_set", "_set_with_state", "encode"}
)


def make_result(
    backend: RedisBackend, task_id: str, value: Any, group: str | None, parent_id: str | None
) -> NewResult:
    """Make the result of a call that has succeeded.

    Args:
        backend: The backend, one that ``can_store``.
        task_id: The call's id.
        value: What it returned.
        group: Id of its group.
        parent_id: Id of its parent.

    Raises:
        EncodeError: The backend's serializer can't carry the value.
    """
    request = Context(group=group, parent_id=parent_id)
    stored = backend.encode_result(value, states.SUCCESS)
    meta: dict[str, Any] = backend._get_result_meta(stored, states.SUCCESS, None, request)
    meta["task_id"] = task_id
    return NewResult(backend, backend.get_key_for_task(task_id), backend.encode(meta), meta)


def store_together(results: Sequence[NewResult]) -> None:
    """Store the results of a group's calls, whose ids aren't new, in two round trips.

    As Celery does, what is stored as a success stays, and who waits for one is told.

    Raises:
        Exception: What the backend raises.
    """
    for backend, batch in _by_backend(results):
        backend.ensure(_store_unless_stored, (backend, batch))


def store_new(results: Sequence[NewResult]) -> None:
    """Store results whose ids were new a moment ago, in one round trip.

    Raises:
        Exception: What the backend raises.
    """
    for backend, batch in _by_backend(results):
        backend.ensure(_store_all, (backend, batch))


def _by_backend(
    results: Sequence[NewResult],
) -> Iterable[tuple[RedisBackend, list[NewResult]]]:
    batches: dict[int, tuple[RedisBackend, list[NewResult]]] = {}
    for result in results:
        batches.setdefault(id(result.backend), (result.backend, []))[1].append(result)
    return batches.values()


def _store_unless_stored(backend: RedisBackend, batch: Sequence[NewResult]) -> None:
    stored = backend.mget([result.key for result in batch])
    _store_all(
        backend,
        [
            result
            for result, data in zip(batch, stored, strict=True)
            if not data or backend.decode_result(data)["status"] != states.SUCCESS
        ],
    )


def _store_all(backend: RedisBackend, batch: Sequence[NewResult]) -> None:
    with backend.client.pipeline() as pipe:
        for result in batch:
            pipe.set(result.key, result.data, ex=backend.expires or None)
            pipe.publish(result.key, result.data)  # somebody may have learnt the id by now
        pipe.execute()
