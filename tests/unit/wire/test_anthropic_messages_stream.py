"""What the events of Anthropic's Messages API become."""

import json
from typing import Any

import pytest

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.errors import (
    MalformedChunkError,
    QuotaError,
    RateLimitedError,
    ServerError,
    TooLargeError,
    TruncatedStreamError,
)
from streamnursery.values.events import (
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.http import HttpHead
from streamnursery.values.opaque import OpaquePart
from streamnursery.wire.anthropic_messages import stream
from streamnursery.wire.anthropic_messages.client import AnthropicMessages
from streamnursery.wire.anthropic_messages.stream import AnthropicMessagesStream
from streamnursery.wire.anthropic_messages.usage import read_usage

START = {"type": "message_start", "message": {"id": "msg_1", "model": "claude-x", "content": []}}
STOP = {"type": "message_stop"}


def sse(*events: Any) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (event["type"].encode(), json.dumps(event).encode())
        for event in events
    )


def begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def over(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ended(reason: str, **fields: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, **fields}


def read(*events: Any) -> tuple[AnthropicMessagesStream, list[StreamEvent]]:
    decoder = AnthropicMessagesStream()
    found = decoder.feed(sse(*events))
    return decoder, found + decoder.end()


def data_of(part: StreamEvent) -> Any:
    assert isinstance(part, OpaquePart)
    return json.loads(bytes(part.data))


def test_text_between_pings() -> None:
    ping = {"type": "ping"}
    text = [begin(0, type="text", text=""), delta(0, "text_delta", text="Hi"), over(0)]
    decoder, events = read(ping, START, ping, *text, ping, ended("end_turn"), STOP)
    assert events == [TextDelta("Hi"), ChoiceFinished(0, "end_turn"), Finished("end_turn", "stop")]
    assert (decoder.response_id, decoder.response_model) == ("msg_1", "claude-x")
    assert decoder.cursor is None


def test_thoughts_are_told_and_their_signature_is_handed_on() -> None:
    _, events = read(
        START,
        begin(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Hm."),
        delta(0, "signature_delta", signature="c2ln"),
        over(0),
        begin(1, type="redacted_thinking", data="xyz"),
        over(1),
        STOP,
    )
    assert events[0] == ReasoningDelta("Hm.")
    assert data_of(events[1]) == {"type": "thinking", "signature": "c2ln"}
    assert data_of(events[2]) == {"type": "redacted_thinking", "data": "xyz"}
    assert events[3] == Finished(None)


def test_only_the_callers_tools_are_calls() -> None:
    _, events = read(
        START,
        begin(0, type="server_tool_use", id="s", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json=""),
        delta(0, "input_json_delta", partial_json='{"query":'),
        delta(0, "input_json_delta", partial_json='"x"}'),
        over(0),
        begin(1, type="tool_use", id="t1", name="look", input={}),
        delta(1, "input_json_delta", partial_json=""),
        delta(1, "input_json_delta", partial_json='{"a":'),
        delta(1, "input_json_delta", partial_json="1}"),
        over(1),
        begin(2, type="tool_use", id="t2", name="now", input={}),
        over(2),
        begin(3, type="tool_use", id="t3", name="at", input={"once": 1}, caller={"type": "code"}),
        over(3),
        ended("tool_use"),
        STOP,
    )
    assert data_of(events[0])["input"] == {"query": "x"}
    assert events[-1] == Finished("tool_use", "tool_calls")
    transcript = Transcript()
    transcript.add(events)
    (choice,) = transcript.choices()
    assert [(c.index, c.id, c.name, c.arguments) for c in choice.tool_calls] == [
        (0, "t1", "look", '{"a":1}'),
        (1, "t2", "now", "{}"),
        (2, "t3", "at", '{"once": 1}'),
    ]
    assert [p.kind for p in choice.tool_calls[2].opaque] == ["caller"]


def test_citations_and_what_is_not_known_are_handed_on() -> None:
    citation = {"type": "char_location", "cited_text": "x"}
    _, events = read(
        START,
        begin(0, type="text", text="Hi ", citations=[]),
        delta(0, "citations_delta", citation=citation),
        delta(0, "applause_delta", loudness=11),
        over(0),
        {"type": "message_mood", "mood": "good"},
        begin(1, type="hologram", content=None),
        delta(1, "hologram_delta", content="xyz"),
        over(1),
        STOP,
    )
    assert events[0] == TextDelta("Hi ")
    assert data_of(events[1]) == citation
    assert data_of(events[2]) == {"type": "hologram", "content": "xyz"}
    assert len(events) == 4


def test_another_model_that_answers_instead_is_named() -> None:
    block = {"type": "fallback", "from": {"model": "claude-x"}, "to": {"model": "claude-y"}}
    decoder, _ = read(START, begin(0, **block), over(0), STOP)
    assert decoder.response_model == "claude-y"


def test_counts_are_cumulative_and_replace_each_other() -> None:
    usage = {"input_tokens": 5, "cache_read_input_tokens": 100, "output_tokens": 1}
    start = {"type": "message_start", "message": {"usage": usage}}
    more = {"output_tokens": 7, "input_tokens": None}
    _, events = read(start, ended("end_turn", usage=more), ended("end_turn", usage=more), STOP)
    reports = [event.usage for event in events if isinstance(event, UsageReport)]
    assert [(u.input_tokens, u.cached_tokens, u.output_tokens) for u in reports] == [
        (105, 100, None),
        (105, 100, 7),
    ]


def test_counts_of_writing_to_the_cache_are_told_by_how_long_it_is_kept() -> None:
    usage = read_usage({
        "input_tokens": 1,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": "many",
    })
    assert usage is not None
    assert (usage.input_tokens, usage.cache_write_tokens, usage.cache_write_hour_tokens) == (
        31,
        30,
        20,
    )
    assert usage.refused == {"output_tokens"}
    assert read_usage({"service_tier": "standard"}) is None


def test_the_tokens_of_a_compaction_are_added() -> None:
    entry = {"input_tokens": 3, "cache_read_input_tokens": 50, "output_tokens": 9}
    usage = read_usage({
        "input_tokens": 10,
        "output_tokens": 1,
        "iterations": [{"type": "compaction", **entry}, {"type": "advisor_message", **entry}, 5],
    })
    assert usage is not None
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens) == (63, 50, 10)


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "paused"),
        ("refusal", "refusal"),
        ("boredom", "other"),
    ],
)
def test_the_end_has_a_kind_and_keeps_the_providers_word(reason: str, kind: str) -> None:
    assert read(START, ended(reason), STOP)[1][-1] == Finished(reason, kind)  # type: ignore[arg-type]


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    end = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}}
    _, events = read(START, end, STOP)
    assert data_of(events[0]) == details


