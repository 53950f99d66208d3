"""The conventions' metrics, recorded once for each request when it is over."""

from typing import Any

from opentelemetry.metrics import Counter, Histogram, Meter

from streamnursery.telemetry import names
from streamnursery.telemetry.answer_facts import Facts
from streamnursery.telemetry.labels import LabelNames
from streamnursery.telemetry.spans import provider
from streamnursery.telemetry.trail import Trail
from streamnursery.values.usage import Usage


class Measures:
    """The instruments of one engine."""

    def __init__(self, meter: Meter, edition: names.Edition) -> None:
        self._edition = edition
        self._models, self._answered = LabelNames(), LabelNames()
        self._duration = meter.create_histogram(
            edition.duration, "s", explicit_bucket_boundaries_advisory=names.SECONDS
        )
        self._first_chunk = meter.create_histogram(
            edition.first_chunk, "s", explicit_bucket_boundaries_advisory=names.FIRST_CHUNK_SECONDS
        )
        self._tokens: Histogram | None = None
        self._input: Histogram | None = None
        self._output: Histogram | None = None
        self._counters: dict[str, Counter] = {}
        self._cost = meter.create_counter(names.COST, "{USD}")
        if edition.tokens is not None:
            self._tokens = _tokens(meter, edition.tokens)
        else:
            self._input = _tokens(meter, edition.input_tokens)
            self._output = _tokens(meter, edition.output_tokens)
            self._counters = {
                name: meter.create_counter(edition.usage + name, "{token}") for name in _COUNTED
            }

    def record(self, trail: Trail) -> None:
        assert trail.ended is not None
        ended, facts = trail.ended, trail.facts
        assert isinstance(facts, Facts)
        who: dict[str, Any] = {
            names.OPERATION: facts.operation,
            self._edition.provider: provider(facts, self._edition) or "_OTHER",
            names.REQUEST_MODEL: self._models.of(trail.started.model),
        }
        if facts.host is not None:
            who |= {names.SERVER_ADDRESS: facts.host, names.SERVER_PORT: facts.port}
        if facts.response_model is not None:
            who[names.RESPONSE_MODEL] = self._answered.of(facts.response_model)
        if ended.ttft is not None:
            self._first_chunk.record(ended.ttft, who)
        self._record_tokens(facts.usage, who)
        if ended.cost_usd is not None:
            self._cost.add(ended.cost_usd, who)
        category = ended.category if ended.outcome != "complete" else None
        over = who if category is None else {**who, names.ERROR_TYPE: category}
        self._duration.record(ended.seconds, over)

    def _record_tokens(self, usage: Usage, who: dict[str, Any]) -> None:
        both = (("input", usage.input_tokens), ("output", usage.output_tokens))
        if self._tokens is not None:
            for kind, tokens in both:
                if tokens is not None:
                    self._tokens.record(tokens, {**who, names.TOKEN_TYPE: kind})
            return
        for histogram, (_, tokens) in zip((self._input, self._output), both, strict=True):
            if histogram is not None and tokens is not None:
                histogram.record(tokens, who)
        for name, counter in self._counters.items():
            tokens = getattr(usage, _COUNTED[name])
            # An inference without a report counts as nothing, of a modality that is not known.
            modality = "unknown" if tokens is None else "text"
            counter.add(tokens or 0, {**who, names.MODALITY: modality})


_COUNTED = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read.input_tokens": "cached_tokens",
    "cache_write.input_tokens": "cache_write_tokens",
    "reasoning.output_tokens": "reasoning_tokens",
}
"""Counters, and the fields of `Usage` that they count."""


def _tokens(meter: Meter, name: str) -> Histogram:
    return meter.create_histogram(name, "{token}", explicit_bucket_boundaries_advisory=names.TOKENS)
