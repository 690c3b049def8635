"""Spans and metrics for OpenTelemetry, by its API alone: without an SDK nothing is made.

There are no conventions for caches of calls: attributes are named as those of caches elsewhere
(``cache.hit``, ``cache.key``, ``cache.item_size``), and what only this one knows ``taskcache.*``.
Keys hold arguments' labels, so they are left out unless asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import time_ns
from typing import Any

from ..core.events import Answered, Coalesced, Event, Filled, Lookup, Ran

try:
    from opentelemetry import context, metrics, propagate, trace
except ImportError as error:
    raise ImportError(
        "OpenTelemetry isn't installed: pip install 'tta-taskcache[opentelemetry]'"
    ) from error

NAME = "tta_taskcache"

#: What the name of the span of a task's run begins with, as Celery's instrumentation makes it.
RUN = "run/"

#: What ``current_trace`` returns, and an entry may hold.
_TRACEPARENT = re.compile("00-([0-9a-f]{32})-([0-9a-f]{16})-01")


class OpenTelemetryObserver:
    """Makes spans ``cache get``, ``cache wait`` and ``cache put``, and counts.

    The span of a task's run by OpenTelemetry's instrumentation of Celery is marked with
    ``cache.hit`` when its result was stored.

    Args:
        tracer_provider: Where spans go; the global one by default.
        meter_provider: Likewise for metrics.
        keys: Whether spans carry ``cache.key``.
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        keys: bool = False,
    ) -> None:
        self._provider = tracer_provider
        self._tracer = trace.get_tracer(NAME, tracer_provider=tracer_provider)
        self._keys = keys
        meter = metrics.get_meter(NAME, meter_provider=meter_provider)
        self._hits = meter.create_counter("taskcache.hits", description="Calls answered")
        self._misses = meter.create_counter("taskcache.misses", description="Looks without answer")
        self._fills = meter.create_counter("taskcache.fills", description="Results stored or not")
        self._saved = meter.create_counter("taskcache.saved", "s", "Run time that hits saved")
        self._looks = meter.create_histogram("taskcache.lookup.duration", "s", "Time of one look")
        self._waits = meter.create_histogram("taskcache.wait.duration", "s", "Time of following")
        self._runs = meter.create_histogram("taskcache.run.duration", "s", "Time of runs")

    def __call__(self, event: Event) -> None:
        """Make spans of an event, and count it."""
        match event:
            case Lookup():
                self._count(event)
                if self._is_traced and (event.seconds is not None or event.coalesced):
                    self._get(event)
            case Answered() if self._is_traced:
                _mark(event)
            case Coalesced():
                about = {"task": event.task, "site": event.site}
                self._waits.record(event.waited, about)
                if self._is_traced:
                    self._span("cache wait", event.waited, event, {"taskcache.site": event.site})
            case Filled():
                self._fills.add(1, {"task": event.task, "reason": event.reason or "stored"})
                if self._is_traced and event.seconds is not None:
                    put = {"cache.item_size": event.size, "taskcache.reason": event.reason}
                    self._span("cache put", event.seconds, event, put)
            case Ran():
                self._runs.record(event.run_seconds, {"task": event.task})
            case _:
                pass

    @contextmanager
    def in_message(self, headers: Mapping[str, Any]) -> Iterator[None]:
        """Put the trace of a message in force, as it was sent."""
        if not self._is_traced:
            yield
            return
        token = context.attach(propagate.extract(headers))
        try:
            yield
        finally:
            context.detach(token)

    def current_trace(self) -> str:
        """The W3C traceparent of the span in force, to which spans of hits link; empty if none."""
        span = trace.get_current_span().get_span_context()
        if not (span.is_valid and span.trace_flags.sampled):
            return ""
        return f"00-{span.trace_id:032x}-{span.span_id:016x}-01"

    @property
    def _is_traced(self) -> bool:
        """Whether anybody gets spans: an SDK is there."""
        if self._provider is not None:
            return True
        return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)

    def _count(self, event: Lookup) -> None:
        about = {"task": event.task, "site": event.site}
        if event.layer is not None:
            self._hits.add(1, {**about, "layer": event.layer})
            self._saved.add(0.0 if event.coalesced else event.saved_seconds, about)
        else:
            self._misses.add(1, {**about, "reason": event.reason})
        if event.seconds is not None:
            self._looks.record(event.seconds, about)

    def _get(self, event: Lookup) -> None:
        about: dict[str, Any] = {"cache.hit": event.layer is not None, "taskcache.site": event.site}
        if event.layer is not None:
            about |= _about_hit(event)
            about["taskcache.coalesced"] = event.coalesced
        else:
            about["taskcache.reason"] = event.reason
        self._span("cache get", event.seconds or 0.0, event, about)

    def _span(
        self,
        name: str,
        seconds: float,
        event: Lookup | Coalesced | Filled,
        about: Mapping[str, Any],
    ) -> None:
        """Make a span of what took so long and has just ended."""
        end = time_ns()
        attributes = {"taskcache.task": event.task, **about}
        if self._keys and event.key is not None:
            attributes["cache.key"] = event.key
        span = self._tracer.start_span(
            name,
            kind=trace.SpanKind.INTERNAL,
            attributes={key: value for key, value in attributes.items() if value != ""},
            links=_links(event),
            start_time=end - int(seconds * 1e9),
        )
        span.end(end)


def _links(event: Lookup | Coalesced | Filled) -> list[trace.Link]:
    """A link to the span in which a hit was computed, if that was traced."""
    found = _TRACEPARENT.fullmatch(event.computed_in) if isinstance(event, Lookup) else None
    if found is None:
        return []
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    trace_id, span_id = (int(text, 16) for text in found.groups())
    return [trace.Link(trace.SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags))]


def _about_hit(event: Lookup | Answered) -> dict[str, Any]:
    about: dict[str, Any] = {
        "taskcache.layer": event.layer,
        "taskcache.age": round(event.age, 3),
        "taskcache.freshness": event.freshness,
        "cache.item_size": event.size,
    }
    if event.similarity is not None:
        about["taskcache.similarity"] = round(event.similarity, 4)
    if event.computed_by is not None:
        about["taskcache.computed_by"] = event.computed_by
    return about


def _mark(event: Answered) -> None:
    """Say on the span of the task's run that nothing has run, if there is such a span."""
    span = trace.get_current_span()
    # Any other span is its caller's, which may make many calls.
    if span.is_recording() and getattr(span, "name", "") == RUN + event.task:
        about = {"cache.hit": True, "taskcache.site": event.site, **_about_hit(event)}
        span.set_attributes(about)