@pytest.mark.parametrize(
    "events",
    [
        (START,),
        (START, ended("end_turn")),
        (START, begin(0, type="text", text="Hi"), over(0), ended("end_turn")),
        (STOP,),
    ],
)
def test_without_message_stop_behind_a_start_it_is_not_whole(events: tuple[Any, ...]) -> None:
    decoder, found = read(*events)
    assert type(decoder.failure) is TruncatedStreamError
    assert not any(isinstance(event, Finished) for event in found)


def test_an_answer_spliced_into_another_fails_there() -> None:
    decoder, events = read(START, begin(0, type="text", text="One"), START, STOP)
    assert type(decoder.failure) is MalformedChunkError
    assert "spliced" in str(decoder.failure)
    assert (events, decoder.response_id) == ([TextDelta("One")], "msg_1")


def test_a_block_that_did_not_end_is_no_whole_answer() -> None:
    decoder, events = read(START, begin(0, type="text", text="One"), ended("end_turn"), STOP)
    assert type(decoder.failure) is MalformedChunkError
    assert events == [TextDelta("One")]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", ServerError),
        ("api_error", ServerError),
        ("timeout_error", ServerError),
        ("rate_limit_error", RateLimitedError),
        ("billing_error", QuotaError),
    ],
)
def test_an_error_inside_the_stream_is_classed_by_its_type(
    kind: str, expected: type[Exception]
) -> None:
    error = {"type": "error", "error": {"type": kind, "message": "Told."}, "request_id": "req_1"}
    decoder, events = read(START, begin(0, type="text", text="One"), error, STOP)
    assert type(decoder.failure) is expected
    assert decoder.failure.request_id == "req_1"
    assert events == [TextDelta("One")]


