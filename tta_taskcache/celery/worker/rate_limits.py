"""Rate limits: only a call that has to run takes a token (promise S6).

Celery's consumer puts the requests of a rate-limited task into a token bucket, and moves each to
the pool when there is a token for it. Here they are looked up before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from celery.worker.request import Request
from celery.worker.state import task_reserved
from kombu.utils.limits import TokenBucket

from ..api.cached_task import CachedTask
from ..calls.lookup_result import LookupResult
from ..patches.consumer_hooks import Handle, give_back_token, intercept_rate_limits

#: Goes on with a request that isn't answered.
Then = Callable[[Request, LookupResult], None]


class RequestHandler(Protocol):
    """What this needs of the consumer site."""

    def look_up(self, request: Request, then: Then, answered: Handle | None = None) -> None:
        """Answer a request or let it wait for an equal one; else go on with what was found."""
        ...

    def dispatch(self, request: Request, lookup: LookupResult) -> None:
        """Send a request to the pool."""
        ...

    def release_lease(self, request: Request, lookup: LookupResult) -> None:
        """Let others lead: this call isn't on its way yet."""
        ...


class RateLimits:
    """Stands between Celery's strategies and its token buckets.

    Args:
        consumer: The worker's consumer, whose methods are replaced before its strategies are made.
        site: The consumer site.
    """

    def __init__(self, consumer: Any, site: RequestHandler) -> None:
        self._consumer = consumer
        self._site = site
        self._noted: dict[str, LookupResult] = {}
        #: For which a token is being taken just now.
        self._leaving: Request | None = None
        self._limit, self._leave = intercept_rate_limits(
            consumer, self.limit, self.limit_post_eta, self.leave
        )

    def limit(self, request: Request, bucket: TokenBucket, tokens: int) -> None:
        """A request of a rate-limited task has come."""
        if not isinstance(request.task, CachedTask):
            self._limit(request, bucket, tokens)
            return

        def then(request: Request, lookup: LookupResult) -> None:
            self._queue(request, lookup, bucket, tokens)

        self._site.look_up(request, then)

    def limit_post_eta(self, request: Request, bucket: TokenBucket, tokens: int) -> None:
        """Its time has come."""
        self._consumer.qos.decrement_eventually()
        self.limit(request, bucket, tokens)

    def run(self, request: Request, lookup: LookupResult) -> None:
        """Run a request that has waited for an equal one in vain: as soon as its limit allows."""
        limited = not self._consumer.disable_rate_limits
        bucket = self._consumer.task_buckets[request.task.name] if limited else None
        if bucket is None:
            self._site.dispatch(request, lookup)
        else:
            self._queue(request, lookup, bucket, 1)

    def _queue(
        self, request: Request, lookup: LookupResult, bucket: TokenBucket, tokens: int
    ) -> None:
        self._noted[request.id] = lookup
        self._limit(request, bucket, tokens)  # which calls `leave` when there is a token
        if self._noted.pop(request.id, None) is not None:
            # It has to wait, for long perhaps. Another worker may have a token now.
            self._site.release_lease(request, lookup)

    def leave(self, request: Request) -> None:
        """A token was taken for a request; it is given back if that needn't run any more."""
        if not isinstance(request.task, CachedTask):
            self._leave(request)
            return
        task_reserved(request)
        lookup = self._noted.pop(request.id, None)
        if lookup is not None:
            self._site.dispatch(request, lookup)
            return
        self._leaving = request
        self._site.look_up(request, self._site.dispatch, self._give_back)
        self._leaving = None

    def _give_back(self, request: Request) -> None:
        """Hand the token of a request on to the next one, or put it back."""
        bucket = self._consumer.task_buckets[request.task.name]
        if bucket is None:
            return
        # Celery is about to see whether there is one for the next; later, it has reckoned without.
        if self._leaving is request or not bucket.contents:
            give_back_token(bucket)
        else:
            following, _ = bucket.pop()
            self.leave(following)
