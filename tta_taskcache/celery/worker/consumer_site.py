"""The consumer site (promises S2, C1 to C5): what the worker's main process does with a message.

Every request passes ``consumer.on_task_request`` on its way to the pool, ETA tasks included. One
that is cached by now is completed here; one whose call is in flight waits here; the others go to
the pool, and those that lead are watched.
"""

from __future__ import annotations

from dataclasses import replace
from time import monotonic
from typing import Any
from uuid import uuid4

from celery import bootsteps
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.worker.request import Request
from celery.worker.state import task_reserved

from ...cache.held_leases import RENEWALS
from ...cache.led_keys import waits_at_most, within
from ...cache.lookup_record import VERIFY, record_lookup
from ...cache.outcome import Call, Hit, Miss
from ...cache.plan import Plan
from ...cache.writer import unshared_for
from ...core.events import Fault, Waiting
from ...core.lease import Claim, Lease, Stage
from ...core.option_values import Site
from ..api.cached_task import CachedTask
from ..api.task_cache import cache_of
from ..calls import context, hot_calls
from ..calls.call_request import CallRequest, request_of_message
from ..calls.lookup_handoff import (
    OVERTAKEN_AT,
    QUEUED_FOR,
    SEEN,
    read_handoff,
    to_handoff,
    without_handoff,
)
from ..calls.lookup_result import LookupResult, to_lookup_result
from ..config.runtime import Runtime
from ..lookup.background_refresh import schedule_refresh
from ..lookup.lookup import LookupHints, look_up
from ..patches.backend_timeouts import shorten_timeouts
from ..patches.consumer_hooks import intercept_requests
from ..sites import task_events
from . import control
from .follower_age import can_give_back, give_back, longest_wait
from .followers import Follower, Followers
from .inline_completion import SLOW, InlineCompletion
from .lease_watch import End, LeaderWatch, has_free_slot
from .rate_limits import RateLimits


