"""OpenTelemetry with its Celery instrumentation, and an exporter that keeps what it gets."""

import threading
from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from tests.integration.traces.spans import Span
from tta_taskcache.observability.opentelemetry import OpenTelemetryObserver


class _Memory(SpanProcessor):
    """Keeps spans, and knows how many are open."""

    def __init__(self) -> None:
        self.open, self.ended, self.lock = 0, [], threading.Lock()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        with self.lock:
            self.open += 1

    def on_end(self, span: ReadableSpan) -> None:
        with self.lock:
            self.open -= 1
            self.ended.append(span)


class OpenTelemetry:
    def __init__(self) -> None:
        self._memory, self.reader = _Memory(), InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(self._memory)
        trace.set_tracer_provider(provider)
        CeleryInstrumentor().instrument()
        meters = MeterProvider([self.reader])
        self.observer = OpenTelemetryObserver(meter_provider=meters)

        self._keys = 0

    def figures(self) -> dict[str, Any]:
        """Sums of counters, counts of histograms."""
        data = self.reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics
        sums = {
            metric.name: sum(
                getattr(p, "value", getattr(p, "count", 0)) for p in metric.data.data_points
            )
            for metric in metrics
        }
        return sums | {"keys seen": self._keys}

    def request(self) -> Any:
        return trace.get_tracer("web").start_as_current_span("GET /")

    @property
    def is_quiet(self) -> bool:
        return self._memory.open == 0

    def take(self) -> list[Span]:
        ended, self._memory.ended = self._memory.ended, []
        self._keys += sum("cache.key" in span.attributes for span in ended)
        return [
            Span(
                format(span.context.span_id, "x"),
                format(span.parent.span_id, "x") if span.parent else None,
                span.name,
                span.start_time,
                dict(span.attributes),
            )
            for span in ended
        ]
