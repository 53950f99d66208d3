"""Spans of one request: itself, and one below it for each attempt.

They are made when the request is over, with the times at which things happened. Where an endpoint
is sent `traceparent`, the ids are needed before: those spans begin with the attempt.
"""

import json
from typing import Any

import attrs
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from streamnursery.telemetry import names
from streamnursery.telemetry.answer_facts import Facts
from streamnursery.telemetry.trail import AttemptTrail, Trail
from streamnursery.values.errors import AttemptRecord
from streamnursery.values.http import Header

_W3C = TraceContextTextMapPropagator()


@attrs.frozen
class SpanMaker:
    """Makes the spans of requests."""

    tracer: Tracer
    edition: names.Edition
    openinference: bool

    def make(self, trail: Trail) -> None:
        """All spans of a request that is over."""
        assert trail.ended is not None
        root = self._root(trail)
        for attempt in trail.attempts.values():
            self._end_attempt(trail, attempt)
        for at, name, what in trail.events:
            root.add_event(name, dict(what), _nanoseconds(trail, at))
        root.set_attributes(self._attributes(trail))
        if trail.ended.outcome == "failed":
            root.set_status(Status(StatusCode.ERROR))
        root.end(_nanoseconds(trail, trail.ended.at))

    def headers(self, trail: Trail, attempt: AttemptTrail) -> tuple[Header, ...]:
        """`traceparent`, and `tracestate` where there is one, for an attempt that begins."""
        if attempt.span is None:
            attempt.span = self._attempt(trail, attempt)
        carrier: dict[str, str] = {}
        _W3C.inject(carrier, set_span_in_context(attempt.span))
        return tuple(carrier.items())

    def _root(self, trail: Trail) -> Span:
        if trail.span is None:
            facts: Facts | None = trail.facts
            operation = facts.operation if facts is not None else "chat"
            model = trail.started.model
            trail.span = self.tracer.start_span(
                f"{operation} {model}",
                trail.context,
                SpanKind.CLIENT,
                {names.OPERATION: operation, names.REQUEST_MODEL: model},
                start_time=_nanoseconds(trail, trail.started.at),
            )
        span: Span = trail.span
        return span

    def _attempt(self, trail: Trail, attempt: AttemptTrail) -> Span:
        return self.tracer.start_span(
            f"attempt {attempt.route}",
            set_span_in_context(self._root(trail), trail.context),
            SpanKind.CLIENT,
            start_time=_nanoseconds(trail, attempt.started_at),
        )

    def _end_attempt(self, trail: Trail, attempt: AttemptTrail) -> None:
        span = attempt.span or self._attempt(trail, attempt)
        record = attempt.record
        what: dict[str, Any] = {
            "streamnursery.attempt.number": attempt.number,
            "streamnursery.attempt.kind": attempt.kind,
            "streamnursery.route": attempt.route,
        }
        if record is None:
            span.set_attributes(what)
            span.end(_nanoseconds(trail, trail.ended.at if trail.ended else attempt.started_at))
            return
        span.set_attributes(what | _of_record(record))
        if record.error is not None:
            span.set_status(Status(StatusCode.ERROR))
        span.end(_nanoseconds(trail, record.ended_at))

    def _attributes(self, trail: Trail) -> dict[str, Any]:
        assert trail.ended is not None
        ended, edition = trail.ended, self.edition
        what: dict[str, Any] = {
            "streamnursery.request": ended.request,
            "streamnursery.outcome": ended.outcome,
            "streamnursery.attempts": ended.attempts,
            "streamnursery.queue_time": trail.queued,
            "streamnursery.tenant": trail.started.tenant or None,
            "streamnursery.events_dropped": trail.events_dropped or None,
            names.ERROR_TYPE: ended.category if ended.outcome == "failed" else None,
            names.FIRST_CHUNK: ended.ttft,
            "streamnursery.cost_usd": ended.cost_usd,
        }
        facts: Facts | None = trail.facts
        if facts is not None:
            usage = facts.usage
            what |= dict(facts.request) | {
                names.OPERATION: facts.operation,
                edition.provider: provider(facts, edition),
                names.SERVER_ADDRESS: facts.host,
                names.SERVER_PORT: facts.port,
                names.RESPONSE_MODEL: facts.response_model,
                names.RESPONSE_ID: facts.response_id,
                names.FINISH_REASONS: facts.finish_reasons or None,
                names.INPUT_TOKENS: usage.input_tokens,
                names.OUTPUT_TOKENS: usage.output_tokens,
                names.CACHE_READ: usage.cached_tokens,
                edition.cache_write: usage.cache_write_tokens,
                names.REASONING_TOKENS: usage.reasoning_tokens,
                "streamnursery.usage.estimated": usage.estimated or None,
                names.INPUT_MESSAGES: facts.prompt,
                names.OUTPUT_MESSAGES: facts.answer,
            }
            if self.openinference:
                what |= _openinference(facts, edition) | {"llm.cost.total": ended.cost_usd}
        return {name: value for name, value in what.items() if value is not None}


def provider(facts: Facts, edition: names.Edition) -> str | None:
    """Who answered."""
    if facts.endpoint is None:
        return None
    return names.provider_name(facts.host or "", facts.endpoint, edition)


def _of_record(record: AttemptRecord) -> dict[str, Any]:
    error = record.error
    what = {
        "streamnursery.attempt.state": record.state.value,
        "streamnursery.attempt.requests": record.requests,
        "streamnursery.attempt.connections": record.connections,
        "streamnursery.request_id": record.request_id,
        names.STATUS_CODE: record.status,
        names.ERROR_TYPE: error.category if error is not None else None,
    }
    return {name: value for name, value in what.items() if value is not None}


def _openinference(facts: Facts, edition: names.Edition) -> dict[str, Any]:
    """Attributes of Arize's OpenInference, which Phoenix reads."""
    usage, total = facts.usage, facts.usage.total_tokens
    return {
        "openinference.span.kind": "LLM",
        "llm.model_name": facts.response_model or facts.model,
        "llm.provider": provider(facts, edition),
        "llm.invocation_parameters": json.dumps({
            name.rpartition(".")[2]: value for name, value in facts.request.items()
        }),
        "llm.token_count.prompt": usage.input_tokens,
        "llm.token_count.completion": usage.output_tokens,
        "llm.token_count.total": total,
        "llm.token_count.prompt_details.cache_read": usage.cached_tokens,
        "llm.token_count.prompt_details.cache_write": usage.cache_write_tokens,
        "llm.token_count.completion_details.reasoning": usage.reasoning_tokens,
        "llm.finish_reason": facts.finish_reasons[0] if facts.finish_reasons else None,
        "input.value": facts.prompt,
        "output.value": facts.answer,
    }


def _nanoseconds(trail: Trail, at: float) -> int:
    return int((at + trail.wall_offset) * 1e9)
