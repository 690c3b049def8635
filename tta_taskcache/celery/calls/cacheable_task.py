"""The part of ``CachedTask`` that the layers below it use, as a protocol."""

from __future__ import annotations

from typing import Any, Protocol

from celery import Celery
from celery.result import AsyncResult

from ...core.identity.keys import Keyer
from ...core.options.policy import Policy
from ..config.runtime import Runtime


class CacheableTask(Protocol):
    """A Celery task whose results are cached.

    Attributes:
        name: The task's name.
        app: Its app.
        serializer: Name of the serializer of its messages.
        ignore_result: Whether the result backend keeps none of its results.
        resultrepr_maxsize: Characters of a result that Celery shows.
        cache_runtime: The cache of this process.
        cache_policy: Its ``cache_*`` options, validated.
        cache_keyer: Computer of its calls' keys.
    """

    name: str
    app: Celery
    serializer: str
    ignore_result: bool
    resultrepr_maxsize: int

    @property
    def cache_runtime(self) -> Runtime: ...

    @property
    def cache_policy(self) -> Policy: ...

    @property
    def cache_keyer(self) -> Keyer: ...

    @property
    def request(self) -> Any:
        """Celery's request of the run in progress."""
        ...

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the body."""
        ...

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> AsyncResult:
        """Call the task, as Celery's ``Task.apply_async`` does."""
        ...

    def send_event(self, type_: str, **fields: Any) -> None:
        """Send an event to monitors, from inside a run."""
        ...

    def AsyncResult(self, task_id: str, **kwargs: Any) -> AsyncResult:  # noqa: N802 - Celery's name
        """The result of a call."""
        ...
