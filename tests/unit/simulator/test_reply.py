"""What a simulated model says."""

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.simulator import CallTool, Provider, Reasoning, Refuse, Respond
from streamnursery.simulator.question import MAX_OUTPUT, Question, question_from
from streamnursery.simulator.reply import Reply, ReplyChoice, make_reply
from streamnursery.values.request import ChatRequest

if TYPE_CHECKING:
    from streamnursery.simulator.script import Script

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "days": {"type": "integer"},
                "unit": {"enum": ["C", "F"]},
                "exact": {"type": "boolean"},
                "odd": True,
            },
        },
    },
}
prompts = st.text(st.characters(codec="utf-8"), max_size=40)


def question(prompt: str = "hi", **fields: Any) -> Question:
    return question_from({
        "model": "sim/fast",
        "messages": [{"role": "user", "content": prompt}],
        **fields,
    })


def reply(
    asked: Question, *script: Any, lengths: tuple[int, int] = (8, 20), salt: str = ""
) -> Reply:
    faults: Script = script
    return make_reply(asked, faults, lengths, salt)


def only(asked: Question, *script: Any, **options: Any) -> ReplyChoice:
    (choice,) = reply(asked, *script, **options).choices
    return choice


@given(prompts, st.none() | st.integers(-5, 5))
def test_equal_prompts_and_seeds_give_equal_words(prompt: str, seed: int | None) -> None:
    one = reply(question(prompt, seed=seed))
    assert one == reply(question(prompt, seed=seed))
    assert 8 <= one.output_tokens <= 20
    assert one.choices[0].finish == "stop"


def test_another_prompt_seed_model_choice_or_salt_gives_other_words() -> None:
    texts = [
        only(question()).text,
        only(question("ho")).text,
        only(question(seed=1)).text,
        only(question(model="gpt-4.1")).text,
        only(question(), salt="2").text,
        reply(question(n=2)).choices[1].text,
    ]
    assert len(set(texts)) == len(texts)
    assert reply(question(n=2)).choices[0].text == texts[0]


@given(prompts, st.integers(1, 30))
def test_max_tokens_only_cuts_an_answer_short(prompt: str, most: int) -> None:
    whole, cut = only(question(prompt)), only(question(prompt, max_tokens=most))
    assert cut.words == whole.words[:most]
    assert cut.finish == ("length" if most < len(whole.words) else "stop")


def test_max_completion_tokens_goes_before_max_tokens() -> None:
    assert only(question(max_tokens=5, max_completion_tokens=3)).output_tokens == 3


@given(prompts, st.lists(st.text("aeiou ", min_size=1, max_size=3), min_size=1, max_size=3))
def test_stop_ends_the_text_before_the_first_of_its_strings(prompt: str, stops: list[str]) -> None:
    whole, cut = only(question(prompt)), only(question(prompt, stop=stops))
    found = [whole.text.find(stop) for stop in stops if stop in whole.text]
    assert cut.text == (whole.text[: min(found)] if found else whole.text)
    assert all(cut.words)


def test_a_given_text_comes_back_word_by_word() -> None:
    choice = only(question(), Respond(text="  Grüße,\n\n 東京!  ", finish="content_filter"))
    assert choice.text == "  Grüße,\n\n 東京!  "
    assert choice.words == ("  Grüße,", "\n\n 東京!", "  ")
    assert choice.finish == "content_filter"
    assert only(question(), Respond(text="")).words == ()


def test_a_number_of_tokens_can_be_asked_for_up_to_a_bound() -> None:
    assert only(question(), Respond(tokens=500)).output_tokens == 500
    assert only(question(), Respond(tokens=0)).text == ""
    huge = only(question(), Respond(tokens=10**9))
    assert (huge.output_tokens, huge.finish) == (MAX_OUTPUT, "length")


def test_reasoning_comes_first_and_counts_as_output() -> None:
    said = reply(question(max_tokens=6), Reasoning(4))
    choice = said.choices[0]
    assert [part for part, _ in choice.deltas()] == ["reasoning_content"] * 4 + ["content"] * 2
    assert (said.output_tokens, said.reasoning_tokens) == (6, 4)
    assert only(question(max_tokens=3), Reasoning(4)).finish == "length"


def test_a_refusal_is_the_text_in_another_field() -> None:
    assert {part for part, _ in only(question(), Refuse()).deltas()} == {"refusal"}


def test_choices_speak_in_turn() -> None:
    said = reply(question(n=3), Respond(text="a b"))
    assert [index for index, _, _ in said.deltas()] == [0, 1, 2, 0, 1, 2]
    assert said.output_tokens == 6


@pytest.mark.parametrize(
    "choice", ["required", {"type": "function", "function": {"name": "weather"}}]
)
def test_a_forced_tool_is_called_with_arguments_of_its_types(choice: object) -> None:
    said = only(question(tools=[WEATHER], tool_choice=choice))
    (call,) = said.calls
    arguments = json.loads(call.arguments)
    assert (call.function, said.finish) == ("weather", "tool_calls")
    assert list(arguments) == ["city", "days", "unit", "exact", "odd"]
    assert isinstance(arguments["city"], str) and isinstance(arguments["days"], int)
    assert arguments["unit"] in ("C", "F")
    assert isinstance(arguments["exact"], bool)
    assert arguments["odd"] is None


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_tools_that_nobody_forces_are_not_called(choice: object) -> None:
    assert not only(question(tools=[WEATHER], tool_choice=choice)).calls


def test_a_script_can_call_several_tools_in_fragments() -> None:
    said = only(question(), CallTool("a", '{"x":1}', 3), CallTool("b"))
    first, second = said.calls
    assert (first.fragments, second.arguments) == (('{"x', '":1', "}"), "{}")
    deltas = [content[0] for _, content in said.deltas()]
    assert [delta["index"] for delta in deltas] == [0, 0, 0, 0, 1, 1]
    assert [delta.get("id") for delta in deltas[1:4]] == [None] * 3
    assert said.output_tokens == 6


def test_a_tool_call_breaks_off_when_the_tokens_run_out() -> None:
    said = only(question(max_tokens=3), CallTool("a", '{"x":1}', 3))
    assert (said.calls[0].arguments, said.finish) == ('{"x":1', "length")


def test_input_tokens_are_the_words_of_all_messages() -> None:
    messages = [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "one two three"}, {"type": "x"}]},
        {"role": "assistant", "content": None},
    ]
    assert reply(question(messages=messages)).input_tokens == 3 * 3 + 2 + 3


def test_expected_text_is_that_of_the_engines_own_request() -> None:
    provider = Provider(dice=Random(1))
    request = ChatRequest("sim/fast", [{"role": "user", "content": "hi"}], seed=3, max_tokens=4)
    body = {"model": "fast", "messages": request.messages, "seed": 3, "max_tokens": 4}
    text = provider.expected_text(request)
    assert text == provider.expected_text(body)
    assert len(text.split()) == 4
    assert provider.expected_text({**body, "model": "sim/fast?respond.text=yes"}) == "yes"
    assert provider.expected_text(body, script=(Respond(text="no"),)) == "no"
    with pytest.raises(ValueError, match="does not exist"):
        provider.expected_text({**body, "model": "none"})
