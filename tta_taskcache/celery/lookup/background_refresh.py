"""Background refresh of a stale result: one more message of the task, which no caller waits for."""

from __future__ import annotations

from billiard.exceptions import SoftTimeLimitExceeded

from ...cache.outcome import Call
from ...core.events import Fault
from ..calls.call_request import CallRequest


def schedule_refresh(call_request: CallRequest, call: Call) -> None:
    """Send a call once more, which runs unless its result is fresh by then. Raises no fault."""
    task, policy = call_request.task, call.policy
    try:
        task.apply_async(
            list(call_request.args),
            dict(call_request.kwargs),
            cache="revalidate",
            headers=dict(call_request.context),
            ignore_result=True,
            add_to_parent=False,
            # After that the stale result is served no more, and the next call runs anyway.
            expires=policy.stale_while_revalidate + policy.ttl,
            retry=False,
            **({"queue": policy.refresh_queue} if policy.refresh_queue else {}),
            # Another serializer might make another call of these arguments.
            **({"serializer": call_request.serializer} if call_request.serializer else {}),
        )
    except SoftTimeLimitExceeded:
        raise  # the task's own limit: it fails as it would have (promise F8)
    except Exception as error:  # noqa: BLE001 - the call was answered; the next one asks again (F1)
        task.cache_runtime.observe(Fault(task.name, "refresh", error))
