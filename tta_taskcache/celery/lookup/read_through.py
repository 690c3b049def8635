"""Read-through: calls that run in their caller's own thread (``task.cache.call``, eager tasks).

Equal calls coalesce (promise C1), in this process and others: one runs, and the others wait for its
result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4
from weakref import ref

from ...cache.engine.writer import UNSHARED_FOR
from ...cache.leases.held_leases import RENEWALS, Progress
from ...cache.leases.single_flight import MAX_WAIT
from ...cache.outcome import Call, Hit, Miss
from ...cache.plan import Plan
from ...cache.runs.hit_value import value_of
from ...cache.runs.led_keys import leading, led_keys, waits_at_most
from ...core.entries.lease import Claim, Stage
from ...core.options.option_values import Site
from ...errors import CacheMiss
from ..calls.call_request import CallRequest
from ..calls.carried_text import NOTHING, CarriedText
from ..calls.context import led_by_callers
from ..calls.lookup_handoff import OVERTAKEN_AT
from ..calls.lookup_result import LookupResult
from .lookup import LookupHints, look_up
from .run_and_store import run_and_store


def read_through(
    call_request: CallRequest,
    site: Site | None,
    run: Callable[[], Any],
    task_id: str | None,
    record: Callable[[LookupResult], None] | None = None,
    *,
    carried: CarriedText = NOTHING,
) -> Any:
    """Return the stored result of a call, or run it here and store what it returns.

    Args:
        call_request: The call.
        site: The site; None for ``task.cache``.
        run: The task's body.
        task_id: Id of the task that runs; None for ``task.cache``.
        record: Receives the lookup, before a remembered failure is raised or the body runs.
        carried: What came with the call of its text.
    """
    runtime = call_request.runtime
    claim = Claim(
        owner=uuid4().hex, stage=Stage.RUNNING, ttl=runtime.leases.ttl, overtakes=OVERTAKEN_AT
    )
    key = ""

    def plan(call: Call, where: str, claim: Claim) -> Plan[Hit | Miss]:
        nonlocal key
        patience = waits_at_most(call.key, led_keys(led_by_callers()), MAX_WAIT)
        if not patience:  # a computation that asks for itself
            return runtime.engine.look(call, where)
        key = call.key
        return runtime.single_flight.lead_or_follow(
            runtime.engine, call, where, claim, patience=patience
        )

    try:
        lookup = look_up(call_request, site, LookupHints(claim=claim, plan=plan, carried=carried))
    except BaseException:
        # A time limit struck: the lease may have been given.
        runtime.leases.end(key, claim.owner)
        raise
    if record is not None:
        record(lookup)
    if lookup.hit is not None:
        return value_of(call_request.policy, lookup.hit)
    if call_request.mode == "only":
        name = call_request.task.name
        raise CacheMiss(f"task {name!r}: nothing to answer with ({lookup.reason})")

    def run_here() -> Any:
        return run_and_store(call_request, lookup, run, task_id, site=site)

    if not lookup.owner:
        return run_here()
    with leading(key, task_id):
        return _lead(call_request, lookup, run_here)


def _lead(call_request: CallRequest, lookup: LookupResult, run_here: Callable[[], Any]) -> Any:
    """Run while equal calls wait; they wait no longer, however the run ends."""
    runtime = call_request.runtime
    key = lookup.call.key if lookup.call else ""
    computation = Computation()
    wakeup, returned = None, False
    try:
        wakeup = runtime.single_flight.begin(key)
        renew_in = runtime.leases.ttl / RENEWALS
        runtime.leases.hold(key, lookup.owner, computation.progress(), renew_in=renew_in)
        value = run_here()
        returned = True
        return value
    finally:
        if returned:
            runtime.leases.let_go(lookup.owner)
        else:
            runtime.leases.end(key, lookup.owner, UNSHARED_FOR)
        if wakeup is not None:
            runtime.single_flight.end(key, wakeup)


class Computation:
    """A token that lives as long as its run's frame: a time limit may strike in the end, too."""

    def progress(self) -> Progress:
        me = ref(self)
        return lambda: Stage.RUNNING if me() is not None else None
