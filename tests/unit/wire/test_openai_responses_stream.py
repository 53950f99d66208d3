"""What a Responses stream says, and where it lacks what would make it whole."""

import json
from typing import Any

import pytest

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.errors import (
    ContentError,
    EngineError,
    MalformedChunkError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    ServerError,
    TooLargeError,
    TruncatedStreamError,
    UnexpectedContentError,
)
from streamnursery.values.events import (
    Finished,
    FinishKind,
    StreamEvent,
    TextDelta,
    UsageReport,
)
from streamnursery.values.partial import Choice, ToolCall
from streamnursery.wire.openai_responses import turn
from streamnursery.wire.openai_responses.stream import OpenAIResponsesStream
from streamnursery.wire.sse import MAX_LINE, MAX_STRAY

CREATED = {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5"}}
COMPLETED = {"type": "response.completed", "response": {"id": "resp_1", "status": "completed"}}


def sse(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


def text(piece: str, **more: Any) -> dict[str, Any]:
    place = {"output_index": 0, "content_index": 0}
    return {"type": "response.output_text.delta", "delta": piece, **place, **more}


def item(what: str, index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.output_item.{what}", "output_index": index, "item": fields}


def ended(kind: str, **response: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", "response": {"id": "resp_1", "status": kind, **response}}


def read(*events: object) -> tuple[OpenAIResponsesStream, list[StreamEvent]]:
    decoder = OpenAIResponsesStream()
    found = decoder.feed(sse(*events))
    return decoder, found + decoder.end()


def choice(*events: object) -> Choice:
    transcript = Transcript()
    transcript.add(read(*events)[1])
    (only,) = transcript.choices()
    return only


def failure(*events: object) -> EngineError:
    decoder, found = read(*events)
    assert not decoder.done
    assert not any(isinstance(event, Finished) for event in found)
    assert decoder.failure is not None
    assert decoder.feed(sse(COMPLETED)) == []
    return decoder.failure


def test_text_thoughts_and_a_refusal_are_told_apart() -> None:
    said = choice(
        CREATED,
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "Hm"},
        {"type": "response.reasoning_text.delta", "output_index": 0, "delta": "."},
        text("Hel", output_index=1),
        text("lo", output_index=1),
        {"type": "response.refusal.delta", "output_index": 1, "content_index": 1, "delta": "No"},
        COMPLETED,
    )
    assert said == Choice(0, "Hello", "Hm.", "No", finish_reason="completed")


def test_names_come_from_whichever_event_has_them_first() -> None:
    decoder, _ = read({"type": "response.queued", "response": {"id": "resp_7"}}, CREATED, COMPLETED)
    assert (decoder.response_id, decoder.response_model) == ("resp_7", "gpt-5")


def test_calls_of_the_callers_tools_are_numbered_as_they_open() -> None:
    said = choice(
        item("added", 0, type="web_search_call", id="ws_1"),
        item("added", 1, type="function_call", id="fc_1", call_id="a", name="get", arguments=""),
        item("added", 2, type="custom_tool_call", id="ct_1", call_id="b", name="sql", input=""),
        {"type": "response.custom_tool_call_input.delta", "output_index": 2, "delta": "SELECT 1"},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": '{"x"'},
        {"type": "response.function_call_arguments.delta", "output_index": 1, "delta": ":1}"},
        {
            "type": "response.function_call_arguments.done",
            "output_index": 1,
            "arguments": '{"x":1}',
        },
        item("done", 1, type="function_call", call_id="a", name="get", arguments='{"x":1}'),
        item("done", 2, type="custom_tool_call", call_id="b", name="sql", input="SELECT 1"),
        COMPLETED,
    )
    assert said.tool_calls == (
        ToolCall(0, "a", "get", '{"x":1}'),
        ToolCall(1, "b", "sql", "SELECT 1"),
    )


@pytest.mark.parametrize(
    "whole",
    [
        [
            {
                "type": "response.output_text.done",
                "output_index": 0,
                "content_index": 0,
                "text": "Hi",
            }
        ],
        [item("done", type="message", content=[{"type": "output_text", "text": "Hi"}])],
        [
            ended(
                "completed",
                output=[{"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}],
            )
        ],
        [
            text("H"),
            text("i"),
            {"type": "response.output_text.done", "output_index": 0, "text": "Hi"},
        ],
        [
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Hi"},
            {
                "type": "response.output_text.done",
                "output_index": 0,
                "content_index": 0,
                "text": "Hi",
            },
            item("done", type="message", content=[{"type": "output_text", "text": "Hi"}]),
        ],
        [
            {"type": "response.output_text.delta", "item_id": "m", "delta": "Hi"},
            {
                "type": "response.output_item.done",
                "item": {
                    "id": "m",
                    "type": "message",
                    "content": [{"type": "output_text", "text": "Hi"}],
                },
            },
        ],
    ],
)
def test_what_only_came_whole_is_said_once_and_what_came_in_pieces_not_again(
    whole: list[dict[str, Any]],
) -> None:
    assert choice(*whole, COMPLETED).text == "Hi"


def test_calls_thoughts_and_refusals_that_only_came_whole_are_said_too() -> None:
    said = choice(
        item("done", 0, type="reasoning", summary=[{"type": "summary_text", "text": "Hm"}]),
        item("done", 1, type="function_call", id="fc_9", name="get", arguments="{}"),
        item(
            "done", 2, type="message", content=[{"type": "refusal", "refusal": "No"}, {"type": "x"}]
        ),
        {"type": "response.function_call_arguments.done", "output_index": 3, "arguments": "[]"},
        COMPLETED,
    )
    assert (said.reasoning, said.refusal) == ("Hm", "No")
    assert said.tool_calls == (ToolCall(0, "fc_9", "get", "{}"), ToolCall(1, None, None, "[]"))
    calls = [{"type": "function_call", "call_id": "a", "name": "get", "arguments": "{}"}]
    assert choice(ended("completed", output=calls)).tool_calls == (ToolCall(0, "a", "get", "{}"),)


KINDS: dict[str, FinishKind] = {
    "completed": "stop",
    "max_output_tokens": "length",
    "content_filter": "filtered",
}


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (COMPLETED, "completed"),
        (
            ended("incomplete", incomplete_details={"reason": "max_output_tokens"}),
            "max_output_tokens",
        ),
        (ended("incomplete", incomplete_details=None), "incomplete"),
        ({"type": "response.done", "response": {"status": "completed"}}, "completed"),
        (
            {
                "type": "response.done",
                "response": {
                    "status": "incomplete",
                    "status_details": {"reason": "content_filter"},
                },
            },
            "content_filter",
        ),
    ],
)
def test_the_end_of_the_response_is_the_evidence_and_gives_its_reason(
    end: dict[str, Any], reason: str
) -> None:
    decoder, events = read(text("Hi"), end)
    assert decoder.done
    assert events[-1] == Finished(reason, KINDS.get(reason, "other"))
    assert decoder.feed(sse(text("more"))) == []


def test_usage_comes_with_the_end_in_either_spelling() -> None:
    usage = {"input_tokens": 5, "output_tokens": 3, "input_token_details": {"cached_tokens": 2}}
    _, events = read(ended("completed", usage=usage))
    report = next(event for event in events if isinstance(event, UsageReport))
    assert (report.usage.total_tokens, report.usage.cached_tokens) == (8, 2)


@pytest.mark.parametrize(
    "events",
    [
        [CREATED],
        [text("Hi")],
        [text("Hi"), item("done", type="message", content=[])],
        [text("Hi"), {"type": "response.output_text.done", "text": "Hi", "output_index": 0}],
        [{"id": "chatcmpl-1", "choices": []}],
        [text("Hi"), ended("cancelled")],
        [text("Hi"), {"type": "response.done", "response": {"status": "unheard_of"}}],
    ],
)
def test_nothing_else_is_evidence_of_the_end(events: list[dict[str, Any]]) -> None:
    assert type(failure(*events)) is TruncatedStreamError


def test_the_end_mark_of_the_chat_api_proves_nothing_and_harms_nothing() -> None:
    for events, whole in (([text("Hi")], False), ([text("Hi"), COMPLETED], True)):
        decoder = OpenAIResponsesStream()
        decoder.feed(sse(*events) + b"data: [DONE]\n\ndata: \n\n")
        decoder.end()
        assert decoder.done == whole


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (
            {"type": "error", "code": "rate_limit_exceeded", "message": "x", "param": None},
            RateLimitedError,
        ),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "code": "invalid_value"}},
            ContentError,
        ),
        ({"type": "error", "status": 429, "error": {"type": "insufficient_quota"}}, QuotaError),
        ({"type": "error", "status": 503, "error": {"message": "x"}}, ServerError),
        ({"error": {"code": "server_error", "message": "x"}}, ServerError),
        ({"object": "error", "message": "x", "code": 400}, ContentError),
        (ended("failed", error={"code": "server_error", "message": "x"}), ServerError),
        (ended("failed", error=None), ServerError),
        (
            {
                "type": "response.done",
                "response": {
                    "status": "failed",
                    "status_details": {"error": {"code": "rate_limit_exceeded"}},
                },
            },
            RateLimitedError,
        ),
    ],
)
def test_an_error_ends_the_stream_after_what_came_before_it(
    event: dict[str, Any], kind: type[ProviderError]
) -> None:
    decoder, events = read(text("Hi"), event, text("never"))
    assert events == [TextDelta("Hi")]
    assert type(decoder.failure) is kind
    assert decoder.failure.status == 200
    assert decoder.failure.body is not None


