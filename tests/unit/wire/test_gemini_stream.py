"""What the records of Google's Gemini API become."""

import json
from typing import Any

import pytest

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.errors import (
    AuthError,
    ContentError,
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
    UsageReport,
)
from streamnursery.values.http import HttpHead
from streamnursery.values.opaque import OpaquePart
from streamnursery.wire.gemini import calls
from streamnursery.wire.gemini.client import Gemini
from streamnursery.wire.gemini.json_path import MAX_DEPTH, set_at
from streamnursery.wire.gemini.stream import GeminiStream
from streamnursery.wire.gemini.usage import read_usage

TEXT = {"candidates": [{"content": {"parts": [{"text": "Hi"}], "role": "model"}}]}


def said(*parts: Any, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "g-1", **fields}


def sse(*records: Any) -> bytes:
    return b"".join(b"data: %b\r\n\r\n" % json.dumps(record).encode() for record in records)


def read(*records: Any, n: int = 1) -> tuple[GeminiStream, list[StreamEvent]]:
    decoder = GeminiStream(n)
    found = decoder.feed(sse(*records))
    return decoder, found + decoder.end()


def data_of(part: StreamEvent) -> Any:
    assert isinstance(part, OpaquePart)
    return json.loads(bytes(part.data))


def fold(events: list[StreamEvent]) -> Any:
    transcript = Transcript()
    transcript.add(events)
    return transcript.choices()[0]


def test_text_and_thoughts() -> None:
    decoder, events = read(
        said({"text": "Hm.", "thought": True}),
        said({"text": "More.", "thought": True}),
        said({"text": "Hi"}),
        said({"text": "!"}, finish="STOP"),
    )
    assert events == [
        ReasoningDelta("Hm."),
        ReasoningDelta("More."),
        TextDelta("Hi"),
        TextDelta("!"),
        ChoiceFinished(0, "STOP"),
        Finished("STOP", "stop"),
    ]
    assert (decoder.response_id, decoder.response_model) == ("r1", "g-1")


def test_calls_are_whole_and_have_ids() -> None:
    _, events = read(
        said({"functionCall": {"name": "look", "args": {"at": "x"}}, "thoughtSignature": "c2ln"}),
        said({"functionCall": {"name": "look", "id": "own"}}, finish="STOP"),
    )
    choice = fold(events)
    assert [(c.id, c.name, c.arguments) for c in choice.tool_calls] == [
        ("gemini-r1-0-0", "look", '{"at": "x"}'),
        ("own", "look", "{}"),
    ]
    assert [data_of(part) for part in choice.tool_calls[0].opaque] == ["c2ln"]
    assert events[-1] == Finished("STOP", "tool_calls")


def piece(path: str, goes_on: bool = True, **value: Any) -> dict[str, Any]:
    partial = {"jsonPath": path, **value}
    call = {"partialArgs": [partial]} | ({"willContinue": True} if goes_on else {})
    return {"functionCall": call}


def test_arguments_in_pieces_are_told_when_they_are_whole() -> None:
    _, events = read(
        said({"functionCall": {"name": "cook", "willContinue": True}}),
        said(piece("$.steps[0]", stringValue="st")),
        said(piece("$.steps[0]", stringValue="ir")),
        said(piece("$.for.how", numberValue=2.5)),
        said(piece("$['odd name']", goes_on=False, boolValue=True)),
        said({"functionCall": {"name": "wait", "willContinue": True}}, finish="STOP"),
    )
    assert [json.loads(call.arguments) for call in fold(events).tool_calls] == [
        {"steps": ["stir"], "for": {"how": 2.5}, "odd name": True},
        {},
    ]


@pytest.mark.parametrize(
    "path",
    ["", "$", "x", "$.a[", "$.a[5]", "$[0]", "$.a.b", "$" + ".a" * (MAX_DEPTH + 1), "$.a[-1]"],
)
def test_a_piece_that_belongs_nowhere_breaks_the_answer(path: str) -> None:
    with pytest.raises(ValueError, match="arguments of a call"):
        set_at({"a": [1]}, path, 2)
    started = said({"functionCall": {"name": "f", "args": {"a": [1]}, "willContinue": True}})
    decoder, _ = read(started, said(piece(path, numberValue=2)))
    assert type(decoder.failure) is MalformedChunkError


def test_the_signature_of_a_text_says_how_much_it_signs() -> None:
    _, events = read(
        said({"text": "One"}),
        said({"text": "Two", "thoughtSignature": "c2ln"}),
        said({"text": "", "thoughtSignature": "ZW5k"}, finish="STOP"),
    )
    parts = [data_of(event) for event in events if isinstance(event, OpaquePart)]
    assert parts == [
        {"signature": "c2ln", "characters": 3},
        {"signature": "ZW5k", "characters": 0},
    ]


