"""One written stream per oddity of real servers, and what a caller must see of it."""

from pathlib import Path

import attrs
import msgspec
import pytest

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.events import ChoiceFinished, Finished, StreamEvent, UsageReport
from streamnursery.values.opaque import OpaquePart
from streamnursery.values.partial import Choice, PartPlace, ToolCall
from streamnursery.values.usage import Usage
from streamnursery.wire.openai_chat.stream import OpenAIChatStream

STREAMS = Path(__file__).parents[2] / "data" / "streams"
USAGE = Usage(
    input_tokens=7,
    output_tokens=2,
    cached_tokens=3,
    reasoning_tokens=0,
    reported=frozenset({"input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"}),
)


def read(name: str, n: int = 1) -> tuple[OpenAIChatStream, list[StreamEvent]]:
    decoder = OpenAIChatStream(n)
    events = decoder.feed((STREAMS / f"{name}.sse").read_bytes())
    return decoder, events + decoder.end()


def fold(events: list[StreamEvent]) -> Transcript:
    transcript = Transcript()
    transcript.add(events)
    return transcript


HELLO = Choice(0, text="Hello world", finish_reason="stop")
THINKING = attrs.evolve(HELLO, reasoning="Let me think")
REFERENCE = OpaquePart(0, "content", msgspec.Raw(b'{"type":"reference","reference_ids":[1]}'))
AT = PartPlace(text=11, reasoning=12, tool_calls=0)
GET = ToolCall(0, "a", "get", '{"x":1}')
PUT = ToolCall(1, "b", "put", "{}")
TOOLS = Choice(0, tool_calls=(GET,), finish_reason="tool_calls")

WHOLE: dict[str, Choice] = {
    "plain": HELLO,
    "crlf": HELLO,
    "bom": HELLO,
    "no_end_mark": HELLO,
    "end_mark_without_finish_reason": attrs.evolve(HELLO, finish_reason=None),
    "usage_chunk_with_choices": HELLO,
    "usage_in_finish_chunk": HELLO,
    "usage_in_x_groq": HELLO,
    "usage_grows": HELLO,
    "usage_without_sense": HELLO,
    "usage_beside_reasoning": attrs.evolve(HELLO, reasoning="Hm"),
    "reasoning_content": THINKING,
    "reasoning_twice": THINKING,
    "reasoning_details_alone": THINKING,
    "tools": attrs.evolve(TOOLS, tool_calls=(GET, PUT)),
    "tools_without_index": attrs.evolve(TOOLS, tool_calls=(GET, PUT)),
    "tools_without_index_and_id": attrs.evolve(
        TOOLS, tool_calls=(attrs.evolve(GET, id=None), attrs.evolve(PUT, id=None))
    ),
    "tools_with_repeated_names": TOOLS,
    "tools_with_parsed_arguments": TOOLS,
    "function_call": Choice(
        0, tool_calls=(attrs.evolve(GET, id=None),), finish_reason="function_call"
    ),
    "content_parts": attrs.evolve(THINKING, opaque=(REFERENCE,), places=(AT,)),
    "refusal": Choice(0, refusal="I'm sorry", finish_reason="stop"),
    "new_id_every_chunk": HELLO,
    "one_chunk": HELLO,
    "keys_absent": HELLO,
    "null_choices": HELLO,
    "floats": HELLO,
    "comments_first": HELLO,
    "finish_reason_twice": HELLO,
    "finish_reason_empty": HELLO,
    "content_filter": Choice(0, text="Hello", finish_reason="content_filter"),
    "azure_prompt_filter": HELLO,
    "lone_surrogates": attrs.evolve(HELLO, text="Hello\ufffd \ufffdworld \U0001f600"),
    "invalid_utf8": attrs.evolve(HELLO, text="Hello \ufffd world"),
    "control_characters": attrs.evolve(HELLO, text="Hello\0\x1f\u2028 world\ufffd"),
    "blank_data": HELLO,
    "named_events": HELLO,
    "data_without_space": HELLO,
    "data_over_lines": HELLO,
    "after_end_mark": HELLO,
    "message_instead_of_delta": HELLO,
    "message_beside_deltas": HELLO,
    "pings_with_text": HELLO,
    "content_numbers": attrs.evolve(HELLO, text="123.5"),
    "tools_as_one_object": TOOLS,
}