def test_an_error_behind_a_long_response_is_told_in_its_own_words() -> None:
    error = {"code": "server_error", "message": "the disk is full"}
    event = ended("failed", instructions="x" * 5000, error=error)
    assert "the disk is full" in (failure(event).body or "")


def test_an_error_says_how_long_to_wait_in_its_own_headers() -> None:
    headers = {"Retry-After-Ms": "1500", "date": "Mon"}
    event = {"type": "error", "status": 429, "error": {"message": "x", "headers": headers}}
    assert failure(event).retry_after == 1.5
    dated = {
        "type": "error",
        "error": {"headers": {"retry-after": "Mon, 01 Jan 2029 00:00:00 GMT"}},
    }
    assert failure(dated).retry_after is None


def test_an_error_under_the_name_of_an_event_is_one_in_any_words() -> None:
    for body in (
        b'event: error\ndata: {"message":"x"}\n\n',
        b"event: error\ndata: broken\n\n",
        b"event: error\ndata: [1]\n\n",
    ):
        decoder = OpenAIResponsesStream()
        decoder.feed(body)
        assert isinstance(decoder.failure, ProviderError | MalformedChunkError)


def test_the_name_of_an_event_stands_for_a_type_that_it_lacks() -> None:
    decoder = OpenAIResponsesStream()
    decoder.feed(b'event: response.output_text.delta\ndata: {"delta":"Hi","output_index":0}\n\n')
    decoder.feed(b'event: response.completed\ndata: {"response":{"status":"completed"}}\n\n')
    assert decoder.done


