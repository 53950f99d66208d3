"""Spans and metrics of an engine, kept in memory, and a tree of them as text."""

from collections.abc import Iterator
from typing import Any

import attrs
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from streamnursery import telemetry
from streamnursery.telemetry import Otel

GUARD = 30.0
"""Seconds of real time for the thread that makes spans; a slow machine is no failure."""


@attrs.define
class Traces:
    """A tracer and a meter provider of the test's own."""

    spans: InMemorySpanExporter = attrs.field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = attrs.field(factory=InMemoryMetricReader)
    tracer_provider: TracerProvider = attrs.field(init=False)
    meter_provider: MeterProvider = attrs.field(init=False)
    otel: Otel | None = None

    def __attrs_post_init__(self) -> None:
        self.tracer_provider = TracerProvider(shutdown_on_exit=False)
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meter_provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def watch(self, engine: Any, **options: Any) -> Otel:
        self.otel = telemetry.otel(
            engine,
            tracer_provider=self.tracer_provider,
            meter_provider=self.meter_provider,
            **options,
        )
        return self.otel

    def finished(self) -> tuple[ReadableSpan, ...]:
        """All spans, in the order of their starts; an attempt behind its request."""
        assert self.otel is not None
        assert self.otel.flush(GUARD)
        found = self.spans.get_finished_spans()
        return tuple(
            sorted(found, key=lambda span: (span.start_time or 0, span.parent is not None))
        )

    def requests(self) -> tuple[ReadableSpan, ...]:
        """The spans of requests."""
        return tuple(s for s in self.finished() if "streamnursery.request" in attributes(s))

    def tree(self) -> str:
        """Each span on a line below its parent: its name, kind or outcome, state, error, times."""
        spans = self.finished()
        known = {span.context.span_id for span in spans}
        tops = [s for s in spans if s.parent is None or s.parent.span_id not in known]
        return "\n".join(line for top in tops for line in self._lines(top, spans, ""))

    def _lines(self, span: ReadableSpan, all_: Any, indent: str) -> Iterator[str]:
        yield indent + _line(span)
        for other in all_:
            if other.parent is not None and other.parent.span_id == span.context.span_id:
                yield from self._lines(other, all_, indent + "  ")

    def metrics(self) -> dict[str, list[Any]]:
        """Data points by metric."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def _line(span: ReadableSpan) -> str:
    found = attributes(span)
    words = [span.name]
    shown = ("attempt.kind", "attempt.state", "outcome")
    words.extend(str(found.get(f"streamnursery.{name}", "")) for name in shown)
    words.append(str(found.get("error.type", "")))
    assert span.start_time is not None
    assert span.end_time is not None
    seconds = (span.end_time - span.start_time) / 1e9
    events = ",".join(event.name for event in span.events)
    return " ".join(filter(None, [*words, f"{seconds:.1f}s", f"({events})" if events else ""]))
