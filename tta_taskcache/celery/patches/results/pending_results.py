"""Results that wait for one call in one process: each waits for itself (Celery up to 5.6).

When a chain's first step is answered at the producer, the steps after it are applied in the
caller's process, which then has two results of each of these calls: Celery's own, and the caller's.
Up to 5.6, Celery knows a waiting result by its call's id only. So the end of one of the two, and be
it that it is garbage collected, ends the other's wait, and ``get()`` never returns (Celery's issue
4925). Celery 5.7 tells results apart by identity; older ones do so from here on.
"""

from __future__ import annotations

from typing import Any

from celery.backends import asynchronous
from celery.backends.asynchronous import AsyncBackendMixin
from celery.result import AsyncResult

_remove_pending_result = AsyncBackendMixin.remove_pending_result


def install() -> None:
    """Have Celery forget a pending result by identity; nothing where it does so by itself."""
    if not hasattr(asynchronous, "_waiting_on"):
        AsyncBackendMixin.remove_pending_result = remove_own


def remove_own(self: AsyncBackendMixin, result: AsyncResult) -> AsyncResult:
    """Forget a result, unless another one of the same call is the one that waits."""
    pending: Any = self._pending_results
    if any(waiting.get(result.id, result) is not result for waiting in pending):
        return result
    return _remove_pending_result(self, result)
