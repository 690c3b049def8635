"""Sentry with its Celery integration, and a transport that keeps what it gets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

from tests.integration.traces.spans import Span
from tta_taskcache.observability.sentry import SentryObserver


class _Kept(Transport):
    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.transactions: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        for item in envelope.items:
            if item.type == "transaction":
                self.transactions.append(item.payload.json)


class Sentry:
    def __init__(self, **options: Any) -> None:
        self._kept = _Kept()
        sentry_sdk.init(
            dsn="http://key@127.0.0.1:1/1",
            transport=self._kept,
            traces_sample_rate=1.0,
            default_integrations=False,
            auto_enabling_integrations=False,
            integrations=[CeleryIntegration()],
            **options,
        )
        self.observer = SentryObserver()
        self._keys: set[str] = set()

    def figures(self) -> dict[str, Any]:
        """The keys that were shown."""
        return {"keys": sorted(self._keys)}

    @contextmanager
    def request(self) -> Iterator[None]:
        # Each is a trace of its own, as Sentry's integrations of web frameworks make it.
        with sentry_sdk.isolation_scope():
            transaction = sentry_sdk.continue_trace({}, op="http.server", name="GET /")
            with sentry_sdk.start_transaction(transaction):
                yield

    @property
    def is_quiet(self) -> bool:
        return True  # a transaction is seen when it has ended

    def take(self) -> list[Span]:
        kept, self._kept.transactions = self._kept.transactions, []
        spans = [span for event in kept for span in _spans(event)]
        self._keys |= {key for span in spans for key in span.attributes.get("cache.key", ())}
        return spans


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
