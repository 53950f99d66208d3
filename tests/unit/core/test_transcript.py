from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.events import (
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    Rerouted,
    Restarted,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.partial import ToolCall
from streamnursery.values.usage import Usage


def test_text_of_every_choice_is_kept_apart() -> None:
    t = Transcript()
    t.add([TextDelta("a"), TextDelta("x", 1), TextDelta("b")])
    t.add([TextDelta("c"), ChoiceFinished(0, "stop"), ChoiceFinished(1, "length")])
    first, second = t.choices()
    assert (first.text, first.finish_reason) == ("abc", "stop")
    assert (second.text, second.finish_reason) == ("x", "length")


def test_reasoning_refusal_and_usage_are_folded() -> None:
    t = Transcript()
    usage = Usage(input_tokens=1, output_tokens=2)
    t.add([ReasoningDelta("hm"), RefusalDelta("no"), UsageReport(usage), Finished("stop")])
    (choice,) = t.choices()
    assert (choice.text, choice.reasoning, choice.refusal) == ("", "hm", "no")
    assert t.partial().usage is usage


def test_tool_call_fragments_are_joined_and_the_first_name_stands() -> None:
    t = Transcript()
    t.add([ToolCallDelta(0, "id1", "search", '{"q"'), ToolCallDelta(1, "id2", "other", "{}")])
    t.add([ToolCallDelta(0, None, "search", ': "x"}')])
    assert t.choices()[0].tool_calls == (
        ToolCall(0, "id1", "search", '{"q": "x"}'),
        ToolCall(1, "id2", "other", "{}"),
    )


def test_a_restart_voids_what_was_said() -> None:
    t = Transcript()
    t.add([TextDelta("old"), UsageReport(Usage(1, 1))])
    t.add([Restarted(2, "idle"), TextDelta("new"), Rerouted("a", "b", "why")])
    assert t.partial().text == "new"
    assert t.usage is None


def test_an_empty_transcript_is_a_false_partial() -> None:
    assert not Transcript().partial()
    assert Transcript().partial().text == ""


def test_characters_are_those_of_everything_that_was_said_since_a_restart() -> None:
    t = Transcript()
    t.add([TextDelta("ab"), TextDelta("c", 1), ReasoningDelta("de"), RefusalDelta("f")])
    t.add([ToolCallDelta(0, arguments="{}")])
    t.add([TextDelta("gh"), TextDelta("i")])
    assert t.characters == 11
    t.add([Restarted(2, "idle")])
    assert t.characters == 0