@pytest.mark.parametrize("data", ["[1]", "{", "nonsense", '"text"'])
def test_an_event_that_is_no_object_breaks_the_answer(data: str) -> None:
    decoder = AnthropicMessagesStream()
    decoder.feed(sse(START) + f"event: content_block_delta\ndata: {data}\n\n".encode())
    assert type(decoder.failure) is MalformedChunkError


def test_a_ping_may_hold_anything_and_an_error_nothing() -> None:
    decoder = AnthropicMessagesStream()
    decoder.feed(sse(START) + b"event: ping\ndata: pong\n\n")
    assert not decoder.failure
    decoder.feed(b"event: error\ndata: Overloaded\n\n")
    assert type(decoder.failure) is ServerError


def test_bytes_that_are_no_utf8_are_read_as_replacements() -> None:
    decoder = AnthropicMessagesStream()
    bad = sse(delta(0, "text_delta", text="a?b")).replace(b"?", b"\xe2\x82")
    events = decoder.feed(sse(START, begin(0, type="text")) + bad)
    assert events == [TextDelta("a\ufffdb")]


def test_a_message_that_is_not_streamed_is_whole() -> None:
    message = {
        "type": "message",
        "id": "msg_2",
        "content": [
            {"type": "text", "text": "Hi"},
            {"type": "tool_use", "id": "t", "name": "look", "input": {"a": 1}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 4},
    }
    decoder = AnthropicMessagesStream()
    events = decoder.feed(json.dumps(message).encode()) + decoder.end()
    assert decoder.done
    assert [type(event) for event in events] == [
        UsageReport,
        TextDelta,
        ToolCallDelta,
        ToolCallDelta,
        ChoiceFinished,
        Finished,
    ]


def test_its_bounds() -> None:
    blocks = [e for i in range(4) for e in (begin(i, type="tool_use", id="t", name="n"), over(i))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "MAX_TOOL_CALLS", 3)
        assert type(read(START, *blocks)[0].failure) is TooLargeError
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "MAX_BLOCKS", 3)
        assert type(read(START, *blocks)[0].failure) is TooLargeError
    pieces = [delta(0, "input_json_delta", partial_json="x" * 50)] * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stream, "MAX_EVENT", 120)
        opened = begin(0, type="server_tool_use", id="s", name="x")
        decoder = AnthropicMessagesStream()
        decoder.feed(sse(START, opened, pieces[0], pieces[1]))
        assert decoder.buffered == 100
        decoder.feed(sse(pieces[2]))
        assert type(decoder.failure) is TooLargeError


@pytest.mark.parametrize(
    ("status", "kind", "details", "expected", "retryable"),
    [
        (429, "rate_limit_error", None, RateLimitedError, True),
        (429, "rate_limit_error", "enforced_spend_limit_reached", QuotaError, False),
        (429, "rate_limit_error", "contract_spend_limit_reached", QuotaError, False),
        (429, "rate_limit_error", "linked_organization_spend_limit_reached", QuotaError, False),
        (429, "rate_limit_error", "ramp_limit_exceeded", RateLimitedError, True),
        (402, "billing_error", None, QuotaError, False),
        (529, "overloaded_error", None, ServerError, True),
        (504, "timeout_error", None, ServerError, True),
    ],
)
def test_spent_limits_are_never_retried(
    status: int, kind: str, details: str | None, expected: type[Exception], retryable: bool
) -> None:
    error: dict[str, Any] = {"type": kind, "message": "Told."}
    if details is not None:
        error["details"] = {"error_code": details}
    body = json.dumps({"type": "error", "error": error, "request_id": "req_9"}).encode()
    head = HttpHead(status, (("content-type", "application/json"), ("x-should-retry", "true")))
    found = AnthropicMessages().error_from_answer(head, body, now=0.0)
    assert type(found) is expected
    assert found.retryable is retryable
    assert found.request_id == "req_9"
