"""The consumer site (promises S2, C1 to C5): what the worker's main process does with a message.

Every request passes ``consumer.on_task_request`` on its way to the pool, ETA tasks included. One
that is cached by now is completed here; one whose call is in flight waits here; the others go to
the pool, and those that lead are watched.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any
from uuid import uuid4

from celery import bootsteps
from celery.concurrency.prefork import TaskPool as PreforkPool
from celery.concurrency.solo import TaskPool as SoloPool
from celery.worker.request import Request
from celery.worker.state import task_reserved

from ..cache.leases import RENEWALS
from ..cache.outcome import Call, Hit, Miss
from ..cache.plan import Plan
from ..cache.refreshing import VERIFY
from ..core.events import Fault, Waiting
from ..core.lease import Claim, Lease, Stage
from ..core.option_values import Site
from . import context, control, events, hot, receipts
from .app import cache_of
from .calls import Asked, Seen, found
from .followers import Follower, Followers
from .handover import OVERTAKEN_AT, RESERVED_FOR, hand_over, take_over
from .inline import Inline, be_impatient
from .leader import Leader
from .looking import Start, look
from .rate_limits import RateLimits
from .runtime import Runtime
from .task import CachedTask


class ConsumerSite(bootsteps.StartStopStep):
    """Bootstep of the worker's consumer: puts itself in front of the pool."""

    def __init__(self, consumer: Any, **kwargs: Any) -> None:
        super().__init__(consumer, **kwargs)
        self._has_processes = isinstance(consumer.pool, PreforkPool)
        self._to_pool: Callable[[Request], None] = consumer.on_task_request
        self._inline = Inline()
        self._consumer = consumer
        self._followers: Followers | None = None
        #: Switched by remote control: calls pass the cache by.
        self.is_disabled = False
        setattr(consumer, control.SITE, self)
        # Before the consumer's strategies are made: each keeps a reference to this.
        consumer.on_task_request = self.on_task_request
        self._limits = RateLimits(consumer, self)

    def start(self, consumer: Any) -> None:
        """Let the result backend give up in time in this process, whose tasks run in others."""
        if consumer.pool is not None and not isinstance(consumer.pool, SoloPool):
            be_impatient(consumer.app.backend)
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
        elif (seen := self.unanswered(request)) is not None:
            self.dispatch(request, seen)

    def unanswered(self, request: Request) -> Seen | None:
        """Answer a request or let it wait for an equal one; else say what was found."""
        if self.is_disabled:
            headers = request.request_dict  # which the pool's process reads, too
            headers[context.HEADER] = {**context.stamp_of(headers), "mode": "bypass"}
            return Seen(None)
        try:
            seen = self._look(request.task, request)
        except Exception as error:  # noqa: BLE001 - nothing may end the worker's loop (promise F1)
            self._fault(request, "consume", error)
            seen = Seen(None)
        if seen.call is not None and seen.follows and self._followers is not None:
            task_reserved(request)  # a rate-limited one isn't yet
            self._followers.park(request, seen.call)
            return None
        if seen.hit is not None and self._inline.complete(request, seen.hit):
            return None
        return seen

    def _look(self, task: CachedTask, request: Request) -> Seen:
        """Look for the answer, and for the right to compute it."""
        headers = request.request_dict
        stamp = context.stamp_of(headers)
        if stamp.get("mode", "use") != "use":
            return Seen(None)
        asked = _asked(task, request)
        if self._followers is None:
            return look(asked, Site.CONSUMER, Start(handed_over=take_over(stamp)))
        runtime, followers = task.taskcache().runtime, self._followers

        def plan(call: Call, site: str, claim: Claim) -> Plan[Hit | Miss]:
            return _join() if followers.has(call.key) else runtime.engine.look(call, site, claim)

        claim = _claim(runtime, request)
        start = Start(handed_over=take_over(stamp), claim=claim, plan=plan)
        return look(asked, Site.CONSUMER, start)

    def dispatch(self, request: Request, seen: Seen) -> None:
        """Send a request to the pool, with what is known of it."""
        headers = request.request_dict
        if seen.reason == VERIFY:
            headers[context.HEADER] = {**context.stamp_of(headers), "mode": VERIFY}
        if events.are_wanted(request):
            headers[context.HEADER] = {**context.stamp_of(headers), events.WANTED: True}
        # A pool process without Redis has a memory of its own.
        known = request.task.taskcache().runtime.is_shared or not self._has_processes
        if known and (noted := hand_over(seen)):
            stamp = {**context.stamp_of(headers), "seen": noted, "leads": bool(seen.owner)}
            headers[context.HEADER] = stamp
        receipts.expect_failure(request)
        if seen.call is not None and seen.lease is not None and seen.owner:
            self._watch(request, seen.call, seen.lease)
        self._to_pool(request)

    def _watch(self, request: Request, call: Call, lease: Lease) -> None:
        """Renew the lease of a request for as long as that is on its way."""
        leases = request.task.taskcache().runtime.leases

        def ended(succeeded: bool) -> None:
            # What has succeeded has filled, and ended the lease with that.
            if succeeded:
                leases.let_go(lease.owner)
            else:
                leases.end(call.key, lease.owner)
            if self._followers is not None:
                self._followers.hurry(call.key)

        reserved = lease.stage is Stage.RESERVED
        renew_in = RESERVED_FOR / 4 if reserved else leases.ttl / RENEWALS
        leader = Leader(request, ended, in_process=self._has_processes)
        leases.hold(call.key, lease.owner, leader.progress, renew_in=renew_in)

    def poll(self, follower: Follower) -> Seen:
        """Look again for what a follower waits for, or for the right to compute it."""
        request, call = follower.request, follower.call
        runtime = request.task.taskcache().runtime
        try:
            return found(call, runtime.run(runtime.engine.ask(call, _claim(runtime, request))))
        except Exception as error:  # noqa: BLE001 - it runs as it would have without us (promise F1)
            self._fault(request, "follow", error)
            return Seen(call)

    def answer(self, follower: Follower, hit: Hit) -> None:
        """Complete a follower with the leader's result."""
        request, call = follower.request, follower.call
        runtime = request.task.taskcache().runtime
        try:
            hot.note(_asked(request.task, request), call)
            own = runtime.engine.again(hit)
            waited = monotonic() - follower.since
            runtime.engine.tell(call, Site.CONSUMER, own, waited=waited)
            completed = self._inline.complete(request, own)
        except Exception as error:  # noqa: BLE001 - likewise
            self._fault(request, "follow", error)
            completed = False
        if not completed:
            receipts.expect_failure(request)
            self._to_pool(request)

    def send(self, follower: Follower, seen: Seen) -> None:
        """Send a follower to the pool: it leads now, or runs for itself."""
        self._limits.run(follower.request, seen)

    def waiting(self, count: int) -> None:
        """Take note of how many followers wait now."""
        cache_of(self._consumer.app).runtime.observe(Waiting(count))

    def step_back(self, request: Request, seen: Seen) -> None:
        """Let others lead: this call isn't on its way yet."""
        headers = request.request_dict
        stamp = context.stamp_of(headers)
        if "seen" in stamp:  # the lease that came with it ends now
            headers[context.HEADER] = {name: stamp[name] for name in stamp if name != "seen"}
        if seen.call is not None and seen.owner:
            runtime = cache_of(self._consumer.app).runtime
            runtime.leases.end(seen.call.key, seen.owner)

    def _fault(self, request: Request, operation: str, error: Exception) -> None:
        request.task.taskcache().runtime.observe(Fault(request.task.name, operation, error))


def _asked(task: CachedTask, request: Request) -> Asked:
    headers = request.request_dict
    return Asked(
        task,
        request.args,
        request.kwargs,
        context.of_message(headers),
        is_request=hot.is_request(headers, headers.get("retries")),
    )


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
