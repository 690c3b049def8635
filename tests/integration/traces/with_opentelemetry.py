"""OpenTelemetry with its Celery instrumentation, and a processor that records what it gets."""

from typing import Any

from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from tests.integration.traces.spans import Recording, Span
from tta_taskcache.observability.opentelemetry import OpenTelemetryObserver


class _Recorder(SpanProcessor):
    def __init__(self, recording: Recording) -> None:
        self._recording = recording

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self._recording.open(1)

    def on_end(self, span: ReadableSpan) -> None:
        assert span.context is not None
        assert span.start_time is not None
        self._recording.span(
            Span(
                format(span.context.span_id, "016x"),
                format(span.parent.span_id, "016x") if span.parent else None,
                span.name,
                span.start_time,
                dict(span.attributes or {}),
                links=[format(link.context.span_id, "016x") for link in span.links],
            )
        )
        self._recording.open(-1)


class OpenTelemetry:
    def __init__(self, recording: Recording) -> None:
        self._reader = InMemoryMetricReader()
        provider = TracerProvider()
        provider.add_span_processor(_Recorder(recording))
        trace.set_tracer_provider(provider)
        CeleryInstrumentor().instrument()
        self.observer = OpenTelemetryObserver(meter_provider=MeterProvider([self._reader]))

    def figures(self) -> dict[str, Any]:
        """Sums of counters, counts of histograms."""
        data = self._reader.get_metrics_data()
        metrics = data.resource_metrics[0].scope_metrics[0].metrics if data else ()
        return {
            metric.name: sum(
                getattr(p, "value", getattr(p, "count", 0)) for p in metric.data.data_points
            )
            for metric in metrics
        }

    def request(self) -> Any:
        return trace.get_tracer("web").start_as_current_span("GET /")
