"""Rate limits: only a call that has to run takes a token (promise S6).

Celery's consumer puts the requests of a rate-limited task into a token bucket, and moves each to
the pool when there is a token for it. Here the requests are looked up before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from celery.worker.request import Request
from celery.worker.state import task_reserved
from kombu.utils.limits import TokenBucket

from ..api.cached_task import CachedTask
from ..calls.lookup_result import LookupResult
from ..patches.worker.consumer_hooks import (
    Handle,
    give_back_token,
    intercept_rate_limits,
    intercept_tokens,
)

#: Goes on with a request that isn't answered.
Then = Callable[[Request, LookupResult], None]


class RequestHandler(Protocol):
    """The consumer site, as rate limits use it."""

    def look_up(self, request: Request, then: Then, answered: Handle | None = None) -> None:
        """Complete a request, or park it as a follower; else go on with its lookup."""
        ...

    def dispatch(self, request: Request, lookup: LookupResult) -> None:
        """Send a request to the pool."""
        ...

    def release_lease(self, request: Request, lookup: LookupResult) -> None:
        """End the lease of a request that has to wait: others may lead."""
        ...


class RateLimits:
    """The lookup between Celery's strategies and its token buckets.

    Args:
        consumer: The worker's consumer, whose methods are replaced before its strategies are made.
        site: The consumer site.
    """

    def __init__(self, consumer: Any, site: RequestHandler) -> None:
        self._consumer = consumer
        self._site = site
        self._noted: dict[str, LookupResult] = {}
        self._limit = intercept_rate_limits(consumer, self.limit, self.limit_post_eta)
        #: What the consumer does with a token; None before a cached task needs one.
        self._leave: Handle | None = None
        #: The request for which a token is being taken.
        self._leaving: Request | None = None

    def limit(self, request: Request, bucket: TokenBucket, tokens: int) -> None:
        """Handle a request of a rate-limited task."""
        if not isinstance(request.task, CachedTask):
            self._limit(request, bucket, tokens)
            return

        def then(request: Request, lookup: LookupResult) -> None:
            self._queue(request, lookup, bucket, tokens)

        self._site.look_up(request, then)

    def limit_post_eta(self, request: Request, bucket: TokenBucket, tokens: int) -> None:
        """Handle a request of a rate-limited task whose ETA has come."""
        self._consumer.qos.decrement_eventually()
        self.limit(request, bucket, tokens)

    def run(self, request: Request, lookup: LookupResult) -> None:
        """Run a follower that found no answer, as soon as its limit allows."""
        limited = not self._consumer.disable_rate_limits
        bucket = self._consumer.task_buckets[request.task.name] if limited else None
        if bucket is None:
            self._site.dispatch(request, lookup)
        else:
            self._queue(request, lookup, bucket, 1)

    def _queue(
        self, request: Request, lookup: LookupResult, bucket: TokenBucket, tokens: int
    ) -> None:
        if self._leave is None:
            self._leave = intercept_tokens(self._consumer, self.leave)
        self._noted[request.id] = lookup
        self._limit(request, bucket, tokens)  # which calls `leave` when there is a token
        if self._noted.pop(request.id, None) is not None:
            # The request has to wait, maybe for long; another worker may have a token now.
            self._site.release_lease(request, lookup)

    def leave(self, request: Request) -> None:
        """Dispatch a request that has got a token; give the token back if it needn't run."""
        if self._leave is not None and not isinstance(request.task, CachedTask):
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
        # Right after this, Celery looks whether there is a token for the next request. Where an
        # answer comes later, Celery has scheduled that request without this token.
        if self._leaving is request or not bucket.contents:
            give_back_token(bucket)
        else:
            following, _ = bucket.pop()
            self.leave(following)
