"""What counts as a whole answer, beyond the end mark: one test for each kind of evidence."""

import json
from typing import Any

import msgspec
import pytest

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.errors import (
    ContentError,
    EngineError,
    MalformedChunkError,
    ServerError,
    TruncatedStreamError,
    UnexpectedContentError,
)
from streamnursery.values.events import StreamEvent, TextDelta, UsageReport
from streamnursery.values.opaque import OpaquePart
from streamnursery.values.partial import Choice
from streamnursery.wire.evidence import OPENAI_CHAT_FAILURES
from streamnursery.wire.openai_chat.stream import OpenAIChatStream
from streamnursery.wire.openai_responses.stream import OpenAIResponsesStream

DONE = b"data: [DONE]\n\n"


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return b"data: " + json.dumps({"id": "c", "choices": [choice]}).encode() + b"\n\n"


HELLO, STOP = chunk(content="Hello"), chunk("stop")


def read(
    *parts: bytes, delimited: bool = True, logprobs: bool = False
) -> tuple[EngineError | None, list[StreamEvent]]:
    decoder = OpenAIChatStream(logprobs=logprobs)
    events = decoder.feed(b"".join(parts))
    events += decoder.end(delimited=delimited)
    whole = OpenAIChatStream(logprobs=logprobs)
    bytewise = [e for byte in b"".join(parts) for e in whole.feed(bytes([byte]))]
    assert bytewise + whole.end(delimited=delimited) == events
    return decoder.failure, events


def choice_of(events: list[StreamEvent]) -> Choice:
    transcript = Transcript()
    transcript.add(events)
    return transcript.choices()[0]


# Text outside `data:`. -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": 1}',
        b"[1, 2]",
        b"<html>",
        b'warning: {"left": 3}',
        b'data : {"choices": []}',
        b' data: {"choices": []}',
        b"{",
    ],
)
def test_a_line_of_another_language_is_evidence_against_whatever_follows(line: bytes) -> None:
    error, events = read(HELLO, line + b"\n\n", STOP, DONE)
    assert type(error) is MalformedChunkError
    assert events == [TextDelta("Hello")]
    first, events = read(line + b"\n\n", HELLO, STOP, DONE)
    assert type(first) is MalformedChunkError
    assert events == []


@pytest.mark.parametrize(
    "line",
    [b": {", b": <b>", b"id: {}", b"event: []", b"retry: {}", b"status: fine", b"[INFO] ready"],
)
def test_comments_and_short_fields_are_none(line: bytes) -> None:
    assert read(HELLO, line + b"\n" + STOP, DONE)[0] is None


@pytest.mark.parametrize(
    "line",
    [
        b'error: {"code":400,"message":"too long","type":"invalid_request_error"}',
        b'{"error":{"code":400,"message":"too long","type":"invalid_request_error"}}',
        b'whatever: {"error":{"status_code":400,"message":"no","type":"invalid_request_error"}}',
    ],
)
@pytest.mark.parametrize("before", [b"", HELLO])
def test_an_error_object_is_that_error_wherever_it_stands(line: bytes, before: bytes) -> None:
    error, _ = read(before, line + b"\n\n", DONE)
    assert type(error) is ContentError
    assert not error.retryable
    assert error.body


# The end. --------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [b"", chunk(role="assistant", content=""), b": hi\n\n"])
def test_the_end_mark_alone_is_no_answer(before: bytes) -> None:
    error, events = read(before, DONE)
    assert type(error) is TruncatedStreamError
    assert error.retryable
    assert events == []


def test_a_finish_reason_without_text_is_one() -> None:
    assert read(STOP, DONE)[0] is None


@pytest.mark.parametrize("reason", sorted(OPENAI_CHAT_FAILURES))
@pytest.mark.parametrize("end", [DONE, b""])
def test_a_finish_reason_may_mean_failure(reason: str, end: bytes) -> None:
    error, events = read(HELLO, chunk(reason), end)
    assert type(error) is ServerError
    assert events == [TextDelta("Hello")]


def test_a_reason_that_nobody_knows_is_an_end() -> None:
    error, events = read(HELLO, chunk("eos"), DONE)
    assert error is None
    assert choice_of(events).finish_reason == "eos"


@pytest.mark.parametrize("left_out", [1, 2])
@pytest.mark.parametrize("last", [STOP, DONE])
def test_the_last_event_needs_no_blank_line_at_a_clean_end(left_out: int, last: bytes) -> None:
    body = HELLO + last[:-left_out]
    assert read(body)[0] is None
    assert type(read(body, delimited=False)[0]) is TruncatedStreamError
    assert type(read(body[:-3])[0]) is TruncatedStreamError


def test_usage_without_its_blank_line_counts() -> None:
    _, events = read(HELLO, STOP, b'data: {"choices":[],"usage":{"completion_tokens":2}}')
    assert any(isinstance(e, UsageReport) and e.usage.output_tokens == 2 for e in events)


