"""Lookups of requests in batches: one pipeline for all that have arrived, one read a key (F4).

Followers poll through the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Any, Protocol
from uuid import uuid4

from celery.worker.request import Request

from ....cache.outcome import Call, Hit, Miss
from ....cache.plan import run as run_plan
from ....cache.runs.led_keys import within
from ....core.entries.lease import Claim, Lease, Stage
from ....core.events import Fault
from ....core.options.option_values import Site
from ....stores.protocol import Command, Reply, Store
from ...calls import context, hot_calls
from ...calls.call_request import MAX_AGE, CallRequest, request_of_message
from ...calls.carried_text import read_carried
from ...calls.lookup_handoff import OVERTAKEN_AT, read_handoff
from ...calls.lookup_result import LookupResult, to_lookup_result
from ...config.runtime import Runtime
from ...lookup.background_refresh import schedule_refresh
from ...lookup.lookup import LookupHints, look_up, unanswerable
from .batches import Batches, make_batches
from .lookahead import Lookahead
from .loop_posts import LoopPosts

#: Receives the lookup result; called in the event loop.
Found = Callable[[LookupResult], None]

#: Outcome of a call that equal calls in this process already wait for; it isn't read again.
JOINED = Miss("following", None, Lease("", None, Stage.RUNNING))


class WaitingCalls(Protocol):
    """The followers of this process."""

    @property
    def can_follow(self) -> bool:
        """Whether this process can hold followers."""
        ...

    def is_followed(self, key: str) -> bool:
        """Whether this process holds followers of a key, which further calls can join."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LookupJob:
    """A request to be looked up.

    Attributes:
        request: The request.
        found: Receives the lookup result.
        connection: Number of the broker connection that delivered the request.
        follows: The call, for a follower's poll; None for a first lookup.
        takes_queued: Whether it may take over a lease whose leader is queued elsewhere.
    """

    request: Request
    found: Found
    connection: int
    follows: Call | None = None
    takes_queued: bool = False


@dataclass(slots=True)
class _KeyLookup:
    """The lookup of one key, shared by equal jobs.

    Attributes:
        call: The call.
        claim: The claim of its lease, if any.
        wanted: The jobs' indexes in the batch, each with its call request; None for a poll.
    """

    call: Call
    claim: Claim | None
    wanted: list[tuple[int, CallRequest | None]] = field(default_factory=list)


