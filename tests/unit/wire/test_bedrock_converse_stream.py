"""What the messages of a ConverseStream become."""

import json
from typing import Any

import pytest

from streamnursery.values.errors import (
    ContextTooLongError,
    MalformedChunkError,
    RateLimitedError,
    ServerError,
    TooLargeError,
    TruncatedStreamError,
    UnexpectedContentError,
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
from streamnursery.values.opaque import OpaquePart
from streamnursery.wire.bedrock_converse import stream
from streamnursery.wire.bedrock_converse.stream import BedrockStream
from streamnursery.wire.bedrock_converse.usage import read_usage
from tests.unit.wire.test_aws_frames import message, text

USAGE = {
    "inputTokens": 5,
    "outputTokens": 7,
    "cacheReadInputTokens": 3,
    "cacheWriteInputTokens": 2,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 1}, {"ttl": "5m", "inputTokens": 1}],
}


def event(kind: str, **fields: Any) -> bytes:
    headers = text(":event-type", kind) + text(":message-type", "event")
    return message(json.dumps({**fields, "p": "abc"}).encode(), headers)


def delta(place: int, **fields: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=place, delta=fields)


def stopped(place: int) -> bytes:
    return event("contentBlockStop", contentBlockIndex=place)


def exception(kind: str, **fields: Any) -> bytes:
    headers = text(":exception-type", kind) + text(":message-type", "exception")
    return message(json.dumps(fields).encode(), headers)


WHOLE = (
    event("messageStart", role="assistant"),
    delta(0, reasoningContent={"text": "Hm. "}),
    delta(0, reasoningContent={"text": "So."}),
    delta(0, reasoningContent={"signature": "s="}),
    stopped(0),
    delta(1, text="Hel"),
    delta(1, text="lo"),
    delta(1, citation={"title": "t"}),
    stopped(1),
    event(
        "contentBlockStart",
        contentBlockIndex=2,
        start={"toolUse": {"toolUseId": "c1", "name": "look"}},
    ),
    delta(2, toolUse={"input": '{"at":'}),
    delta(2, toolUse={"input": '"x"}'}),
    stopped(2),
    event("messageStop", stopReason="tool_use"),
    event("metadata", usage=USAGE),
)


def read(*messages: bytes, delimited: bool = True) -> tuple[BedrockStream, list[StreamEvent]]:
    decoder = BedrockStream()
    found = decoder.feed(b"".join(messages))
    return decoder, found + decoder.end(delimited=delimited)


def plain(events: list[StreamEvent]) -> list[Any]:
    return [
        (one.kind, json.loads(bytes(one.data))) if isinstance(one, OpaquePart) else one
        for one in events
        if not isinstance(one, UsageReport)
    ]


def test_a_whole_answer() -> None:
    decoder, events = read(*WHOLE)
    assert decoder.failure is None
    told = {"reasoningText": {"text": "Hm. So.", "signature": "s="}}
    assert plain(events) == [
        ReasoningDelta("Hm. "),
        ReasoningDelta("So."),
        ("reasoningContent", {"reasoningContent": told}),
        TextDelta("Hel"),
        TextDelta("lo"),
        ("citation", {"title": "t"}),
        ToolCallDelta(0, "c1", "look"),
        ToolCallDelta(0, arguments='{"at":'),
        ToolCallDelta(0, arguments='"x"}'),
        ChoiceFinished(0, "tool_use"),
        Finished("tool_use", "tool_calls"),
    ]
    (usage,) = [one.usage for one in events if isinstance(one, UsageReport)]
    assert (usage.input_tokens, usage.output_tokens) == (10, 7)
    assert (usage.cached_tokens, usage.cache_write_tokens) == (3, 2)
    assert usage.cache_write_hour_tokens == 1
    assert read_usage({"metrics": 1}) is None
    assert read_usage({"inputTokens": -1}).refused == {"input_tokens"}  # type: ignore[union-attr]


@pytest.mark.parametrize("count", range(len(WHOLE)))
def test_what_is_cut_at_a_message_is_whole_only_behind_the_stop_and_at_a_clean_end(
    count: int,
) -> None:
    decoder, events = read(*WHOLE[:count])
    whole = count == len(WHOLE) - 1
    assert any(isinstance(one, Finished) for one in events) is whole
    assert isinstance(decoder.failure, TruncatedStreamError) is not whole
    decoder, _ = read(*WHOLE[:count], delimited=False)
    assert isinstance(decoder.failure, TruncatedStreamError)
    decoder, _ = read(*WHOLE[:count], WHOLE[count][:-1])
    assert isinstance(decoder.failure, TruncatedStreamError)