def test_a_doubled_event_of_a_server_that_counts_says_nothing_new() -> None:
    numbered = [text("a", sequence_number=3), text("b", sequence_number=4)]
    thought = {"type": "response.reasoning_text.delta", "delta": "hm", "sequence_number": 5}
    doubled = [event for event in (*numbered, thought) for _ in range(2)]
    said = choice({**CREATED, "sequence_number": 2}, *doubled, COMPLETED)
    assert (said.text, said.reasoning) == ("ab", "hm")


@pytest.mark.parametrize("number", [0, -1, None, True, "3", 1.5])
def test_a_server_that_does_not_count_loses_nothing(number: object) -> None:
    pieces = [text("ha", sequence_number=number)] * 3
    assert choice(*pieces, COMPLETED).text == "hahaha"


def test_numbers_that_run_backwards_lose_nothing() -> None:
    pieces = [text(str(n), sequence_number=n) for n in (5, 6, 1, 2)]
    assert choice(*pieces, COMPLETED).text == "5612"


def test_fields_of_the_wrong_kind_say_nothing() -> None:
    odd: list[dict[str, Any]] = [
        {"type": 7},
        {"type": "response.output_text.delta", "delta": {"a": 1}},
        {"type": "response.output_item.done", "item": "x"},
        item("done", type="message", content="x"),
        {
            "type": "response.output_item.added",
            "output_index": True,
            "item": {"type": "function_call"},
        },
        {"type": "response.function_call_arguments.delta", "delta": None},
        {"type": "response.output_text.delta.more", "delta": "x"},
        text(""),
        ended("in_progress", usage="x"),
        {"type": "response.completed", "response": None},
    ]
    assert (
        choice(*odd, text("Hi"), ended("completed", usage=[1], incomplete_details=3)).text == "Hi"
    )


