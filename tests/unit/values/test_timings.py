"""Usage, timings and answers: what is not known is None and never zero."""

import pytest

from streamnursery.values.completion import Completion, Outcome
from streamnursery.values.errors import ServerError
from streamnursery.values.partial import Choice, Partial, ToolCall
from streamnursery.values.request import ChatRequest
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage

CALL = ToolCall(0, "id", "name", "{}")


@pytest.mark.parametrize(
    ("given", "answered", "total"),
    [(3, 4, 7), (0, 0, 0), (None, 4, None), (3, None, None), (None, None, None)],
)
def test_a_total_is_known_when_both_parts_are(
    given: int | None, answered: int | None, total: int | None
) -> None:
    assert Usage(input_tokens=given, output_tokens=answered).total_tokens == total


def test_zero_null_and_absent_are_three_things() -> None:
    zero = Usage(cached_tokens=0, reported=frozenset({"cached_tokens"}))
    null = Usage(reported=frozenset({"cached_tokens"}))
    absent = Usage()
    assert len({zero, null, absent}) == 3
    assert (zero.cached_tokens, null.cached_tokens, absent.cached_tokens) == (0, None, None)


def timings(
    admitted: float | None = None,
    first: float | None = None,
    last: float | None = None,
    ended: float | None = None,
    events: int = 0,
) -> Timings:
    return Timings(10.0, admitted, first, last, ended, events)


def test_what_was_not_reached_has_no_time() -> None:
    nowhere = timings()
    assert nowhere.queue_time is None
    assert nowhere.time_to_first_token is None
    assert nowhere.provider_time_to_first_token is None
    assert nowhere.duration is None
    assert nowhere.time_per_output_token() is None


def test_the_time_to_the_first_token_counts_from_the_call_its_parts_from_admission() -> None:
    times = timings(admitted=12.0, first=15.0, last=19.0, ended=20.0, events=5)
    assert times.queue_time == 2.0
    assert times.time_to_first_token == 5.0
    assert times.provider_time_to_first_token == 3.0
    assert times.duration == 10.0


def test_time_at_zero_is_a_time() -> None:
    times = Timings(0.0, 0.0, 0.0, 0.0, 0.0, 2)
    assert (times.queue_time, times.time_to_first_token, times.duration) == (0.0, 0.0, 0.0)
    assert times.time_per_output_token() == 0.0


@pytest.mark.parametrize(
    ("events", "tokens", "expected"),
    [(5, None, 1.0), (5, 9, 0.5), (1, None, None), (0, None, None), (5, 1, None), (1, 5, 1.0)],
)
def test_time_per_token_is_over_the_gaps(
    events: int, tokens: int | None, expected: float | None
) -> None:
    times = timings(admitted=12.0, first=15.0, last=19.0, events=events)
    assert times.time_per_output_token(tokens) == expected


def test_a_first_token_without_admission_has_no_provider_time() -> None:
    assert timings(first=15.0).provider_time_to_first_token is None


@pytest.mark.parametrize(
    "choice",
    [
        Choice(0, text="a"),
        Choice(0, reasoning="a"),
        Choice(0, refusal="a"),
        Choice(0, tool_calls=(CALL,)),
    ],
)
def test_a_partial_with_any_content_is_something(choice: Choice) -> None:
    assert Partial((choice,))


@pytest.mark.parametrize("choices", [(), (Choice(0),), (Choice(0, finish_reason="stop"),)])
def test_a_partial_without_content_is_nothing(choices: tuple[Choice, ...]) -> None:
    assert not Partial(choices, Usage(input_tokens=1))


def test_a_partials_shortcuts_are_those_of_the_first_choice() -> None:
    partial = Partial((Choice(0, "a", tool_calls=(CALL,)), Choice(1, "b")))
    assert (partial.text, partial.tool_calls) == ("a", (CALL,))
    assert (Partial().text, Partial().tool_calls) == ("", ())


def completion(*choices: Choice) -> Completion:
    return Completion(
        choices=choices,
        usage=None,
        timings=timings(),
        route="main/m",
        model=None,
        response_id=None,
        request_id=None,
    )


def test_a_completions_shortcuts_are_those_of_the_first_choice() -> None:
    whole = completion(Choice(0, "a", "why", tool_calls=(CALL,), finish_reason="stop"))
    assert (whole.text, whole.reasoning, whole.tool_calls) == ("a", "why", (CALL,))
    assert whole.finish_reason == "stop"


def test_a_completion_without_choices_has_empty_shortcuts() -> None:
    empty = completion()
    assert (empty.text, empty.reasoning, empty.tool_calls) == ("", "", ())
    assert empty.finish_reason is None


def test_an_outcome_is_well_when_there_is_an_answer() -> None:
    request = ChatRequest("m", ())
    assert Outcome(0, request, completion=completion()).ok
    assert not Outcome(0, request, error=ServerError("x")).ok
