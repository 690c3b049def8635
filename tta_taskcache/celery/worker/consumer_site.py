"""The consumer site (promises S2, C1 to C5): what the worker's main process does with a message.

Every request passes ``consumer.on_task_request`` on its way to the pool, ETA tasks included. One
that is cached by now is completed here; one whose call is in flight waits here; the others go to
the pool, and those that lead are watched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from celery import bootsteps
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.worker import state
from celery.worker.request import Request
from celery.worker.state import task_reserved

from ...cache.engine.lookup_record import VERIFY, record_lookup
from ...cache.leases.single_flight import PATIENCE
from ...cache.outcome import Hit
from ...cache.runs.led_keys import waits_at_most, within
from ...core.events import Fault, Waiting
from ...core.options.option_values import Site
from ..api.cached_task import CachedTask
from ..api.task_cache import cache_of
from ..calls import context, hot_calls
from ..calls.lookup_handoff import MISSED, QUEUED_FOR, SEEN, to_handoff, without_handoff
from ..calls.lookup_result import SLOW, LookupResult
from ..config.runtime import Runtime
from ..patches.worker.consumer_hooks import Handle, intercept_requests
from ..patches.worker.failing_request import expose_on_failure
from ..sites import task_events
from . import control
from .follower_age import can_give_back, give_back, longest_wait
from .followers import Follower, Followers
from .lease_watch import has_free_slot, watch_leases
from .offload.completions import Completions
from .offload.lookahead import Lookahead
from .offload.lookup_jobs import call_request_of
from .offload.lookups import Lookups
from .offload.loop_posts import LoopPosts
from .offload.slow_cache import SlowCache, mode_of
from .rate_limits import RateLimits, Then

#: Seconds that a worker which ends takes to complete the hits, and to end the leases, that it has
#: in hand. What takes longer, the broker delivers again.
ENDING = 2.0


#: The reason of a miss that has waited for an equal call for long enough.
WAITED = "waited-too-long"


class ConsumerSite(bootsteps.StartStopStep):
    """Bootstep of the worker's consumer: puts itself in front of the pool."""

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._has_processes = isinstance(consumer.pool, PreforkPool)
        self._consumer = consumer
        #: Switched by remote control: calls pass the cache by.
        self.is_disabled = False
        setattr(consumer, control.SITE, self)
        self._to_pool = intercept_requests(consumer, self.on_task_request)
        self._limits = RateLimits(consumer, self)
        self._slow_cache = SlowCache()
        self._posts = LoopPosts(consumer, self._post_failed)
        self._lookahead = Lookahead(consumer)
        self._completions = Completions(consumer, self._posts, self._lookahead, self._run)
        self._lookups = Lookups(consumer, self._runtime, self._posts, self._lookahead, self)
        self._followers: Followers | None = None

    def start(self, consumer: Any) -> None:
        """Start with a new connection to the broker."""
        if self._has_processes:  # in other pools, tasks store their own results in this process
            self._completions.shorten_timeouts()
        self._posts.start()
        runtime = self._runtime()
        # Without Redis, a pool process fills a memory of its own, which followers here can't read.
        if runtime.is_shared or not self._has_processes:
            self._followers = Followers(self, consumer, runtime.settings.max_followers)

    def stop(self, _: Any) -> None:
        """Drop what isn't in the pool: the broker delivers it again on the next connection."""
        # Each is None, False or an exit code, which may be 0.
        flags = (state.should_stop, state.should_terminate)
        is_the_end = any(flag is not None and flag is not False for flag in flags)
        if self._followers is not None:
            self._followers.drop()
        self._completions.drop()
        self._lookahead.forget()
        self._lookups.drop(ENDING if is_the_end else 0.0)
        if is_the_end:
            self._completions.settle(ENDING)
            self._posts.run_all()

    @property
    def can_follow(self) -> bool:
        """Whether this worker can have followers."""
        return self._followers is not None

    def is_followed(self, key: str) -> bool:
        """Whether a key has followers here, which the next equal call may join."""
        return self._followers is not None and self._followers.has(key)

    @property
    def following(self) -> int:
        """Number of followers in this worker."""
        return 0 if self._followers is None else len(self._followers)

    def on_task_request(self, request: Request) -> None:
        """Answer a request from the cache, let it wait, or send it on to the pool."""
        if isinstance(request.task, CachedTask):
            self.look_up(request, self.dispatch)
        else:
            self._to_pool(request)

    def look_up(self, request: Request, then: Then, answered: Handle | None = None) -> None:
        """Answer a request or let it wait for an equal one; else go on with what was found.

        Args:
            request: The request.
            then: Goes on, unless it is answered or waits.
            answered: Told that it is.
        """
        if self.is_disabled:
            _pass_by(request, "bypass")
        if not self._is_to_be_looked_up(request):
            then(request, LookupResult(None))
            return

        def found(lookup: LookupResult) -> None:
            self._act(request, lookup, then, answered)

        self._lookups.look_up(request, found)

    def _is_to_be_looked_up(self, request: Request) -> bool:
        """Whether a request is looked up here; else it goes on as it came."""
        if mode_of(request) != "use" or self._slow_cache.is_down(request):
            return False
        return not self._slow_cache.is_too_slow_for(request) or self._slow_cache.may_try()

    def _act(
        self, request: Request, lookup: LookupResult, then: Then, answered: Handle | None
    ) -> None:
        """Act on what was found."""
        if lookup.hit is not None:
            self._slow_cache.note_run(request.task.name, lookup.hit.entry.run_seconds)
        try:
            is_settled = self._settle(request, lookup)
        except Exception as error:  # noqa: BLE001 - nothing may end the worker's loop (promise F1)
            self._fault(request, "consume", error)
            is_settled = False
        if not is_settled:
            then(request, lookup)
        elif answered is not None:
            answered(request)

    def _settle(self, request: Request, lookup: LookupResult) -> bool:
        """Answer a request, or let it wait; says whether it does."""
        if lookup.call is not None and lookup.follows and self._followers is not None:
            task_reserved(request)  # a rate-limited one isn't yet
            led = within(context.cache_header_of(request.request_dict))
            patience = waits_at_most(lookup.call.key, led, longest_wait(self._consumer))
            self._followers.park(request, lookup.call, patience)
            return True
        return lookup.hit is not None and self._completions.complete(request, lookup.hit)

    def dispatch(self, request: Request, lookup: LookupResult) -> None:
        """Send a request to the pool, with what is known of it."""
        try:
            self._hand_on(request, lookup)
        except Exception as error:  # noqa: BLE001 - it runs as it would have without us (promise F1)
            self._fault(request, "consume", error)
        self._run(request)

    def _run(self, request: Request) -> None:
        """Send a cached task's request to the pool."""
        if request.request_dict.get(hot_calls.WARM_HEADER):  # its failure is the warming's outcome
            expose_on_failure(request)
        self._to_pool(request)

    def _hand_on(self, request: Request, lookup: LookupResult) -> None:
        """Tell the pool's process what is known of a request, and learn how it ends."""
        headers = request.request_dict
        if lookup.hit is None and lookup.seconds is not None and self._runtime().observers:
            missed = {MISSED: [lookup.reason, lookup.seconds]}
            context.add_to_cache_header(headers, missed)
        if (
            lookup.hit is None
            and lookup.instead is None
            and self._slow_cache.is_too_slow_for(request)
        ):
            self.end_lease(lookup)
            _pass_by(request, SLOW)
            lookup = LookupResult(None)
        if lookup.reason == VERIFY:
            context.add_to_cache_header(headers, {"mode": VERIFY})
        if task_events.are_wanted(request):
            context.add_to_cache_header(headers, {task_events.WANTED: True})
        # A pool process without Redis has a memory of its own.
        known = request.task.cache_runtime.is_shared or not self._has_processes
        cache_header = without_handoff(context.cache_header_of(headers))
        if known and (noted := to_handoff(lookup)):
            cache_header |= {SEEN: noted, "leads": bool(lookup.owner)}
            context.write_cache_header(headers, cache_header)
        elif lookup.lease is not None:
            context.write_cache_header(headers, cache_header)
        if lookup.led:
            watch_leases(
                request,
                lookup.led,
                in_process=self._has_processes,
                has_ended=self._poll_followers,
            )
        self._slow_cache.watch(request)

    def poll(self, follower: Follower, found: Callable[[LookupResult], None]) -> None:
        """Look again for what a follower waits for, or for the right to compute it."""
        takes_queued = _waits_long(follower) and self._could_run(follower.call.key)
        self._lookups.poll(follower.request, follower.call, found, takes_queued=takes_queued)

    def _could_run(self, key: str) -> bool:
        """Whether a follower would run at once, and what it follows isn't of this worker's."""
        held = self.following + self._lookups.pending + self._completions.pending
        unreserved = self._lookahead.unreserved
        if self._followers is not None:
            unreserved += self._followers.unreserved
        return not self._runtime().leases.holds(key) and has_free_slot(
            self._consumer, held - unreserved
        )

    def answer(self, follower: Follower, hit: Hit) -> None:
        """Complete a follower with the leader's result."""
        request, call = follower.request, follower.call
        if _is_batch(request):
            self._look_again(follower)
            return
        waited = monotonic() - follower.since

        def own() -> Hit:
            runtime = request.task.cache_runtime
            hot_calls.record_hot_call(call_request_of(request), call)
            copy: Hit = runtime.engine.reader.copy_of(hit)
            with runtime.observers.in_message(request.request_dict):
                record_lookup(runtime.observe, call, Site.CONSUMER, copy, waited=waited)
            return copy

        if not self._completions.complete(request, hit, own):
            self._run(request)

    def send(self, follower: Follower, lookup: LookupResult) -> None:
        """Send a follower to the pool: it leads now, or runs for itself."""
        if not _is_batch(follower.request):
            self._limits.run(follower.request, lookup)
        elif lookup.reason == WAITED:
            self._limits.run(follower.request, LookupResult(None))
        else:
            self._look_again(follower, lookup.led)

    def _look_again(self, follower: Follower, led: Sequence[tuple[str, str]] = ()) -> None:
        """Look up a batch that has waited for one of its items; it may have to wait for another.

        Args:
            follower: The batch.
            led: The lease of that item, if it was taken: all are claimed together.
        """
        request, takes_queued = follower.request, bool(led) and _waits_long(follower)

        def found(lookup: LookupResult) -> None:
            left = follower.until - monotonic()
            if lookup.follows and lookup.call is not None and self._followers is not None:
                if left > 0:
                    self._followers.park(request, lookup.call, left)
                    return
                lookup = LookupResult(None)
            self._act(request, lookup, self._limits.run, None)

        self._lookups.look_up(request, found, ends=tuple(led), takes_queued=takes_queued)

    def give_up(self, follower: Follower) -> None:
        """Wait no longer with a follower: the broker has it again, or it runs for itself (C8)."""
        request = follower.request
        has_waited_long = monotonic() - follower.since >= longest_wait(self._consumer)
        if has_waited_long and can_give_back(self._consumer, request):
            give_back(request)
        else:
            self.send(follower, LookupResult(follower.call, reason=WAITED))

    def _poll_followers(self, keys: Sequence[str]) -> None:
        if self._followers is not None:
            for key in keys:
                self._followers.poll_now(key)

    def waiting(self, count: int) -> None:
        """Take note of how many followers wait now."""
        self._runtime().observe(Waiting(count))

    def release_lease(self, request: Request, lookup: LookupResult) -> None:
        """Let others lead: this call isn't on its way yet."""
        headers = request.request_dict
        cache_header = context.cache_header_of(headers)
        if SEEN in cache_header:  # the lease that came with it ends now
            context.write_cache_header(headers, without_handoff(cache_header))
        self.end_lease(lookup)

    def end_lease(self, lookup: LookupResult) -> None:
        """Let others lead: nobody here goes on with the call."""
        self._runtime().leases.end_all(lookup.led)

    def _runtime(self) -> Runtime:
        return cache_of(self._consumer.app).runtime

    def _post_failed(self, error: Exception) -> None:
        self._runtime().observe(Fault("", "consume", error))

    def _fault(self, request: Request, operation: str, error: Exception) -> None:
        request.task.cache_runtime.observe(Fault(request.task.name, operation, error))


def _is_batch(request: Request) -> bool:
    """Whether a request is of a task with ``cache_each``, whose items are calls of their own."""
    return request.task.cache_policy.each is not None


def _waits_long(follower: Follower) -> bool:
    """Whether a follower has waited long enough to take over a call that is queued elsewhere."""
    # A batch takes over many at once, and its run is dear.
    queued_for = PATIENCE if _is_batch(follower.request) else QUEUED_FOR
    return monotonic() - follower.since >= queued_for


def _pass_by(request: Request, mode: str) -> None:
    """Tell the pool's process that a call passes the cache by."""
    context.add_to_cache_header(request.request_dict, {"mode": mode})
