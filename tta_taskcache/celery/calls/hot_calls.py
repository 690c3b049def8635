"""Hot calls: the most requested calls of a task (``cache_warm=Warm(hot=…)``)."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from billiard.exceptions import SoftTimeLimitExceeded
from kombu.utils.json import dumps, loads

from ...cache.engine.lookup_record import VERIFY
from ...core.arguments.call_spec import CallSpec, parse_call_spec
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
    if not call_request.is_request or call_request.mode not in ("use", "only", "no-store", VERIFY):
        return
    try:
        runtime.hot_calls.add(call, warm.hot, lambda: _written_call(call_request, call.task))
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        runtime.observe(Fault(call.task, "note", error))


def hottest(runtime: Runtime, task: str, number: int) -> list[CallSpec]:
    """Return the most requested calls of a task, most requested first, without unreadable ones.

    Raises:
        StoreUnavailable: Redis can't be reached.
    """
    store, secret, calls = runtime.warming_store, runtime.engine.parts.secret, []
    for record in store.hottest(task, number) if store else ():
        with suppress(Exception):  # any writer to Redis may have left anything there
            calls.append(parse_call_spec(loads(_verified(record, task, secret))))
    return calls


def _signed(call: str, task: str, secret: bytes) -> str:
    """Return the record of a call, signed if there is a secret: it will be run (promise X2)."""
    if not secret:
        return call
    signed = f"{len(task)} {task}{call}".encode()
    return f"{hashlib.blake2b(signed, key=secret, digest_size=16).hexdigest()} {call}"


def _verified(record: str, task: str, secret: bytes) -> str:
    """Return the call of a record.

    Raises:
        ValueError: It isn't signed with the secret.
    """
    if not secret:
        return record
    call = record.partition(" ")[2]
    if not hmac.compare_digest(record.encode(), _signed(call, task, secret).encode()):
        raise ValueError("the record isn't signed with the secret")
    return call


def _written_call(call_request: CallRequest, task: str) -> str | None:
    """Return a call as JSON; None for one that JSON can't carry, or that is too large."""
    call: dict[str, Any] = {"args": list(call_request.args), "kwargs": dict(call_request.kwargs)}
    if vary := call_request.vary:
        call["context"] = vary
    try:
        text = dumps(call)
    except (TypeError, ValueError, RecursionError):
        return None
    if len(text) > MAX_CALL_BYTES:
        return None
    return _signed(text, task, call_request.runtime.engine.parts.secret)
