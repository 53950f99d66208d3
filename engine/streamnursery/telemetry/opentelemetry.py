"""Spans and metrics by the API of OpenTelemetry; the SDK and its exporters are the user's."""

import trio
from opentelemetry import context as otel_context
from opentelemetry import metrics, trace

from streamnursery._version import __version__
from streamnursery.facade import Engine
from streamnursery.telemetry import names
from streamnursery.telemetry.answer_facts import facts_of
from streamnursery.telemetry.backlog import Backlog
from streamnursery.telemetry.engines import AnyEngine, call
from streamnursery.telemetry.measures import Measures
from streamnursery.telemetry.spans import SpanMaker
from streamnursery.telemetry.trail import Trail
from streamnursery.values.errors import RequestError
from streamnursery.values.http import Header
from streamnursery.values.lifecycle import LifecycleRecord, SessionRecord, StreamStarted

_SCOPE = "streamnursery"


def otel(
    eng: AnyEngine,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    content: bool = False,
    max_content: int = 8192,
    openinference: bool = False,
    in_thread: bool = True,
) -> "Otel":
    """Report the requests of `eng` from now on: a span for each, one below it for each attempt,
    and the metrics of the GenAI conventions. The providers are the global ones by default.

    A span's parent is the context of the caller at `stream()`. Names are those of semantic
    conventions 1.36.0; with `gen_ai_latest_experimental` in OTEL_SEMCONV_STABILITY_OPT_IN those
    of November 2026. `openinference` adds the attributes of OpenInference. `content` adds prompts
    and answers: at most `max_content` characters of each, without the engine's keys.

    Spans are made in a separate thread: an exporter that is slow, down or raises holds up no
    stream. `in_thread=False` makes them in the engine's own, for tests in a `World`. Endpoints
    with `propagate = true` are sent the `traceparent` of each attempt.

    Raises:
        RequestError: `eng` is not an engine, or `max_content` no whole number >= 1.
        EngineClosedError: it has ended.
    """
    if not isinstance(max_content, int) or isinstance(max_content, bool) or max_content < 1:
        msg = f"max_content must be a whole number >= 1, not {max_content!r}"
        raise RequestError(msg)
    edition = names.edition()
    tracer = trace.get_tracer(_SCOPE, __version__, tracer_provider)
    meter = metrics.get_meter(_SCOPE, __version__, meter_provider)
    maker = SpanMaker(tracer, edition, openinference)
    return call(
        eng,
        lambda engine: Otel(
            engine,
            maker,
            Measures(meter, edition),
            content=max_content if content else None,
            in_thread=in_thread,
        ),
    )


def current_trace_id() -> str | None:
    """The id of the caller's trace in hexadecimal digits, for `log_observer(trace_id=...)`."""
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else None


class Otel:
    """What `otel` has begun. It ends with its engine, or with `close`."""

    def __init__(
        self,
        engine: Engine,
        maker: SpanMaker,
        measures: Measures,
        *,
        content: int | None,
        in_thread: bool,
    ) -> None:
        self._engine = engine
        self._maker = maker
        self._measures = measures
        self._content = content
        self._trails: dict[int, Trail] = {}
        self._backlog: Backlog[Trail] = Backlog(self._export, in_thread=in_thread)
        engine._observers.add(self._observe)
        engine._supervisor.trace_headers = self._trace_headers

    @property
    def dropped(self) -> int:
        """Requests without spans and metrics: the exporter was too slow, or it raised."""
        return self._backlog.dropped + self._backlog.failed

    def flush(self, timeout: float = 5.0) -> bool:
        """Wait until the spans of all requests that are over have been made; whether they have,
        after `timeout` seconds. It blocks its thread: call it when the engine's block has been
        left, before the provider's own `force_flush`."""
        return self._backlog.flush(timeout)

    def close(self) -> None:
        """Report no request that begins from now on."""
        self._engine._observers.remove(self._observe)

    def _observe(self, record: LifecycleRecord) -> None:
        if type(record) is StreamStarted:
            engine = self._engine
            self._trails[record.request] = Trail(
                record,
                engine._dispatcher.find(record.request),
                otel_context.get_current(),
                engine._outside.wall() - trio.current_time(),
            )
            return
        if isinstance(record, SessionRecord):  # whose numbers are those of sessions
            return
        trail = self._trails.get(record.request)
        if trail is None or not trail.add(record):
            return
        del self._trails[record.request]
        if trail.delivery is not None:
            trail.facts = facts_of(self._engine, trail.delivery, self._content)
            trail.delivery = None
        self._backlog.put(trail)

    def _trace_headers(self, request: int, attempt: int, route: str) -> tuple[Header, ...]:
        trail = self._trails.get(request)
        if trail is None:
            return ()
        begun = trail.attempt(attempt, route, trio.current_time())
        return self._maker.headers(trail, begun)

    def _export(self, trail: Trail) -> None:
        try:
            self._maker.make(trail)
        finally:
            self._measures.record(trail)