class ConsumerSite(bootsteps.StartStopStep):
    """Bootstep of the worker's consumer: puts itself in front of the pool."""

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._has_processes = isinstance(consumer.pool, PreforkPool)
        self._inline = InlineCompletion()
        self._consumer = consumer
        self._followers: Followers | None = None
        #: Switched by remote control: calls pass the cache by.
        self.is_disabled = False
        setattr(consumer, control.SITE, self)
        self._to_pool = intercept_requests(consumer, self.on_task_request)
        self._limits = RateLimits(consumer, self)

    def start(self, consumer: Any) -> None:
        """Let the result backend give up in time in this process, whose tasks run in others."""
        if self._has_processes:  # elsewhere the tasks' own results would be concerned
            shorten_timeouts(consumer.app.backend, SLOW)
        runtime = cache_of(consumer.app).runtime
        # With a memory of its own, a pool process can't fill for those who wait here.
        if runtime.is_shared or not self._has_processes:
            self._followers = Followers(self, consumer, runtime.settings.max_followers)

    def stop(self, _: Any) -> None:
        """Forget those that wait: with the connection gone, the broker delivers them again."""
        if self._followers is not None:
            self._followers.drop()

    @property
    def following(self) -> int:
        """How many calls wait here for equal ones."""
        return 0 if self._followers is None else len(self._followers)

    def on_task_request(self, request: Request) -> None:
        """Answer a request from the cache, let it wait, or send it on to the pool."""
        if not isinstance(request.task, CachedTask):
            self._to_pool(request)
        elif (lookup := self.look_up(request)) is not None:
            self.dispatch(request, lookup)

    def look_up(self, request: Request) -> LookupResult | None:
        """Answer a request or let it wait for an equal one; else say what was found."""
        if self.is_disabled:
            headers = request.request_dict  # which the pool's process reads, too
            headers[context.HEADER] = {**context.cache_header_of(headers), "mode": "bypass"}
            return LookupResult(None)
        try:
            lookup = self._look(request.task, request)
        except Exception as error:  # noqa: BLE001 - nothing may end the worker's loop (promise F1)
            self._fault(request, "consume", error)
            lookup = LookupResult(None)
        if lookup.call is not None and lookup.follows and self._followers is not None:
            task_reserved(request)  # a rate-limited one isn't yet
            led = within(context.cache_header_of(request.request_dict))
            patience = waits_at_most(lookup.call.key, led, longest_wait(self._consumer))
            self._followers.park(request, lookup.call, patience)
            return None
        if lookup.hit is not None and self._inline.complete(request, lookup.hit):
            return None
        return lookup

    def _look(self, task: CachedTask, request: Request) -> LookupResult:
        """Look for the answer, and for the right to compute it."""
        headers = request.request_dict
        cache_header = context.cache_header_of(headers)
        if cache_header.get("mode", "use") != "use":
            return LookupResult(None)
        call_request = _call_request(task, request)
        if self._followers is None:
            return look_up(
                call_request, Site.CONSUMER, LookupHints(handoff=read_handoff(cache_header))
            )
        runtime, followers = task.cache_runtime, self._followers

        led = within(cache_header)

        def plan(call: Call, site: str, claim: Claim) -> Plan[Hit | Miss]:
            if call.key in led:  # its caller computes it, and may wait for this very call (C7)
                return runtime.engine.look(call, site)
            return _join() if followers.has(call.key) else runtime.engine.look(call, site, claim)

        claim = _claim(runtime, request)
        start = LookupHints(handoff=read_handoff(cache_header), claim=claim, plan=plan)
        return look_up(call_request, Site.CONSUMER, start)

    def dispatch(self, request: Request, lookup: LookupResult) -> None:
        """Send a request to the pool, with what is known of it."""
        headers = request.request_dict
        if lookup.reason == VERIFY:
            headers[context.HEADER] = {**context.cache_header_of(headers), "mode": VERIFY}
        if task_events.are_wanted(request):
            headers[context.HEADER] = {**context.cache_header_of(headers), task_events.WANTED: True}
        # A pool process without Redis has a memory of its own.
        known = request.task.cache_runtime.is_shared or not self._has_processes
        cache_header = without_handoff(context.cache_header_of(headers))
        if known and (noted := to_handoff(lookup)):
            headers[context.HEADER] = {**cache_header, SEEN: noted, "leads": bool(lookup.owner)}
        elif lookup.lease is not None:
            headers[context.HEADER] = cache_header
        if lookup.call is not None and lookup.lease is not None and lookup.owner:
            self._watch(request, lookup.call, lookup.lease)
        self._to_pool(request)

    def _watch(self, request: Request, call: Call, lease: Lease) -> None:
        """Renew the lease of a request for as long as that is on its way."""
        leases = request.task.cache_runtime.leases

        def begun() -> None:
            if monotonic() - since > QUEUED_FOR / 2:  # it was said that it is queued
                leases.renew_now(lease.owner)

        def ended(end: End) -> None:
            # What has returned has filled, and ended the lease with that.
            if end is End.RESULT:
                leases.let_go(lease.owner)
            else:
                unshared = unshared_for(monotonic() - since) if end is End.NO_RESULT else 0.0
                leases.end(call.key, lease.owner, unshared)
            if self._followers is not None:
                self._followers.poll_now(call.key)

        since = monotonic()
        # Others take over what is queued for long: they are told in time that it runs.
        renew_in = min(QUEUED_FOR / 2, leases.ttl / RENEWALS)
        leader = LeaderWatch(request, begun, ended, in_process=self._has_processes)
        leases.hold(call.key, lease.owner, leader.progress, renew_in=renew_in)

    def poll(self, follower: Follower) -> LookupResult:
        """Look again for what a follower waits for, or for the right to compute it."""
        request, call = follower.request, follower.call
        runtime = request.task.cache_runtime
        claim = _claim(runtime, request)
        if monotonic() - follower.since >= QUEUED_FOR and self._could_run(call.key):
            claim = replace(claim, takes_queued=True)
        try:
            lookup = to_lookup_result(
                call, runtime.run(runtime.engine.refresher.find_or_refresh(call, claim))
            )
            if lookup.hit is not None and lookup.hit.refresh:  # the right to is this poll's
                schedule_refresh(_call_request(request.task, request), call)
        except Exception as error:  # noqa: BLE001 - it runs as it would have without us (promise F1)
            self._fault(request, "follow", error)
            return LookupResult(call)
        return lookup

    def _could_run(self, key: str) -> bool:
        """Whether a follower would run at once, and what it follows isn't of this worker's."""
        runtime = cache_of(self._consumer.app).runtime
        return not runtime.leases.holds(key) and has_free_slot(self._consumer, self.following)

    def answer(self, follower: Follower, hit: Hit) -> None:
        """Complete a follower with the leader's result."""
        request, call = follower.request, follower.call
        runtime = request.task.cache_runtime
        try:
            hot_calls.record_hot_call(_call_request(request.task, request), call)
            own = runtime.engine.reader.copy_of(hit)
            waited = monotonic() - follower.since
            record_lookup(runtime.observe, call, Site.CONSUMER, own, waited=waited)
            completed = self._inline.complete(request, own)
        except Exception as error:  # noqa: BLE001 - likewise
            self._fault(request, "follow", error)
            completed = False
        if not completed:
            self._to_pool(request)

    def send(self, follower: Follower, lookup: LookupResult) -> None:
        """Send a follower to the pool: it leads now, or runs for itself."""
        self._limits.run(follower.request, lookup)

    def give_up(self, follower: Follower) -> None:
        """Wait no longer with a follower: the broker has it again, or it runs for itself (C8)."""
        request = follower.request
        has_waited_long = monotonic() - follower.since >= longest_wait(self._consumer)
        if has_waited_long and can_give_back(self._consumer, request):
            give_back(request)
        else:
            self.send(follower, LookupResult(follower.call, reason="waited-too-long"))

    def waiting(self, count: int) -> None:
        """Take note of how many followers wait now."""
        cache_of(self._consumer.app).runtime.observe(Waiting(count))

    def release_lease(self, request: Request, lookup: LookupResult) -> None:
        """Let others lead: this call isn't on its way yet."""
        headers = request.request_dict
        cache_header = context.cache_header_of(headers)
        if SEEN in cache_header:  # the lease that came with it ends now
            headers[context.HEADER] = without_handoff(cache_header)
        if lookup.call is not None and lookup.owner:
            runtime = cache_of(self._consumer.app).runtime
            runtime.leases.end(lookup.call.key, lookup.owner)

    def _fault(self, request: Request, operation: str, error: Exception) -> None:
        request.task.cache_runtime.observe(Fault(request.task.name, operation, error))


def _call_request(task: CachedTask, request: Request) -> CallRequest:
    headers = request.request_dict
    is_request = hot_calls.is_request(headers, headers.get("retries"))
    return request_of_message(task, request.args, request.kwargs, headers, is_request=is_request)


def _claim(runtime: Runtime, request: Request) -> Claim:
    return Claim(
        owner=uuid4().hex,
        stage=Stage.QUEUED,
        ttl=runtime.leases.ttl,
        reservation=request.id,
        overtakes=OVERTAKEN_AT,
    )


def _join() -> Plan[Hit | Miss]:
    """What a call finds for which others wait here already: no look of its own."""
    yield from ()
    return Miss("following", None, Lease("", None, Stage.RUNNING))
