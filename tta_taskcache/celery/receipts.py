"""Receipts: workers tell a warming what came of its calls, whatever came of them.

Neither result backend nor stored result is needed for it, so a call that fails, or whose result
isn't stored, holds up nothing.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery import signals, states
from celery.utils.log import get_logger

from ..cache.outcome import Call, Hit
from .calls import is_cached
from .failing_request import expose_on_failure
from .hot import WARM, aside_of

if TYPE_CHECKING:
    from celery.worker.request import Request

    from .task import CachedTask

logger: logging.Logger = get_logger("tta_taskcache")

#: What the main process says of a pool process that was killed, by whomever.
_DEATHS = (WorkerLostError, TimeLimitExceeded, Terminated)

STORED, UNSTORED, FAILED, RETRIED = "stored", "unstored", "failed", "retried"


def connect() -> None:
    """Have workers give receipts. Messages that warm nothing cost a look at their headers."""
    signals.task_postrun.connect(_on_postrun, dispatch_uid="tta_taskcache.receipts")
    signals.task_failure.connect(_on_failure, dispatch_uid="tta_taskcache.receipts")
    signals.task_revoked.connect(_on_revoked, dispatch_uid="tta_taskcache.receipts")


def header(run: str, key: str) -> dict[str, dict[str, str]]:
    """The header of a message that warms.

    Args:
        run: Id of the warming.
        key: The call's key.
    """
    return {WARM: {"run": run, "key": key}}


def expect_failure(request: Request) -> None:
    """Have a call that warms tell its warming when its pool process dies."""
    if request.request_dict.get(WARM):
        expose_on_failure(request)


def _on_postrun(task: Any = None, task_id: str = "", state: str | None = None, **_: Any) -> None:
    asked = (task.request.headers or {}).get(WARM)
    if not asked or not is_cached(task):
        return
    outcome = {states.RETRY: RETRIED, states.SUCCESS: STORED}.get(state or "", FAILED)
    _give(task, asked["run"], task_id, outcome, stored_at=asked["key"])


def _on_failure(sender: Any = None, task_id: str = "", exception: Any = None, **_: Any) -> None:
    """In the main process, for a pool process that has died: it can't tell itself."""
    if isinstance(exception, _DEATHS) and is_cached(sender):
        asked = (sender.request.headers or {}).get(WARM)
        if asked:
            _give(sender, asked["run"], task_id, FAILED)


def _on_revoked(sender: Any = None, request: Any = None, **_: Any) -> None:
    asked = (getattr(request, "headers", None) or {}).get(WARM)
    if asked and is_cached(sender):
        _give(sender, asked["run"], request.id, FAILED)


def _is_stored(task: CachedTask, key: str) -> bool:
    # By its key, as arguments may have been changed by the task. What remains of a failed run of
    # old (``stale-if-error``) is a result, but not what was asked for.
    runtime = task.taskcache().runtime
    found = runtime.run(runtime.engine.find(Call(task.name, key, task.taskcache_keyer().policy)))
    return isinstance(found, Hit) and not found.verdict.is_stale


def _give(task: Any, run: str, task_id: str, outcome: str, *, stored_at: str = "") -> None:
    runtime = task.taskcache().runtime
    try:
        if outcome == STORED and not _is_stored(task, stored_at):
            outcome = UNSTORED
        aside = aside_of(runtime)
        if aside is not None:
            aside.give_receipt(run, f"{task_id} {outcome}")
    except Exception as error:  # noqa: BLE001 - the warming finds out by itself (promise F1)
        logger.debug("a warming isn't told what came of %s: %s", task_id, error)
