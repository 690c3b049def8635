"""The jobs of a batch of lookups, and the judgement of what was found for their keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from uuid import uuid4

from celery.worker.request import Request

from ....cache.outcome import Call, Hit, Miss
from ....core.entries.lease import Claim, Lease, Stage
from ....core.events import Fault
from ....core.options.option_values import Site
from ...calls import context, hot_calls
from ...calls.call_request import MAX_AGE, CallRequest
from ...calls.carried_text import read_carried
from ...calls.identification import request_of_message
from ...calls.lookup_handoff import OVERTAKEN_AT
from ...calls.lookup_result import LookupResult, to_lookup_result
from ...config.runtime import Runtime
from ...lookup.background_refresh import schedule_refresh
from ...lookup.lookup import LookupHints, look_up

#: Receives the lookup result; called in the event loop.
Found = Callable[[LookupResult], None]

#: Outcome of a call that equal calls in this process already wait for; it isn't read again.
JOINED = Miss("following", None, Lease("", None, Stage.RUNNING))


@dataclass(frozen=True, slots=True, eq=False)
class LookupJob:
    """A request to be looked up.

    Attributes:
        request: The request.
        found: Receives the lookup result.
        connection: Number of the broker connection that delivered the request.
        follows: The call, for a follower's poll; None for a first lookup.
        takes_queued: Whether it may take over a lease whose leader is queued elsewhere.
        ends: Key and owner of each lease that ends before it.
    """

    request: Request
    found: Found
    connection: int
    follows: Call | None = None
    takes_queued: bool = False
    ends: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class KeyLookup:
    """The lookup of one key, shared by equal jobs.

    Attributes:
        call: The call.
        claim: The claim of its lease, if any.
        wanted: The jobs' indexes in the batch, each with its call request; None for a poll.
    """

    call: Call
    claim: Claim | None
    wanted: list[tuple[int, CallRequest | None]] = field(default_factory=list)


def call_request_of(request: Request) -> CallRequest:
    """Return a request's call request."""
    headers = request.request_dict
    is_request = hot_calls.is_request(headers, headers.get("retries"))
    task = request.task
    called = request_of_message(task, request.args, request.kwargs, headers, is_request=is_request)
    return called.with_max_age(context.cache_header_of(headers).get(MAX_AGE))


def claim_of(runtime: Runtime, job: LookupJob) -> Claim:
    """Return the claim to the lease of a job's call."""
    return Claim(
        owner=uuid4().hex,
        stage=Stage.QUEUED,
        ttl=runtime.leases.ttl,
        reservation=job.request.id,
        overtakes=OVERTAKEN_AT,
        takes_queued=job.takes_queued,
    )


def own_outcome(outcome: Hit | Miss, runtime: Runtime) -> Hit | Miss:
    """Return the outcome for an equal call of the same batch: a copy of the hit, or following."""
    if isinstance(outcome, Hit):
        return runtime.engine.reader.copy_of(outcome)
    lease = outcome.lease
    return JOINED if lease is not None and (lease.is_ours or lease.is_followed) else outcome


def judge(
    call: Call,
    outcome: Hit | Miss,
    job: LookupJob,
    call_request: CallRequest | None,
    seconds: float,
) -> LookupResult:
    """Return and record the lookup result of one job, from the outcome of its key."""
    if call_request is not None:
        if outcome is JOINED:
            return to_lookup_result(call, outcome)
        known = to_lookup_result(call, outcome, seconds)
        # A refresh that the lookup starts belongs to the message's trace.
        with call_request.runtime.observers.in_message(job.request.request_dict):
            carried = read_carried(context.cache_header_of(job.request.request_dict))
            return look_up(call_request, Site.CONSUMER, LookupHints(known=known, carried=carried))
    runtime = job.request.task.cache_runtime
    if isinstance(outcome, Hit):
        outcome = runtime.run(runtime.engine.refresher.claim_refresh(call, outcome))
        if isinstance(outcome, Hit) and outcome.refresh:  # this poll has claimed the refresh
            schedule_refresh(call_request_of(job.request), call)
    return to_lookup_result(call, outcome)


def faulty(job: LookupJob, error: Exception) -> LookupResult:
    """Return the result of a job whose lookup has failed: its task runs without the cache (F1)."""
    operation = "follow" if job.follows is not None else "consume"
    job.request.task.cache_runtime.observe(Fault(job.request.task.name, operation, error))
    return LookupResult(job.follows)
