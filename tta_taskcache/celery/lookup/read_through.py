"""Calls that are computed by whoever asks: ``task.cache.call`` and eager tasks.

They coalesce (promise C1): of equal ones, in this process and others, one computes and the others
wait for its result, as they would have for their own.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from uuid import uuid4
from weakref import ref

from ...cache.lease_keeper import RENEWALS, Progress
from ...cache.outcome import Call, Hit, Miss
from ...cache.plan import Plan
from ...core.lease import Claim, Stage
from ...core.option_values import Site
from ..calls.cached_errors import value_of
from ..calls.call_request import Asked, Seen
from ..calls.lookup_handoff import OVERTAKEN_AT
from .lookup import Start, look
from .run_and_store import compute

#: Keys that are being computed further up: a computation that asks for itself doesn't wait.
_leading: ContextVar[frozenset[str]] = ContextVar("taskcache_leading", default=frozenset())


def answer_or_run(
    asked: Asked, site: Site | None, run: Callable[[], Any], task_id: str | None
) -> tuple[Seen, Any]:
    """Return the stored result of a call, or run it here and store what it returns.

    Args:
        asked: The call.
        site: Where; None for ``task.cache``.
        run: Its body.
        task_id: Id of the task that runs, if one does.
    """
    runtime = asked.task.taskcache().runtime
    claim = Claim(
        owner=uuid4().hex, stage=Stage.RUNNING, ttl=runtime.leases.ttl, overtakes=OVERTAKEN_AT
    )
    key = ""

    def plan(call: Call, where: str, claim: Claim) -> Plan[Hit | Miss]:
        nonlocal key
        if call.key in _leading.get():
            return runtime.engine.look(call, where)
        key = call.key
        return runtime.flights.lead_or_follow(runtime.engine, call, where, claim)

    try:
        seen = look(asked, site, Start(claim=claim, plan=plan))
    except BaseException:
        # A time limit struck: whether the lease was given isn't known.
        runtime.leases.end(key, claim.owner)
        raise
    if seen.hit is not None:
        return seen, value_of(asked.task.taskcache_keyer().policy, seen.hit)

    def run_and_store() -> Any:
        return compute(asked, seen, run, task_id, site=site)

    return seen, _lead(asked, seen, run_and_store) if seen.owner else run_and_store()


def _lead(asked: Asked, seen: Seen, run_and_store: Callable[[], Any]) -> Any:
    """Compute while equal calls wait. Whatever comes of it, they don't wait for longer."""
    runtime = asked.task.taskcache().runtime
    key = seen.call.key if seen.call else ""
    computation = _Computation()
    bell, returned, outer = None, False, _leading.get()
    try:
        bell = runtime.flights.begin(key)
        _leading.set(outer | {key})
        renew_in = runtime.leases.ttl / RENEWALS
        runtime.leases.hold(key, seen.owner, computation.progress(), renew_in=renew_in)
        value = run_and_store()
        returned = True
        return value
    finally:
        if returned:
            runtime.leases.let_go(seen.owner)
        else:
            runtime.leases.end(key, seen.owner)
        _leading.set(outer)
        if bell is not None:
            runtime.flights.end(key, bell)


class _Computation:
    """Is there for as long as the frame that computes: a time limit may strike in its end, too."""

    def progress(self) -> Progress:
        me = ref(self)
        return lambda: Stage.RUNNING if me() is not None else None
