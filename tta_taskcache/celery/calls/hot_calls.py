"""Hot calls: the most requested calls of a task (``cache_warm=Warm(hot=…)``)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded
from kombu.utils.json import dumps, loads

from ...cache.lookup_record import VERIFY
from ...core.call_spec import CallSpec, parse_call_spec
from ...core.events import Fault

if TYPE_CHECKING:
    from ...cache.outcome import Call
    from ..config.runtime import Runtime
    from .call_request import CallRequest

#: Larger calls aren't learnt: Redis keeps the arguments of 20 calls for each hot one.
MAX_CALL_BYTES = 2_048

#: Header of the messages of a warming, which are no traffic.
WARM_HEADER = "taskcache_warm"


def is_request(headers: Mapping[str, Any] | None, retries: int | None) -> bool:
    """Whether a caller makes a call with these headers now: neither a retry nor a warming does."""
    return not retries and not (isinstance(headers, Mapping) and WARM_HEADER in headers)


def record_hot_call(call_request: CallRequest, call: Call) -> None:
    """Count a request for a call, if its task learns hot calls.

    Raises nothing but the task's own soft time limit.

    Args:
        call_request: The call as it was made.
        call: The call as it was identified.
    """
    warm = call.policy.warm
    if warm is None or warm.hot is None:
        return
    runtime = call_request.runtime
    if not call_request.is_request or call_request.mode not in ("use", "only", VERIFY):
        return
    try:
        runtime.hot_calls.add(call, warm.hot, lambda: _spelled_out(call_request))
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        runtime.observe(Fault(call.task, "note", error))


def hottest(runtime: Runtime, task: str, number: int) -> list[CallSpec]:
    """Return the most requested calls of a task, most requested first, without unreadable ones.

    Raises:
        StoreUnavailable: Redis can't be reached.
    """
    store, calls = runtime.warming_store, []
    for call in store.hottest(task, number) if store else ():
        with suppress(Exception):  # any writer to Redis may have left anything there
            calls.append(parse_call_spec(loads(call)))
    return calls


def _spelled_out(call_request: CallRequest) -> str | None:
    """Return a call as JSON; None for one that JSON can't carry, or that is too large."""
    call: dict[str, Any] = {"args": list(call_request.args), "kwargs": dict(call_request.kwargs)}
    if vary := call_request.vary:
        call["context"] = vary
    try:
        text = dumps(call)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if len(text) <= MAX_CALL_BYTES else None
