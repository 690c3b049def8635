"""Prefetch for lookups and completions: the broker delivers more messages meanwhile (F4).

Calls that are looked up or completed take no slot of the pool. Counted as prefetched, they would
keep other messages in the broker for as long as the cache takes. A miss among them stays with this
worker, though another may be idle, so the share of hits among the last calls decides how many more
messages are fetched.
"""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request

from ...patches.worker.prefetch_allowance import PrefetchAllowance

#: Most messages that are fetched ahead.
MOST = 256

#: Most misses among the messages that were fetched ahead, as a share of the prefetch count.
MISSES = 0.25

#: Number of the last lookups whose share of hits counts.
LEARNT_FROM = 8


class Lookahead:
    """The messages that a worker fetches beyond its prefetch count.

    Args:
        consumer: Celery's consumer.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._allowance = PrefetchAllowance(consumer, MOST, in_steps=True)
        # With worker_disable_prefetch, a worker has no more messages than it runs.
        self._ahead = not consumer.app.conf.get("worker_disable_prefetch")
        self._hits = 0.0
        self._lookups: set[Request] = set()
        self._completions: set[Request] = set()

    def begin_lookup(self, request: Request) -> None:
        """Count a lookup that begins; fetch one more message where enough lookups are hits."""
        is_wanted = self._ahead and len(self._lookups) < self._most_lookups()
        if is_wanted and self._allowance.hold(request):
            self._lookups.add(request)

    def end_lookup(self, request: Request, *, is_hit: bool) -> None:
        """Count a lookup that has ended."""
        self._hits += (is_hit - self._hits) / LEARNT_FROM
        self._release(self._lookups, request)

    def begin_completion(self, request: Request) -> None:
        """Count a completion that begins and takes no slot; fetch one more message."""
        if self._allowance.hold(request):
            self._completions.add(request)

    def end_completion(self, request: Request) -> None:
        """Count a completion that has ended, or was left to the pool."""
        self._release(self._completions, request)

    def forget(self) -> None:
        """Forget all messages after a lost connection."""
        self._lookups.clear()
        self._completions.clear()
        self._allowance.forget()

    @property
    def unreserved(self) -> int:
        """Number of the messages that Celery doesn't count as reserved."""
        return self._allowance.unreserved

    def _most_lookups(self) -> int:
        spare: float = self._consumer.qos.value * MISSES
        misses = 1.0 - self._hits
        return MOST if misses * MOST <= spare else int(spare / misses)

    def _release(self, held: set[Request], request: Request) -> None:
        if request in held:
            held.remove(request)
            self._allowance.release(request)
