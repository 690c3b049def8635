"""After a run: storing what it returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..core.events import Fault, Ran
from .calls import REFRESH, Seen

if TYPE_CHECKING:
    from .task import CachedTask


def store(
    task: CachedTask,
    seen: Seen,
    value: Any,
    run_seconds: float,
    task_id: str | None,
    *,
    refused: str = "",
) -> bool:
    """Store the result of a run, if its call can be cached. Never raises.

    Args:
        task: The task.
        seen: What was seen of the call before it ran.
        value: What it returned.
        run_seconds: How long it took.
        task_id: Id of the task that ran.
        refused: Why the result isn't to be stored, if so.
    """
    runtime = task.taskcache().runtime
    call = seen.call
    runtime.observe(Ran(task.name, call.key if call else None, run_seconds))
    if call is None:
        return False
    try:
        fill = runtime.engine.fill(
            call,
            seen.position,
            value,
            run_seconds=run_seconds,
            task_id=task_id,
            owner=seen.owner,
            replaces=seen.reason == REFRESH,
            refused=refused,
        )
        return runtime.run(fill)
    except Exception as error:  # noqa: BLE001 - the task has run: even its time limit comes too late
        runtime.observe(Fault(task.name, "fill", error))
        return False