@pytest.mark.parametrize("name", WHOLE)
def test_an_oddity_of_a_real_server_is_read_as_meant(name: str) -> None:
    decoder, events = read(name)
    assert decoder.failure is None
    assert decoder.done
    assert isinstance(events[-1], Finished)
    assert events[-1].reason == WHOLE[name].finish_reason
    assert sum(isinstance(event, Finished) for event in events) == 1
    assert fold(events).choices() == (WHOLE[name],)


@pytest.mark.parametrize("name", ["new_id_every_chunk", "after_end_mark"])
def test_e3_another_id_and_events_after_the_end_mark_change_nothing(name: str) -> None:
    decoder, events = read(name)
    assert decoder.done
    assert fold(events).choices() == (HELLO,)
    assert decoder.feed(b'data: {"choices":[{"delta":{"content":"more"}}]}\n\n') == []


def test_every_stream_is_read_by_a_test() -> None:
    told = set(WHOLE) | {"two_choices", "two_choices_one_unfinished"}
    broken = ("error_", "truncated", "malformed")
    left = {path.stem for path in STREAMS.glob("*.sse")} - told
    assert {name for name in left if not name.startswith(broken)} == set()


def test_names_of_the_answer_are_the_first_that_were_sent() -> None:
    for name, response_id, model in [
        ("plain", "c1", "m1"),
        ("new_id_every_chunk", "c1", "m1"),
        ("azure_prompt_filter", "c1", "m1"),
        ("keys_absent", None, None),
    ]:
        decoder, _ = read(name)
        assert (decoder.response_id, decoder.response_model) == (response_id, model), name


def test_empty_text_and_a_role_are_no_events() -> None:
    decoder = OpenAIChatStream()
    decoder.feed(b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n')
    assert (
        decoder.feed(b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n') == []
    )
    assert decoder.feed(b'data: {"choices":[{"delta":{"content":""}}]}\n\n' * 3) == []


@pytest.mark.parametrize(
    "name", ["plain", "usage_chunk_with_choices", "usage_in_finish_chunk", "usage_in_x_groq"]
)
def test_usage_is_found_wherever_it_stands_and_told_once(name: str) -> None:
    _, events = read(name)
    assert [event for event in events if isinstance(event, UsageReport)] == [UsageReport(USAGE)]


def test_the_last_usage_counts() -> None:
    _, events = read("usage_grows")
    assert sum(isinstance(event, UsageReport) for event in events) == 2
    assert fold(events).usage == USAGE


def test_absent_usage_is_no_usage() -> None:
    assert fold(read("no_end_mark")[1]).usage is None


def test_e4_usage_without_sense_is_refused_and_the_stream_is_fine() -> None:
    _, events = read("usage_without_sense")
    fields = frozenset({
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "cache_write_tokens",
        "reasoning_tokens",
    })
    usage = fold(events).usage
    assert usage is not None
    assert attrs.evolve(usage, refused=frozenset()) == Usage(reported=fields)
    assert {"input_tokens", "output_tokens"} <= usage.refused


def test_counts_as_floats_are_counts() -> None:
    usage = fold(read("floats")[1]).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (7, 2)


def test_reasoning_counted_beside_the_completion_is_added_to_the_output() -> None:
    usage = fold(read("usage_beside_reasoning")[1]).usage
    assert usage is not None
    assert (usage.output_tokens, usage.reasoning_tokens, usage.total_tokens) == (292, 290, 304)


def test_every_choice_says_when_it_ends_and_the_stream_ends_after_them() -> None:
    decoder, events = read("two_choices", n=2)
    assert decoder.failure is None
    assert events[-3:] == [
        ChoiceFinished(1, "stop"),
        ChoiceFinished(0, "length"),
        Finished("length", "length"),
    ]
    assert fold(events).choices() == (
        Choice(0, text="Hello", finish_reason="length"),
        Choice(1, text="Goodbye", finish_reason="stop"),
    )


def test_e1_the_end_mark_is_the_end_though_the_body_goes_on() -> None:
    body = (STREAMS / "plain.sse").read_bytes()
    decoder = OpenAIChatStream()
    assert isinstance(decoder.feed(body)[-1], Finished)
    assert decoder.done
    assert decoder.feed(body) == []
    assert decoder.end() == []


def test_e2_finish_reasons_without_the_end_mark_wait_for_the_clean_end() -> None:
    decoder = OpenAIChatStream()
    events = decoder.feed((STREAMS / "no_end_mark.sse").read_bytes())
    assert events[-1] == ChoiceFinished(0, "stop")
    assert not decoder.done
    assert decoder.end() == [Finished("stop", "stop")]
    assert decoder.done
    assert decoder.end() == []
