"""Sentry with its Celery integration, and a transport that records what it gets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk import traces
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

from tests.integration.traces.spans import Recording, Span
from tta_taskcache.observability.sentry import SentryObserver


class _Recorder(Transport):
    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording

    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            if item.type == "transaction":
                for span in _spans(item.payload.json):
                    self._recording.span(span)


class Sentry:
    """Spans that are sent with their transaction."""

    def __init__(self, recording: Recording, **options: Any) -> None:
        sentry_sdk.init(
            dsn="http://key@127.0.0.1:1/1",
            transport=_Recorder(recording),
            traces_sample_rate=1.0,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[CeleryIntegration()],
            **options,
        )
        self.observer = SentryObserver()

    def figures(self) -> dict[str, Any]:
        return {}

    @contextmanager
    def request(self) -> Iterator[None]:
        # Each is a trace of its own, as Sentry's integrations of web frameworks make it.
        with sentry_sdk.isolation_scope():
            transaction = sentry_sdk.continue_trace({}, op="http.server", name="GET /")
            with sentry_sdk.start_transaction(transaction):
                yield


class StreamingSentry(Sentry):
    """Spans that are sent one by one."""

    def __init__(self, recording: Recording) -> None:
        def record(span: Any, _: Any) -> Any:
            recording.span(_streamed(span))
            return span

        super().__init__(recording, trace_lifecycle="stream", before_send_span=record)

    @contextmanager
    def request(self) -> Iterator[None]:
        with sentry_sdk.isolation_scope():
            traces.continue_trace({})
            with traces.start_span("GET /", {"sentry.op": "http.server"}, parent_span=None):
                yield


def _spans(event: Any) -> Iterator[Span]:
    about = event["contexts"]["trace"]
    hit = {"cache.hit": True} if (event.get("tags") or {}).get("cache.hit") else {}
    name = f"{about['op']} {event['transaction']}"
    parent = about.get("parent_span_id")
    yield Span(about["span_id"], parent, name, event["start_timestamp"], hit, is_transaction=True)
    for span in event["spans"]:
        op = span["op"]
        name = op if op.startswith("cache.") else f"{op} {span['description']}"
        yield Span(
            span["span_id"], span["parent_span_id"], name, span["start_timestamp"], span["data"]
        )


def _streamed(span: Any) -> Span:
    about = span["attributes"]
    op = about["sentry.op"]
    return Span(
        span["span_id"],
        span.get("parent_span_id"),
        op if op.startswith("cache.") else f"{op} {span['name']}",
        span["start_timestamp"],
        about,
        is_transaction=span["is_segment"],
    )
