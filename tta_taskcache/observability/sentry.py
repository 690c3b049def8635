"""Spans for Sentry's Caches page: ``cache.get`` and ``cache.put``.

Sentry shows them by ``cache.hit``, ``cache.key`` and ``cache.item_size``. Spans belong to a
transaction: what a worker's main process looks up outside of any is told when the call is
completed, as part of its own.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ..core.events import Answered, Event, Filled, Lookup

try:
    import sentry_sdk
except ImportError as error:
    raise ImportError("Sentry isn't installed: pip install sentry-sdk") from error

ORIGIN = "auto.cache.taskcache"

#: The span that Sentry's Celery integration puts around a task, whatever comes of it.
PROCESS = "queue.process"


class SentryObserver:
    """Makes spans ``cache.get`` and ``cache.put`` of the current transaction.

    A task's own span and transaction are marked with ``cache.hit`` when its result was stored.

    ``cache.key`` is the call's key; without its label, which may hold user data, unless Sentry's
    option ``send_default_pii`` allows that.
    """

    def __call__(self, event: Event) -> None:
        """Make a span of an event, if a transaction is under way."""
        match event:
            case Lookup() if event.seconds is not None or event.coalesced:
                about = {"cache.hit": event.layer is not None, "taskcache.site": event.site}
                about |= _about_hit(event) if event.layer else {"taskcache.reason": event.reason}
                self._span("cache.get", event, event.seconds or 0.0, about)
            case Answered():
                self._answered(event)
            case Filled(reason="", seconds=float(seconds)):
                self._span("cache.put", event, seconds, {"cache.item_size": event.size})
            case _:
                pass

    def _answered(self, event: Answered) -> None:
        span = sentry_sdk.get_current_span()
        if span is None:
            return
        about = {"cache.hit": True, "taskcache.site": event.site, **_about_hit(event)}
        if event.site == "consumer":
            self._span("cache.get", event, 0.0, about)
        if span.op != PROCESS:
            return  # without Sentry's Celery integration it is the caller's
        for name, value in about.items():
            span.set_data(name, value)
        if event.site == "producer":
            span.op = "function"  # no message was sent: the page of queues is not to count it
        elif (transaction := span.containing_transaction) is not None:
            transaction.set_tag("cache.hit", "true")

    def _span(
        self, op: str, event: Lookup | Answered | Filled, seconds: float, about: dict[str, Any]
    ) -> None:
        """Make a span of what took so long and has just ended."""
        parent = sentry_sdk.get_current_span()
        if parent is None or parent.sampled is False:
            return
        key = _shown(event)
        end = datetime.now(UTC)
        span = parent.start_child(
            op=op, name=key, origin=ORIGIN, start_timestamp=end - timedelta(seconds=seconds)
        )
        for name, value in {**about, "cache.key": [key]}.items():
            span.set_data(name, value)
        span.finish(end_timestamp=end)


def _shown(event: Lookup | Answered | Filled) -> str:
    """The call's key (``task:label:digest``), as it may be shown."""
    if event.key is None or sentry_sdk.get_client().options.get("send_default_pii"):
        return event.key or event.task
    return f"{event.task}:{event.key.rpartition(':')[2]}"


def _about_hit(event: Lookup | Answered) -> dict[str, Any]:
    return {
        "taskcache.layer": event.layer,
        "taskcache.age": round(event.age, 3),
        "taskcache.freshness": event.freshness,
        "taskcache.computed_by": event.computed_by,
        "cache.item_size": event.size,
    }