class Lookups:
    """Looks requests up, and posts the results to the event loop.

    Args:
        consumer: Celery's consumer.
        runtime: Returns the cache of this process.
        posts: Steps for the event loop.
        lookahead: Fetches more messages during lookups.
        waiting: The followers of this process.
    """

    def __init__(
        self,
        consumer: Any,
        runtime: Callable[[], Runtime],
        posts: LoopPosts,
        lookahead: Lookahead,
        waiting: WaitingCalls,
    ) -> None:
        self._runtime = runtime
        self._posts = posts
        self._lookahead = lookahead
        self._waiting = waiting
        self._batches = make_batches(consumer, "taskcache-lookups", self._work)
        self._connection = 0
        #: Number of lookups in progress, without followers' polls.
        self.pending = 0

    def look_up(self, request: Request, found: Found) -> None:
        """Look a request up."""
        self.pending += 1
        self._lookahead.begin_lookup(request)
        self._batches.put(LookupJob(request, found, self._connection))

    def poll(self, request: Request, call: Call, found: Found, *, takes_queued: bool) -> None:
        """Look a follower's call up again: for its result, or for the lease."""
        job = LookupJob(request, found, self._connection, call, takes_queued)
        self._batches.put(job)

    def drop(self, seconds: float) -> None:
        """Drop lookups in progress after a lost connection; the broker redelivers the messages.

        Args:
            seconds: Most seconds to wait for claims in progress, whose leases are then ended.
        """
        self._connection += 1
        self.pending = 0
        self._batches.settle(seconds)

    # In the thread

    def _work(self, jobs: list[LookupJob]) -> None:
        runtime = self._runtime()
        try:
            found = self._find(jobs, runtime)
        except Exception as error:  # noqa: BLE001 - the tasks run without the cache (F1)
            runtime.observe(Fault("", "consume", error))
            found = [LookupResult(job.follows) for job in jobs]
        for job, lookup in zip(jobs, found, strict=True):
            self._posts.post(partial(self._end, job, lookup))

    def _find(self, jobs: Sequence[LookupJob], runtime: Runtime) -> list[LookupResult]:
        found: dict[int, LookupResult] = {}
        looks: dict[tuple[str, float | None, bool], _KeyLookup] = {}
        for number, job in enumerate(jobs):
            try:
                with runtime.observers.in_message(job.request.request_dict):
                    known = self._prepare(number, job, looks, runtime)
            except Exception as error:  # noqa: BLE001 - likewise
                known = _faulty(job, error)
            if known is not None:
                found[number] = known
        if looks:
            self._look(list(looks.values()), jobs, found, runtime)
        return [found[number] for number in range(len(jobs))]

    def _prepare(
        self,
        number: int,
        job: LookupJob,
        looks: dict[tuple[str, float | None, bool], _KeyLookup],
        runtime: Runtime,
    ) -> LookupResult | None:
        """Add a job to the batch's reads; or return its result, if it needs no read."""
        call, call_request, claims = job.follows, None, True
        if call is None:
            header = context.cache_header_of(job.request.request_dict)
            call_request, handoff = call_request_of(job.request), read_handoff(header)
            call = call_request.call
            if call is None or handoff or unanswerable(call_request, Site.CONSUMER):
                hints = LookupHints(handoff=handoff, carried=read_carried(header))
                return look_up(call_request, Site.CONSUMER, hints)
            # A run that is the leader of this key may itself have sent this call (C7).
            claims = call.policy.coalesce and call.key not in within(header)
            claims = claims and self._waiting.can_follow
            if claims and self._waiting.is_followed(call.key):
                return to_lookup_result(call, JOINED)
        look = looks.get((call.key, call.max_age, claims))
        if look is None:
            claim = _claim(runtime, job) if claims else None
            look = looks[call.key, call.max_age, claims] = _KeyLookup(call, claim)
        look.wanted.append((number, call_request))
        return None

    def _look(
        self,
        looks: Sequence[_KeyLookup],
        jobs: Sequence[LookupJob],
        found: dict[int, LookupResult],
        runtime: Runtime,
    ) -> None:
        started = monotonic()
        find = runtime.engine.reader.find_many(
            [look.call for look in looks], [look.claim for look in looks]
        )
        try:
            outcomes = run_plan(find, _OpenStore(runtime.store, self._batches))
        except Exception:
            for look in looks:  # any of the leases may have been granted
                if look.claim is not None:
                    runtime.leases.end(look.call.key, look.claim.owner)
            raise
        share = (monotonic() - started) / len(jobs)
        for look, outcome in zip(looks, outcomes, strict=True):
            for place, (number, call_request) in enumerate(look.wanted):
                job = jobs[number]
                try:
                    own = _own(outcome, runtime) if place else outcome
                    # A refresh that the lookup starts belongs to the message's trace.
                    with runtime.observers.in_message(job.request.request_dict):
                        found[number] = _judge(look.call, own, job, call_request, share)
                except Exception as error:  # noqa: BLE001 - likewise
                    found[number] = _faulty(job, error)
                    if place == 0 and look.claim is not None:
                        runtime.leases.end(look.call.key, look.claim.owner)

    # In the event loop

    def _end(self, job: LookupJob, lookup: LookupResult) -> None:
        if job.connection != self._connection:
            self._give_up(lookup)
            return
        if job.follows is None:
            self.pending -= 1
            self._lookahead.end_lookup(job.request, is_hit=lookup.hit is not None)
        job.found(lookup)

    def _give_up(self, lookup: LookupResult) -> None:
        """End the lease of a dropped lookup: its message is redelivered to any worker."""
        if lookup.call is not None and lookup.owner:
            self._runtime().leases.end(lookup.call.key, lookup.owner)


class _OpenStore:
    """A store whose commands allow forks meanwhile: a child process opens its own connections."""

    def __init__(self, store: Store, batches: Batches[LookupJob]) -> None:
        self.name = store.name
        self._store = store
        self._batches = batches

    def execute(self, command: Command) -> Reply:
        """Execute a command.

        Raises:
            StoreUnavailable: The command failed.
        """
        with self._batches.forks_allowed():
            return self._store.execute(command)


def call_request_of(request: Request) -> CallRequest:
    """Return a request's call request."""
    headers = request.request_dict
    is_request = hot_calls.is_request(headers, headers.get("retries"))
    task = request.task
    called = request_of_message(task, request.args, request.kwargs, headers, is_request=is_request)
    return called.with_max_age(context.cache_header_of(headers).get(MAX_AGE))


def _claim(runtime: Runtime, job: LookupJob) -> Claim:
    return Claim(
        owner=uuid4().hex,
        stage=Stage.QUEUED,
        ttl=runtime.leases.ttl,
        reservation=job.request.id,
        overtakes=OVERTAKEN_AT,
        takes_queued=job.takes_queued,
    )


def _own(outcome: Hit | Miss, runtime: Runtime) -> Hit | Miss:
    """Return the outcome for an equal call of the same batch: a copy of the hit, or following."""
    if isinstance(outcome, Hit):
        return runtime.engine.reader.copy_of(outcome)
    lease = outcome.lease
    return JOINED if lease is not None and (lease.is_ours or lease.is_followed) else outcome


def _judge(
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


def _faulty(job: LookupJob, error: Exception) -> LookupResult:
    operation = "follow" if job.follows is not None else "consume"
    job.request.task.cache_runtime.observe(Fault(job.request.task.name, operation, error))
    return LookupResult(job.follows)
