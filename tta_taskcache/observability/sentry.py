"""Spans for Sentry's Caches page: ``cache.get`` and ``cache.put``.

Sentry shows them by ``cache.hit``, ``cache.key`` and ``cache.item_size``. Spans belong to a
transaction: what a worker's main process looks up outside of any is told when the call is
completed or comes to the pool, as part of its own. With ``trace_lifecycle="stream"``, where spans
are sent one by one, they belong to the span in force.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

from ..core.events import Answered, Event, Filled, Lookup, Missed

try:
    import sentry_sdk
except ImportError as error:
    raise ImportError("Sentry isn't installed: pip install sentry-sdk") from error

traces: ModuleType | None
try:
    from sentry_sdk import traces
except ImportError:  # before 2.75, no spans are streamed
    traces = None

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
                _span("cache.get", event, event.seconds or 0.0, about)
            case Missed():
                about = {"cache.hit": False, "taskcache.site": event.site}
                about |= {"taskcache.reason": event.reason}
                _span("cache.get", event, event.seconds, about)
            case Answered():
                _answered(event)
            case Filled(reason="", seconds=float(seconds)):
                _span("cache.put", event, seconds, {"cache.item_size": event.size})
            case _:
                pass


def _answered(event: Answered) -> None:
    """Mark the task's own span and transaction."""
    about = {"cache.hit": True, "taskcache.site": event.site, **_about_hit(event)}
    if event.site == "consumer":
        _span("cache.get", event, 0.0, about)
    span = sentry_sdk.get_current_span()
    if span is None:
        _mark_streamed(event, about)
        return
    if span.op != PROCESS:
        return  # without Sentry's Celery integration it is the caller's
    for name, value in about.items():
        span.set_data(name, value)
    if event.site == "producer":
        span.op = "function"  # no message was sent: the page of queues is not to count it
    elif (transaction := span.containing_transaction) is not None:
        transaction.set_tag("cache.hit", "true")


def _span(
    op: str, event: Lookup | Missed | Answered | Filled, seconds: float, about: dict[str, Any]
) -> None:
    """Make a span of what took so long and has just ended."""
    parent = sentry_sdk.get_current_span()
    if parent is None:
        _stream(op, event, seconds, about)
        return
    if parent.sampled is False:
        return
    key = _shown(event)
    end = datetime.now(UTC)
    span = parent.start_child(
        op=op, name=key, origin=ORIGIN, start_timestamp=end - timedelta(seconds=seconds)
    )
    for name, value in {**about, "cache.key": [key]}.items():
        span.set_data(name, value)
    span.finish(end_timestamp=end)


def _streamed_span() -> Any:
    """The span in force where spans are streamed; None elsewhere, and outside of any."""
    return None if traces is None else traces.get_current_span()


def _mark_streamed(event: Answered, about: dict[str, Any]) -> None:
    span = _streamed_span()
    if span is None or span.get_attributes().get("sentry.op") != PROCESS:
        return
    span.set_attributes({name: value for name, value in about.items() if value is not None})
    if event.site == "producer":
        span.set_attribute("sentry.op", "function")


def _stream(
    op: str, event: Lookup | Missed | Answered | Filled, seconds: float, about: dict[str, Any]
) -> None:
    """Make a streamed span. It belongs to the span in force: none of ours is a trace's root."""
    if traces is None or _streamed_span() is None:
        return
    key = _shown(event)
    about = {"sentry.op": op, "sentry.origin": ORIGIN, "cache.key": [key], **about}
    known = {name: value for name, value in about.items() if value is not None}
    span = traces.start_span(key, known, active=False)
    end = datetime.now(UTC)
    # Its API knows of no other start than now.
    span._start_timestamp = end - timedelta(seconds=seconds)
    span.end(end)


def _shown(event: Lookup | Missed | Answered | Filled) -> str:
    """The call's key (``task:label:digest``), as it may be shown."""
    if event.key is None or sentry_sdk.get_client().options.get("send_default_pii"):
        return event.key or event.task
    return f"{event.task}:{event.key.rpartition(':')[2]}"


def _about_hit(event: Lookup | Answered) -> dict[str, Any]:
    about = {
        "taskcache.layer": event.layer,
        "taskcache.age": round(event.age, 3),
        "taskcache.freshness": event.freshness,
        "taskcache.computed_by": event.computed_by,
        "cache.item_size": event.size,
    }
    if event.similarity is not None:
        about["taskcache.similarity"] = round(event.similarity, 4)
    return about