# Content that nobody knows. --------------------------------------------------------------------


@pytest.mark.parametrize("value", ["x", ["x"], {"url": "x"}])
def test_an_unknown_field_of_a_delta_is_content(value: object) -> None:
    error, events = read(HELLO, chunk(images=value), STOP, DONE)
    assert error is None
    (part,) = choice_of(events).opaque
    assert (part.kind, msgspec.json.decode(part.data)) == ("images", value)
    assert "images" in repr(part)


@pytest.mark.parametrize("value", [None, "", [], {}, 0, 1, False, True])
def test_an_empty_one_and_a_number_are_none(value: object) -> None:
    assert choice_of(read(chunk(content="x", images=value), STOP, DONE)[1]).opaque == ()


def test_the_inert_names_and_the_top_of_a_chunk_are_none() -> None:
    inert = chunk(role="assistant", status="x", padding="abc", obfuscation="zz", content="x")
    top = b'data: {"choices":[],"citations":["x"],"service_tier":"default"}\n\n'
    assert choice_of(read(inert, top, STOP, DONE)[1]).opaque == ()


def test_the_end_mark_after_opaque_content_alone_is_an_answer() -> None:
    assert read(chunk(audio={"data": "AAA"}), DONE)[0] is None


def test_what_a_piece_of_a_tool_call_says_besides_stays_with_it() -> None:
    signature = {"google": {"thought_signature": "s" * 300}}
    piece = {"index": 0, "id": "a", "type": "function", "extra_content": signature}
    _, events = read(chunk(tool_calls=[piece | {"function": {"name": "f"}}]), STOP, DONE)
    (call,) = choice_of(events).tool_calls
    assert msgspec.json.decode(call.opaque[0].data) == signature
    assert repr(call.opaque[0]).endswith("..., tool_index=0)")


@pytest.mark.parametrize("name", ["reasoning_text", "thinking", "reasoning_summary"])
def test_reasoning_has_many_names(name: str) -> None:
    assert choice_of(read(chunk(**{name: "hm"}), STOP, DONE)[1]).reasoning == "hm"


def test_log_probabilities_are_kept_where_they_were_asked_for() -> None:
    body = (
        b'data: {"choices":[{"index":0,"delta":{"content":"a"},'
        b'"logprobs":{"content":[{"logprob":-Infinity}]},"finish_reason":null}]}\n\n'
    )
    _, events = read(body, body, STOP, DONE, logprobs=True)
    assert [part.kind for part in choice_of(events).opaque] == ["logprobs"] * 2
    assert choice_of(read(body, STOP, DONE)[1]).opaque == ()


# Tool calls and text. --------------------------------------------------------------------------


def call(index: int, id: str | None, name: str | None, arguments: str) -> bytes:  # noqa: A002
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return chunk(tool_calls=[{"index": index, "function": function} | ({"id": id} if id else {})])


def test_a_new_id_with_a_name_opens_a_call_at_the_same_index() -> None:
    parts = [
        call(0, "a", "f", '{"x"'),
        call(0, None, None, ":1}"),
        call(0, "b", "f", '{"y"'),
        call(0, None, None, ":2}"),
        call(1, "c", "g", "{}"),
    ]
    calls = choice_of(read(*parts, STOP, DONE)[1]).tool_calls
    assert [(c.id, c.arguments) for c in calls] == [("a", '{"x":1}'), ("b", '{"y":2}'), ("c", "{}")]


def test_calls_may_interleave_by_index() -> None:
    parts = [
        call(0, "a", "f", "1"),
        call(1, "b", "g", "3"),
        call(0, None, None, "2"),
        call(1, "b", "g", "4"),
    ]
    calls = choice_of(read(*parts, STOP, DONE)[1]).tool_calls
    assert [(c.id, c.arguments) for c in calls] == [("a", "12"), ("b", "34")]


def raw(text: str, field: str = "content") -> bytes:
    return b'data: {"choices":[{"index":0,"delta":{"%s":"%s"}}]}\n\n' % (
        field.encode(),
        text.encode(),
    )


@pytest.mark.parametrize(
    ("pieces", "text"),
    [
        (("hi \\ud83d", "\\ude00!"), "hi \U0001f600!"),
        (("\\ud83d", "\\ude00"), "\U0001f600"),
        (("a\\ud83d", "b"), "a\ufffdb"),
        (("a\\ud83d",), "a\ufffd"),
        (("a", "\\ude00"), "a\ufffd"),
        (("a\\ud83d", "\\ude00b", "c", "\\ud83d", "\\ude00"), "a\U0001f600bc\U0001f600"),
    ],
)
def test_halves_of_a_surrogate_pair_are_joined(pieces: tuple[str, ...], text: str) -> None:
    choice = choice_of(read(*map(raw, pieces), STOP, DONE)[1])
    assert choice.text == text