@pytest.mark.parametrize(
    ("last", "error", "says"),
    [
        (exception("throttlingException", message="slow"), RateLimitedError, "slow"),
        (exception("serviceUnavailableException", message="busy"), ServerError, "busy"),
        (exception("internalServerException"), ServerError, ""),
        (
            exception(
                "modelStreamErrorException", originalStatusCode=429, originalMessage="too fast"
            ),
            RateLimitedError,
            "too fast",
        ),
        (
            exception("validationException", message="Input is too long for requested model."),
            ContextTooLongError,
            "too long",
        ),
        (
            message(
                b"",
                text(":message-type", "error")
                + text(":error-code", "InternalError")
                + text(":error-message", "broke"),
            ),
            ServerError,
            "broke",
        ),
        (event("messageStop", stopReason="malformed_tool_use"), ServerError, "malformed_tool_use"),
        (message(b"[1]", text(":event-type", "metadata")), MalformedChunkError, "no JSON object"),
        (b"\0\0\0\x10" + bytes(12), MalformedChunkError, "checksum"),
    ],
)
def test_an_end_that_is_a_failure(last: bytes, error: type[Exception], says: str) -> None:
    decoder, events = read(*WHOLE[:7], last, *WHOLE[-2:])
    assert isinstance(decoder.failure, error)
    assert says in str(decoder.failure)
    assert TextDelta("lo") in events
    assert not any(isinstance(one, Finished) for one in events)
    assert decoder.feed(WHOLE[0]) == []


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("guardrail_intervened", "filtered"),
        ("something_new", "other"),
    ],
)
def test_how_it_ended(reason: str, kind: str) -> None:
    _, events = read(delta(0, text="Hi"), event("messageStop", stopReason=reason))
    assert events[-1] == Finished(reason, kind)  # type: ignore[arg-type]


def test_what_has_no_type_here_is_handed_on() -> None:
    own = {"toolUse": {"toolUseId": "s", "name": "web", "type": "server_tool_use"}}
    redacted = {"redactedContent": "QUJD"}
    _, events = read(
        event("contentBlockStart", contentBlockIndex=0, start=own),
        delta(0, toolUse={"input": "{}"}),
        delta(1, image={"source": {"bytes": "QUJD"}}),
        delta(2, reasoningContent=redacted),
        delta(3, hologram=5),
        *WHOLE[-2:],
    )
    assert plain(events)[:-2] == [
        ("toolUse", own),
        ("toolUse", {"toolUse": {"input": "{}"}}),
        ("image", {"source": {"bytes": "QUJD"}}),
        ("reasoningContent", {"reasoningContent": redacted}),
        ("hologram", 5),
    ]


def test_messages_that_make_no_sense_harm_nothing() -> None:
    _, events = read(
        event("contentBlockStart", contentBlockIndex=True, start={}),
        event("contentBlockStart", contentBlockIndex=0, start=[]),
        event("contentBlockDelta", contentBlockIndex=0, delta="x"),
        delta(0),
        delta(9, toolUse={"input": "{}"}),
        stopped(77),
        event("newThing", a=1),
        event("messageStop"),
        event("metadata", usage="none"),
        delta(0, text="Hi"),
        event("messageStop", stopReason="end_turn"),
        event("messageStop", stopReason="max_tokens"),
        event("metadata"),
    )
    assert plain(events) == [
        TextDelta("Hi"),
        ChoiceFinished(0, "end_turn"),
        Finished("end_turn", "stop"),
    ]


def test_an_answer_that_is_not_streamed_is_taken_as_a_whole() -> None:
    thought = {"reasoningText": {"text": "Hm.", "signature": "s"}}
    content = [
        {"reasoningContent": thought},
        {"text": "So."},
        {"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}},
    ]
    body = {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "tool_use",
        "usage": USAGE,
    }
    decoder, events = read(json.dumps(body).encode())
    assert decoder.failure is None
    assert plain(events) == [
        ReasoningDelta("Hm."),
        TextDelta("So."),
        ToolCallDelta(0, "c", "f"),
        ToolCallDelta(0, arguments='{"a":1}'),
        ("reasoningContent", {"reasoningContent": thought}),
        ChoiceFinished(0, "tool_use"),
        Finished("tool_use", "tool_calls"),
    ]
    del body["stopReason"]
    assert isinstance(read(json.dumps(body).encode())[0].failure, UnexpectedContentError)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (
            b'{"message":"Too many requests", "__type":"ThrottlingException"}',
            UnexpectedContentError,
        ),
        (b"<html>proxy</html>", UnexpectedContentError),
        (b'{"error":{"code":"overloaded"}}', ServerError),
        (b"", TruncatedStreamError),
    ],
)
def test_text_in_place_of_a_stream(body: bytes, error: type[Exception]) -> None:
    decoder, events = read(body)
    assert isinstance(decoder.failure, error)
    assert events == []


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = BedrockStream()
    decoder.limit(10)
    decoder.feed(b'{"a":' + bytes(20))
    assert isinstance(decoder.failure, TooLargeError)
    decoder = BedrockStream()
    decoder.limit(10)
    decoder.feed(delta(0, text="twelve letters"))
    assert isinstance(decoder.failure, TooLargeError)
    monkeypatch.setattr(stream, "MAX_BLOCKS", 1)
    decoder, _ = read(*(delta(place, reasoningContent={"text": "x"}) for place in range(2)))
    assert isinstance(decoder.failure, TooLargeError)
    monkeypatch.setattr(stream, "MAX_TOOL_CALLS", 0)
    decoder, _ = read(*WHOLE)
    assert isinstance(decoder.failure, TooLargeError)
