"""What the events of Google's Interactions API become."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.values.errors import (
    MalformedChunkError,
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
from streamnursery.values.opaque import OpaquePart
from streamnursery.values.request import ChatRequest
from streamnursery.wire.dialect import Cursor
from streamnursery.wire.gemini_interactions import turn
from streamnursery.wire.gemini_interactions.client import GeminiInteractions
from streamnursery.wire.gemini_interactions.stream import InteractionStream

CREATED = {"interaction": {"id": "v1_x", "status": "in_progress", "model": "gemini-3-pro"}}
USAGE = {
    "total_input_tokens": 9,
    "total_cached_tokens": 4,
    "total_output_tokens": 3,
    "total_thought_tokens": 2,
    "total_tool_use_tokens": 1,
}


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"event_type": kind, **fields}


def start(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return event("step.start", index=index, step={"type": kind, **fields})


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return event("step.delta", index=index, delta={"type": kind, **fields})


def stop(index: int) -> dict[str, Any]:
    return event("step.stop", index=index)


def completed(status: str = "completed", **fields: Any) -> dict[str, Any]:
    return event("interaction.completed", interaction={"id": "v1_x", "status": status, **fields})


def sse(*events: Any) -> bytes:
    return b"".join(
        b"event: %b\ndata: %b\n\n" % (one["event_type"].encode(), json.dumps(one).encode())
        for one in events
    )


BEGUN = event("interaction.created", **CREATED)
THOUGHT: tuple[Any, ...] = (
    start(0, "thought"),
    delta(0, "thought_summary", content={"type": "text", "text": "Hm. "}),
    delta(0, "thought_summary", content={"type": "text", "text": "So."}),
    delta(0, "thought_signature", signature="c2ln"),
    stop(0),
)
WHOLE: tuple[Any, ...] = (
    BEGUN,
    event("interaction.status_update", interaction_id="v1_x", status="in_progress"),
    *THOUGHT,
    start(1, "model_output"),
    delta(1, "text", text="Hel"),
    delta(1, "text", text="lo"),
    delta(1, "text_annotation_delta", annotations=[{"type": "url_citation"}]),
    stop(1),
    start(2, "function_call", id="c1", name="look", arguments={}),
    delta(2, "arguments_delta", arguments='{"at":'),
    delta(2, "arguments_delta", arguments='"x"}'),
    stop(2),
    completed("requires_action", usage=USAGE),
)


def read(*events: Any, kept: bool = False) -> tuple[InteractionStream, list[StreamEvent]]:
    decoder = InteractionStream(kept=kept)
    found = decoder.feed(sse(*events))
    return decoder, found + decoder.end()


def numbered(*events: Any) -> list[Any]:
    return [{**one, "event_id": f"e{number}"} for number, one in enumerate(events)]


def plain(events: list[StreamEvent]) -> list[Any]:
    return [
        (one.kind, json.loads(bytes(one.data))) if isinstance(one, OpaquePart) else one
        for one in events
        if not isinstance(one, UsageReport)
    ]


def test_a_whole_answer() -> None:
    decoder, events = read(*WHOLE)
    assert decoder.failure is None
    assert plain(events) == [
        ReasoningDelta("Hm. "),
        ReasoningDelta("So."),
        (
            "thought",
            {
                "type": "thought",
                "summary": [{"type": "text", "text": "Hm. "}, {"type": "text", "text": "So."}],
                "signature": "c2ln",
            },
        ),
        TextDelta("Hel"),
        TextDelta("lo"),
        ("text_annotation_delta", [{"type": "url_citation"}]),
        ToolCallDelta(0, "c1", "look"),
        ToolCallDelta(0, arguments='{"at":'),
        ToolCallDelta(0, arguments='"x"}'),
        ChoiceFinished(0, "requires_action"),
        Finished("requires_action", "tool_calls"),
    ]
    (usage,) = [one.usage for one in events if isinstance(one, UsageReport)]
    assert (usage.input_tokens, usage.output_tokens) == (10, 5)
    assert (usage.cached_tokens, usage.reasoning_tokens) == (4, 2)
    assert (decoder.response_id, decoder.response_model) == ("v1_x", "gemini-3-pro")
    assert decoder.cursor is None


@given(st.integers(0, 10**6))
def test_it_says_the_same_however_it_is_split(seed: int) -> None:
    data, dice = sse(*WHOLE), Random(seed)
    decoder, events = InteractionStream(), []
    while data:
        size = dice.randint(1, 40)
        events += decoder.feed(data[:size])
        data = data[size:]
    assert plain(events + decoder.end()) == plain(read(*WHOLE)[1])


@pytest.mark.parametrize("count", range(len(WHOLE)))
def test_what_is_cut_at_an_event_is_never_whole(count: int) -> None:
    decoder, events = read(*WHOLE[:count])
    assert isinstance(decoder.failure, TruncatedStreamError)
    assert not any(isinstance(one, Finished) for one in events)


def test_arguments_that_come_whole_are_taken_once() -> None:
    call = start(0, "function_call", id="c1", name="look", arguments={"at": "x"})
    _, events = read(BEGUN, call, stop(0), completed("requires_action"))
    assert [one.arguments for one in events if isinstance(one, ToolCallDelta)] == [
        "",
        '{"at": "x"}',
    ]
    _, events = read(BEGUN, call, delta(0, "arguments_delta", arguments="{}"), completed())
    assert [one.arguments for one in events if isinstance(one, ToolCallDelta)] == ["", "{}"]


def test_what_stands_in_the_last_event_alone_is_taken() -> None:
    steps = [
        {"type": "user_input", "content": [{"type": "text", "text": "Why?"}]},
        {"type": "thought", "signature": "c2ln", "summary": [{"type": "text", "text": "Hm."}]},
        {"type": "model_output", "content": [{"type": "text", "text": "So."}]},
        {"type": "function_call", "id": "c", "name": "f", "arguments": {"a": 1}},
    ]
    _, events = read(BEGUN, completed("requires_action", steps=steps))
    assert plain(events)[:5] == [
        ReasoningDelta("Hm."),
        TextDelta("So."),
        ToolCallDelta(0, "c", "f"),
        ("thought", steps[1]),
        ToolCallDelta(0, arguments='{"a": 1}'),
    ]
    _, events = read(*WHOLE[:-1], completed("completed", steps=steps))
    assert "".join(one.text for one in events if isinstance(one, TextDelta)) == "Hello"


def test_an_answer_that_is_not_streamed_is_taken_as_a_whole() -> None:
    steps = [{"type": "model_output", "content": [{"type": "text", "text": "So."}]}]
    decoder = InteractionStream()
    body = {"id": "v1_x", "object": "interaction", "status": "completed", "steps": steps}
    events = decoder.feed(json.dumps(body).encode()) + decoder.end()
    assert plain(events)[0] == TextDelta("So.")
    assert decoder.done


def test_the_providers_own_steps_and_unknown_content_are_handed_on() -> None:
    _, events = read(
        BEGUN,
        start(0, "google_search_call", id="g", arguments={"queries": ["x"]}),
        stop(0),
        start(1, "google_search_result", call_id="g"),
        delta(1, "google_search_result", result=[{"url": "a"}], signature="s"),
        delta(1, "google_search_result", result=[{"url": "b"}]),
        stop(1),
        start(2, "model_output"),
        delta(2, "image", data="QUJD", mime_type="image/png"),
        delta(2, "hologram", data="?"),
        completed(),
    )
    assert plain(events)[:-2] == [
        (
            "google_search_call",
            {"type": "google_search_call", "id": "g", "arguments": {"queries": ["x"]}},
        ),
        (
            "google_search_result",
            {
                "type": "google_search_result",
                "call_id": "g",
                "result": [{"url": "a"}, {"url": "b"}],
                "signature": "s",
            },
        ),
        ("image", {"type": "image", "data": "QUJD", "mime_type": "image/png"}),
        ("hologram", {"type": "hologram", "data": "?"}),
    ]


@pytest.mark.parametrize(
    ("last", "error", "told"),
    [
        (completed("failed", error={"message": "no"}), ServerError, "no"),
        (completed("budget_exceeded"), ServerError, "budget_exceeded"),
        (completed("cancelled"), TruncatedStreamError, "cancelled"),
        (completed("in_progress"), TruncatedStreamError, "in_progress"),
        (
            event("interaction.status_update", interaction_id="v1_x", status="failed"),
            ServerError,
            "failed",
        ),
        (
            event("error", error={"code": "rate_limit_exceeded", "message": "m"}),
            RateLimitedError,
            "m",
        ),
        (event("error"), ServerError, ""),
        ({"event_type": "", "error": {"message": "odd"}}, ServerError, "odd"),
    ],
)
def test_an_end_that_is_a_failure(last: Any, error: type[Exception], told: str) -> None:
    decoder, events = read(*WHOLE[:-1], last)
    assert isinstance(decoder.failure, error)
    assert told in str(decoder.failure)
    assert TextDelta("Hel") in events
    assert not any(isinstance(one, Finished) for one in events)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ("completed", "stop"),
        ("incomplete", "length"),
        ("requires_continuation", "paused"),
        ("something_new", "other"),
    ],
)
def test_how_it_ended(status: str, kind: str) -> None:
    _, events = read(BEGUN, delta(0, "text", text="Hi"), completed(status))
    assert events[-1] == Finished(status, kind)  # type: ignore[arg-type]


def test_events_that_make_no_sense_harm_nothing() -> None:
    _, events = read(
        BEGUN,
        event("step.start", index=True, step={"type": "model_output"}),
        event("step.start", index=0, step=[]),
        event("step.delta", index=0, delta="x"),
        event("step.delta", index=-1, delta={"type": "text", "text": "no"}),
        event("step.stop", index=77),
        event("interaction.new_thing", interaction={"id": 5}),
        event("step.delta", index=0, delta={"type": "text", "text": "Hi"}),
        event("step.delta", index=0, delta={"type": "text", "text": 5}),
        completed(usage="none"),
    )
    assert plain(events)[0] == TextDelta("Hi")
    assert plain(events)[-1] == Finished("completed", "stop")
    decoder, _ = read(BEGUN)
    decoder = InteractionStream()
    decoder.feed(sse(BEGUN) + b"data: {nonsense\n\n")
    assert isinstance(decoder.failure, MalformedChunkError)


def test_steps_and_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "MAX_STEPS", 2)
    decoder, _ = read(BEGUN, *(start(n, "model_output") for n in range(3)))
    assert isinstance(decoder.failure, TooLargeError)
    monkeypatch.setattr(turn, "MAX_TOOL_CALLS", 1)
    decoder, _ = read(BEGUN, *(start(n, "function_call", id="c", name="f") for n in range(2)))
    assert isinstance(decoder.failure, TooLargeError)


@pytest.mark.parametrize("cut", range(1, len(WHOLE)))
def test_it_is_read_on_behind_any_event(cut: int) -> None:
    events = numbered(*WHOLE)
    dialect, request = GeminiInteractions(), ChatRequest("m", "Hi", extra={"background": True})
    broken = dialect.decoder(request)
    found = broken.feed(sse(*events[:cut]))
    broken.end()
    assert broken.cursor == Cursor("v1_x", f"e{cut - 1}")
    rest = dialect.resumed(request, broken)
    found += rest.feed(sse(*events[cut:]))
    assert plain(found + rest.end()) == plain(read(*WHOLE)[1])


def test_the_last_event_is_not_taken_twice() -> None:
    events = numbered(BEGUN, delta(0, "text", text="Hi"), delta(0, "text", text="Hi"), completed())
    broken = InteractionStream(kept=True)
    found = broken.feed(sse(*events[:3]))
    broken.go_on()
    found += broken.feed(sse(*events[2:]))
    assert [one.text for one in found if isinstance(one, TextDelta)] == ["Hi", "Hi"]


@pytest.mark.parametrize("extra", [{}, {"background": False}, {"background": True, "store": False}])
def test_what_is_not_kept_has_no_cursor(extra: dict[str, Any]) -> None:
    decoder = GeminiInteractions().decoder(ChatRequest("m", "Hi", extra=extra))
    decoder.feed(sse(*numbered(BEGUN)))
    assert decoder.cursor is None


@pytest.mark.parametrize("name", ["../files", "a/b", "v1?x", "", "é" * 3])
def test_a_name_that_would_lead_elsewhere_gives_no_cursor(name: str) -> None:
    begun = event("interaction.created", interaction={"id": name}, event_id="e0")
    assert read(begun, kept=True)[0].cursor is None