def test_other_parts_and_metadata_are_handed_on() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    record = said(code, finish="STOP")
    record["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["x"]}
    _, events = read(record)
    assert data_of(events[0]) == code
    assert [event.kind for event in events[:2] if isinstance(event, OpaquePart)] == [
        "executableCode",
        "groundingMetadata",
    ]


@pytest.mark.parametrize("records", [(TEXT,), (TEXT, TEXT), ({},)])
def test_without_a_finish_reason_it_is_not_whole(records: tuple[Any, ...]) -> None:
    decoder, events = read(*records)
    assert type(decoder.failure) is TruncatedStreamError
    assert not any(isinstance(event, Finished) for event in events)


def test_every_candidate_asked_for_needs_its_reason() -> None:
    other = {"candidates": [{"index": 1, "content": {"parts": []}, "finishReason": "STOP"}]}
    assert read(said({"text": "a"}, finish="STOP"), n=2)[0].done is False
    assert read(said({"text": "a"}, finish="STOP"), other, n=2)[0].done is True
    unspecified = said({"text": "a"}, finish="FINISH_REASON_UNSPECIFIED")
    assert read(unspecified)[0].done is False


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("MAX_TOKENS", "length"),
        ("FUNCTION_CALL", "tool_calls"),
        ("SAFETY", "filtered"),
        ("ESCALATION", "other"),
    ],
)
def test_the_end_has_a_kind(reason: str, kind: str) -> None:
    assert read(said(finish=reason))[1][-1] == Finished(reason, kind)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("MALFORMED_FUNCTION_CALL", ServerError), ("MISSING_THOUGHT_SIGNATURE", ContentError)],
)
def test_reasons_that_mean_failure(reason: str, expected: type[Exception]) -> None:
    record = said({"text": "a"}, finish=reason)
    record["candidates"][0]["finishMessage"] = "Told."
    decoder, events = read(record)
    assert type(decoder.failure) is expected
    assert "Told." in str(decoder.failure)
    assert events == [TextDelta("a")]


def test_a_blocked_prompt_is_refused_content() -> None:
    feedback = {"blockReason": "JAILBREAK", "blockReasonMessage": "No."}
    usage = {"promptTokenCount": 7}
    decoder, events = read({"promptFeedback": feedback, "usageMetadata": usage})
    assert type(decoder.failure) is ContentError
    assert decoder.failure.retryable is False
    assert "JAILBREAK: No." in str(decoder.failure)
    (report,) = events
    assert isinstance(report, UsageReport)
    assert report.usage.input_tokens == 7


def test_counts_are_told_at_the_beginning_and_at_the_end() -> None:
    usage = {"promptTokenCount": 5, "candidatesTokenCount": 1, "toolUsePromptTokenCount": 10}
    more = {**usage, "candidatesTokenCount": 9, "thoughtsTokenCount": 20}
    _, events = read(
        said({"text": "a"}, usageMetadata=usage),
        said({"text": "b"}, usageMetadata=more),
        said({"text": "c"}, finish="STOP", usageMetadata=more),
    )
    reports = [event.usage for event in events if isinstance(event, UsageReport)]
    assert [(u.input_tokens, u.output_tokens, u.reasoning_tokens) for u in reports] == [
        (15, None, None),
        (15, 29, 20),
    ]
    told = read_usage({"promptTokenCount": -1, "thoughtsTokenCount": 4})
    assert told is not None
    assert (told.input_tokens, told.output_tokens) == (None, 4)
    assert told.refused == {"input_tokens"}
    assert read_usage({"trafficType": "ON_DEMAND"}) is None


def error(status: int, name: str, *details: Any) -> dict[str, Any]:
    return {"error": {"code": status, "message": "M.", "status": name, "details": list(details)}}


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "37s"}
DAY = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}],
}
MINUTE = {**DAY, "violations": [{"quotaId": "GenerateRequestsPerMinutePerProject"}]}
BAD_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
ERRORS = [
    (429, "RESOURCE_EXHAUSTED", (MINUTE, RETRY), RateLimitedError, 37.0),
    (429, "RESOURCE_EXHAUSTED", (DAY, RETRY), QuotaError, 37.0),
    (400, "INVALID_ARGUMENT", (BAD_KEY,), AuthError, None),
    (400, "INVALID_ARGUMENT", (), ContentError, None),
    (403, "PERMISSION_DENIED", (), AuthError, None),
    (500, "INTERNAL", (), ServerError, None),
    (503, "UNAVAILABLE", (), ServerError, None),
    (504, "DEADLINE_EXCEEDED", (), ServerError, None),
]


@pytest.mark.parametrize(("status", "name", "details", "expected", "wait"), ERRORS)
@pytest.mark.parametrize("listed", [True, False])
def test_errors_alone_in_lists_and_inside_streams(
    status: int,
    name: str,
    details: tuple[Any, ...],
    expected: type[Exception],
    wait: float | None,
    listed: bool,
) -> None:
    told: Any = error(status, name, *details)
    told = [told] if listed else told
    head = HttpHead(status, (("content-type", "application/json"),))
    found = Gemini().error_from_answer(head, json.dumps(told).encode(), now=0.0)
    assert (type(found), found.retry_after) == (expected, wait)
    assert found.retryable is (expected in (RateLimitedError, ServerError))
    decoder, events = read(said({"text": "a"}), told)
    assert type(decoder.failure) is expected
    assert events == [TextDelta("a")]


def test_its_bounds() -> None:
    decoder, _ = read({"candidates": [{"index": 5000, "content": {}}]})
    assert type(decoder.failure) is TooLargeError
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "MAX_TOOL_CALLS", 2)
        many = [{"functionCall": {"name": "f"}}] * 3
        assert type(read(said(*many))[0].failure) is TooLargeError


def test_a_record_that_is_no_object_breaks_the_answer_and_a_blank_one_says_nothing() -> None:
    decoder = GeminiStream()
    decoder.feed(b"data: \n\ndata: 17\n\n")
    assert type(decoder.failure) is MalformedChunkError


def test_an_answer_that_is_not_streamed_is_whole() -> None:
    decoder = GeminiStream()
    events = decoder.feed(json.dumps(said({"text": "Hi"}, finish="STOP")).encode())
    events += decoder.end()
    assert events == [TextDelta("Hi"), ChoiceFinished(0, "STOP"), Finished("STOP", "stop")]
