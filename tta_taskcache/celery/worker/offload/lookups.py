"""Lookups of requests in batches: one pipeline for all that have arrived, one read a key (F4).

Followers poll through the same batches.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic
from typing import Any, Protocol

from celery.worker.request import Request

from ....cache.outcome import Call
from ....cache.plan import run as run_plan
from ....cache.runs.led_keys import within
from ....core.events import Fault
from ....core.options.option_values import Site
from ....stores.protocol import Command, Reply, Store
from ...batches.queued_batch import look_up_queued_batch
from ...calls import context
from ...calls.carried_text import read_carried
from ...calls.lookup_handoff import read_handoff
from ...calls.lookup_result import LookupResult, to_lookup_result
from ...config.runtime import Runtime
from ...lookup.lookup import LookupHints, look_up, unanswerable
from .batches import Batches, make_batches
from .lookahead import Lookahead
from .lookup_jobs import (
    JOINED,
    Found,
    KeyLookup,
    LookupJob,
    call_request_of,
    claim_of,
    faulty,
    judge,
    own_outcome,
)
from .loop_posts import LoopPosts


class WaitingCalls(Protocol):
    """The followers of this process."""

    @property
    def can_follow(self) -> bool:
        """Whether this process can hold followers."""
        ...

    def is_followed(self, key: str) -> bool:
        """Whether this process holds followers of a key, which further calls can join."""
        ...


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

    def look_up(
        self,
        request: Request,
        found: Found,
        *,
        ends: tuple[tuple[str, str], ...] = (),
        takes_queued: bool = False,
    ) -> None:
        """Look a request up.

        Args:
            request: The request.
            found: Receives the lookup result.
            ends: Key and owner of each lease that a batch ends before.
            takes_queued: Whether a batch takes over leases of calls that are queued elsewhere.
        """
        self.pending += 1
        self._lookahead.begin_lookup(request)
        job = LookupJob(request, found, self._connection, takes_queued=takes_queued, ends=ends)
        self._batches.put(job)

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
        looks: dict[tuple[str, float | None, bool], KeyLookup] = {}
        for number, job in enumerate(jobs):
            try:
                with runtime.observers.in_message(job.request.request_dict):
                    known = self._prepare(number, job, looks, runtime)
            except Exception as error:  # noqa: BLE001 - likewise
                known = faulty(job, error)
            if known is not None:
                found[number] = known
        if looks:
            self._look(list(looks.values()), jobs, found, runtime)
        return [found[number] for number in range(len(jobs))]

    def _prepare(
        self,
        number: int,
        job: LookupJob,
        looks: dict[tuple[str, float | None, bool], KeyLookup],
        runtime: Runtime,
    ) -> LookupResult | None:
        """Add a job to the batch's reads; or return its result, if it needs no read."""
        call, call_request, claims = job.follows, None, True
        if call is None:
            header = context.cache_header_of(job.request.request_dict)
            call_request, handoff = call_request_of(job.request), read_handoff(header)
            if call_request.batch is not None:
                store = _OpenStore(runtime.store, self._batches)
                return look_up_queued_batch(
                    call_request,
                    header,
                    lambda plan: run_plan(plan, store),
                    ends=job.ends,
                    can_wait=self._waiting.can_follow,
                    takes_queued=job.takes_queued,
                )
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
            claim = claim_of(runtime, job) if claims else None
            look = looks[call.key, call.max_age, claims] = KeyLookup(call, claim)
        look.wanted.append((number, call_request))
        return None

    def _look(
        self,
        looks: Sequence[KeyLookup],
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
                    own = own_outcome(outcome, runtime) if place else outcome
                    # A refresh that the lookup starts belongs to the message's trace.
                    with runtime.observers.in_message(job.request.request_dict):
                        found[number] = judge(look.call, own, job, call_request, share)
                except Exception as error:  # noqa: BLE001 - likewise
                    found[number] = faulty(job, error)
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
        """End the leases of a dropped lookup: its message is redelivered to any worker."""
        self._runtime().leases.end_all(lookup.led)


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