def test_bytes_that_are_no_utf8_and_lone_surrogates_become_a_sign() -> None:
    decoder = OpenAIResponsesStream()
    line = b'data: {"type":"response.output_text.delta","output_index":0,"delta":"%b"}\n\n'
    events = decoder.feed(line % b"\xff" + line % b"\\ud800")
    assert events == [TextDelta("\ufffd"), TextDelta("\ufffd")]


def test_text_goes_the_short_way_and_comes_back_from_it() -> None:
    thought = {"type": "response.reasoning_text.delta", "delta": "hm", "output_index": 1}
    said = choice(text("a"), text("b"), thought, text("c"), text("d"), COMPLETED)
    assert (said.text, said.reasoning) == ("abcd", "hm")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", TruncatedStreamError),
        (b": ping\n\n", TruncatedStreamError),
        (b"<html>x</html>", UnexpectedContentError),
        (b'{"error":{"code":"server_error"}}', ServerError),
        (b"data: {broken\n\n", MalformedChunkError),
        (b"data: [1]\n\n", MalformedChunkError),
        (b"data: " + b"[" * 10_000 + b"\n\n", MalformedChunkError),
        (b"data: " + b"x" * (MAX_LINE + 1), TooLargeError),
        (b"x" * 999 + b"\n" + b"junk\n" * MAX_STRAY, UnexpectedContentError),
    ],
)
def test_what_is_no_event_stream_is_told_apart(body: bytes, kind: type[EngineError]) -> None:
    decoder = OpenAIResponsesStream()
    decoder.feed(body)
    decoder.end()
    assert type(decoder.failure) is kind


def test_an_error_object_after_events_is_the_error_and_not_a_cut() -> None:
    decoder = OpenAIResponsesStream()
    decoder.feed(sse(text("Hi")) + b'{"error":{"code":"server_error"}}\n')
    decoder.end()
    assert type(decoder.failure) is ServerError


def test_calls_and_parts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "MAX_TOOL_CALLS", 3)
    monkeypatch.setattr(turn, "MAX_PARTS", 3)
    assert type(failure(*(text("x", content_index=i) for i in range(5)))) is TooLargeError
    calls = [item("added", i, type="function_call", call_id=str(i)) for i in range(5)]
    assert type(failure(*calls)) is TooLargeError
    output = [{"type": "function_call", "call_id": str(i)} for i in range(5)]
    assert type(failure(ended("completed", output=output))) is TooLargeError
    pieces = [
        {"type": "response.function_call_arguments.delta", "output_index": i, "delta": "x"}
        for i in range(5)
    ]
    assert type(failure(*pieces)) is TooLargeError


def test_a_broken_stream_goes_on_where_it_was_and_says_nothing_twice() -> None:
    before = [{**CREATED, "sequence_number": 0}, text("Hel", sequence_number=1)]
    after = [
        text("lo", sequence_number=2),
        {
            "type": "response.output_text.done",
            "output_index": 0,
            "content_index": 0,
            "text": "Hello",
            "sequence_number": 3,
        },
        {**COMPLETED, "sequence_number": 4},
    ]
    decoder = OpenAIResponsesStream()
    events = decoder.feed(sse(*before) + b'data: {"type":"response.out')
    assert decoder.number == 1
    decoder.end()
    decoder.go_on()
    events += decoder.feed(sse(before[1], *after))
    assert decoder.done
    assert "".join(e.text for e in events if isinstance(e, TextDelta)) == "Hello"
