"""Hot calls: those of a task that are requested most (``cache_warm=Warm(hot=…)``)."""

from __future__ import annotations

import hashlib
import hmac
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

#: Larger calls aren't learnt: their arguments are kept, those of 20 calls for each hot one.
MAX_CALL_BYTES = 2_048

#: In the headers of messages that warm: those are no traffic.
WARM_HEADER = "taskcache_warm"


def is_request(headers: Mapping[str, Any] | None, retries: int | None) -> bool:
    """Whether somebody asks for a call with these headers now: it is no retry, and no warming's."""
    return not retries and not (isinstance(headers, Mapping) and WARM_HEADER in headers)


def record_hot_call(call_request: CallRequest, call: Call) -> None:
    """Count a request for a call, if its task learns which are hot.

    Raises nothing but the task's own soft time limit, if that strikes here.

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
        runtime.hot_calls.add(call, warm.hot, lambda: _spelled_out(call_request, call.task))
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours never fails a task (promise F1)
        runtime.observe(Fault(call.task, "note", error))


def hottest(runtime: Runtime, task: str, number: int) -> list[CallSpec]:
    """The most requested calls of a task, the first first; what can't be read is left out.

    Raises:
        StoreUnavailable: Redis can't be reached.
    """
    store, secret, calls = runtime.warming_store, runtime.engine.parts.secret, []
    for record in store.hottest(task, number) if store else ():
        with suppress(Exception):  # whoever can write there may have left anything
            calls.append(parse_call_spec(loads(_verified(record, task, secret))))
    return calls


def _signed(call: str, task: str, secret: bytes) -> str:
    """A record of a call: what is read there is run, so with a secret it is signed (promise X2)."""
    if not secret:
        return call
    signed = f"{len(task)} {task}{call}".encode()
    return f"{hashlib.blake2b(signed, key=secret, digest_size=16).hexdigest()} {call}"


def _verified(record: str, task: str, secret: bytes) -> str:
    """The call of a record.

    Raises:
        ValueError: The secret hasn't signed it.
    """
    if not secret:
        return record
    call = record.partition(" ")[2]
    if not hmac.compare_digest(record.encode(), _signed(call, task, secret).encode()):
        raise ValueError("signed by somebody else")
    return call


def _spelled_out(call_request: CallRequest, task: str) -> str | None:
    """A call as it is kept; None for what isn't: messages of this task hold more than JSON does."""
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