def test_halves_of_text_and_of_reasoning_do_not_meet() -> None:
    parts = raw("\\ud83d"), raw("\\ud83d", "reasoning"), raw("\\ude00")
    choice = choice_of(read(*parts, STOP, DONE)[1])
    assert (choice.text, choice.reasoning) == ("\U0001f600", "\ufffd")


def test_events_that_one_line_feed_parts_are_read_one_by_one() -> None:
    body = b"".join(part[:-1] for part in (HELLO, chunk(content=" you"), STOP)) + b"\n" + DONE
    error, events = read(body)
    assert error is None
    assert choice_of(events).text == "Hello you"
    assert type(read(HELLO[:-1] + b"data: oops\n\n", DONE)[0]) is MalformedChunkError


def test_usage_may_stand_in_the_choice() -> None:
    body = (
        b'data: {"choices":[{"delta":{},"finish_reason":"stop","usage":{"prompt_tokens":3}}]}\n\n'
    )
    _, events = read(HELLO, body, DONE)
    assert any(isinstance(e, UsageReport) and e.usage.input_tokens == 3 for e in events)


# A body that is no stream. ---------------------------------------------------------------------

COMPLETION = {
    "object": "chat.completion",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1},
}


@pytest.mark.parametrize("indent", [None, 2])
def test_a_whole_completion_is_a_whole_answer(indent: int | None) -> None:
    error, events = read(json.dumps(COMPLETION, indent=indent).encode())
    assert error is None
    assert choice_of(events).text == "Hi"
    assert any(isinstance(e, UsageReport) for e in events)


def test_half_of_one_and_other_json_are_none() -> None:
    assert type(read(json.dumps(COMPLETION).encode()[:-9])[0]) is UnexpectedContentError
    assert type(read(b'{"ok": true}')[0]) is UnexpectedContentError


def test_a_large_one_is_read_as_well() -> None:
    text = "x" * 300_000
    big = json.loads(json.dumps(COMPLETION))
    big["choices"][0]["message"]["content"] = text
    decoder = OpenAIChatStream()
    decoder.feed(json.dumps(big, indent=1).encode())
    assert choice_of(decoder.end()).text == text


def test_a_whole_response_is_a_whole_answer() -> None:
    response = {
        "object": "response",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
    }
    decoder = OpenAIResponsesStream()
    decoder.feed(json.dumps(response).encode())
    assert choice_of(decoder.end()).text == "Hi"


def test_an_image_of_megabytes_in_one_line_is_an_answer() -> None:
    picture = "A" * 2_000_000
    decoder = OpenAIChatStream()
    events = decoder.feed(HELLO + chunk(images=[picture]))
    events += decoder.feed(chunk(content="!") + STOP + DONE)
    assert decoder.done
    choice = choice_of(events)
    assert choice.text == "Hello!"
    assert [len(part.data) > 2_000_000 for part in choice.opaque] == [True]
    assert isinstance(choice.opaque[0], OpaquePart)


# The Responses API. ----------------------------------------------------------------------------


def event(kind: str, **fields: Any) -> bytes:
    return b"data: " + json.dumps({"type": f"response.{kind}", **fields}).encode() + b"\n\n"


def respond(*events: bytes) -> Choice:
    decoder = OpenAIResponsesStream()
    found = decoder.feed(b"".join(events))
    assert decoder.failure is None
    assert decoder.done
    return choice_of(found)


IMAGE = {"type": "image_generation_call", "id": "ig_1", "result": "AAAA"}
MESSAGE = {"type": "message", "id": "m", "content": [{"type": "output_text", "text": "Hi"}]}
THOUGHT = {"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "xyz"}


def completed(*output: dict[str, Any]) -> bytes:
    return event("completed", response={"status": "completed", "output": list(output)})


def test_what_only_the_closing_event_holds_is_taken_once() -> None:
    piece = event("output_text.delta", delta="Hi", output_index=0, content_index=0)
    choice = respond(piece, completed(MESSAGE, IMAGE))
    assert choice.text == "Hi"
    assert [part.kind for part in choice.opaque] == ["image_generation_call"]
    done = event("output_item.done", output_index=1, item=IMAGE)
    assert len(respond(piece, done, completed(MESSAGE, IMAGE)).opaque) == 1


@pytest.mark.parametrize("place", [{"item_id": "m"}, {}])
def test_an_output_that_is_known_by_its_name_or_not_at_all_is_not_said_twice(
    place: dict[str, str],
) -> None:
    piece = event("output_text.delta", delta="Hi", **place)
    assert respond(piece, completed(MESSAGE)).text == "Hi"


def test_encrypted_reasoning_is_handed_on_for_the_next_request() -> None:
    choice = respond(event("output_item.done", output_index=0, item=THOUGHT), completed(THOUGHT))
    assert [msgspec.json.decode(part.data) for part in choice.opaque] == [THOUGHT]
