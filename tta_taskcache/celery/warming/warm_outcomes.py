"""Outcomes of a warming's calls: workers report them to the warming, in a list in Redis.

A report needs neither result backend nor stored result, so a call that fails, or whose result isn't
stored, holds up nothing.
"""

from __future__ import annotations

import logging
from typing import Any

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery import signals, states
from celery.utils.log import get_logger

from ...cache.outcome import Call, Hit
from ..calls.cacheable_task import CacheableTask
from ..calls.call_request import is_cached
from ..calls.hot_calls import WARM_HEADER

logger: logging.Logger = get_logger("tta_taskcache")

#: Exceptions that the main process reports for a pool process that was killed.
_DEATHS = (WorkerLostError, TimeLimitExceeded, Terminated)

STORED, UNSTORED, FAILED, RETRIED = "stored", "unstored", "failed", "retried"


def connect() -> None:
    """Connect the signals that report outcomes; other messages cost a look at their headers."""
    signals.task_postrun.connect(_on_postrun, dispatch_uid="tta_taskcache.outcomes")
    signals.task_failure.connect(_on_failure, dispatch_uid="tta_taskcache.outcomes")
    signals.task_revoked.connect(_on_revoked, dispatch_uid="tta_taskcache.outcomes")


def header(run: str, key: str) -> dict[str, dict[str, str]]:
    """Return the header of a message of a warming.

    Args:
        run: Id of the warming.
        key: The call's key.
    """
    return {WARM_HEADER: {"run": run, "key": key}}


def _on_postrun(task: Any = None, task_id: str = "", state: str | None = None, **_: Any) -> None:
    headers = task.request.headers
    warming = headers.get(WARM_HEADER) if isinstance(headers, dict) else None
    if not warming or not is_cached(task):
        return
    outcome = {states.RETRY: RETRIED, states.SUCCESS: STORED}.get(state or "", FAILED)
    _record_outcome(task, warming["run"], task_id, outcome, stored_at=warming["key"])


def _on_failure(sender: Any = None, task_id: str = "", exception: Any = None, **_: Any) -> None:
    """Report, in the main process, the call of a pool process that has died."""
    if isinstance(exception, _DEATHS) and is_cached(sender):
        warming = (sender.request.headers or {}).get(WARM_HEADER)
        if warming:
            _record_outcome(sender, warming["run"], task_id, FAILED)


def _on_revoked(sender: Any = None, request: Any = None, **_: Any) -> None:
    warming = (getattr(request, "headers", None) or {}).get(WARM_HEADER)
    if warming and is_cached(sender):
        _record_outcome(sender, warming["run"], request.id, FAILED)


def _is_stored(task: CacheableTask, key: str) -> bool:
    # By its key, as the task may have changed its arguments. A stale entry is an earlier run's.
    runtime = task.cache_runtime
    found = runtime.run(runtime.engine.reader.find(Call(task.name, key, task.cache_policy)))
    return isinstance(found, Hit) and not found.verdict.is_stale


def _record_outcome(
    task: Any, run: str, task_id: str, outcome: str, *, stored_at: str = ""
) -> None:
    runtime = task.cache_runtime
    try:
        if outcome == STORED and not _is_stored(task, stored_at):
            outcome = UNSTORED
        store = runtime.warming_store
        if store is not None:
            store.add_outcome(run, f"{task_id} {outcome}")
    except Exception as error:  # noqa: BLE001 - the warming looks for the entry itself (promise F1)
        logger.debug("the outcome of %s isn't reported to its warming: %s", task_id, error)
