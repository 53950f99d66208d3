"""A request is checked before anything is queued, and everything wrong is said at once."""

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from streamnursery.values.errors import RequestError
from streamnursery.values.policy import Patience, Priority, Retries
from streamnursery.values.request import ChatRequest, as_priority, check_request, make_request

HUGE, TINY = (pytest.param(sign * 10**5000, id="huge") for sign in (1, -1))
HI = ({"role": "user", "content": "Hi"},)


def refused(**fields: object) -> str:
    request = attrs.evolve(ChatRequest("m", HI))
    for name, value in fields.items():
        object.__setattr__(request, name, value)
    with pytest.raises(RequestError) as caught:
        check_request(request)
    assert caught.value.category == "request_error"
    assert not caught.value.retryable
    return str(caught.value)


def test_a_prompt_becomes_one_user_message() -> None:
    assert make_request("m", "Hi") == ChatRequest("m", [{"role": "user", "content": "Hi"}])


def test_messages_are_passed_through_untouched() -> None:
    parts = [{"type": "image_url", "image_url": {"url": "data:x"}}, {"type": "odd"}]
    messages = [{"role": "user", "content": parts}, {"role": "tool", "tool_call_id": "1"}]
    assert make_request("m", messages).messages is messages


def test_fields_are_those_of_the_request() -> None:
    request = make_request(
        "m", "Hi", max_tokens=5, priority=Priority.BATCH, patience=Patience(), retries=Retries()
    )
    assert (request.max_tokens, request.priority) == (5, Priority.BATCH)


def test_a_request_is_taken_as_it_is_or_with_fields_changed() -> None:
    request = ChatRequest("m", HI)
    assert make_request(request) is request
    assert make_request(request, max_tokens=3) == attrs.evolve(request, max_tokens=3)


def test_messages_may_be_given_by_name() -> None:
    assert make_request("m", messages=HI) == ChatRequest("m", HI)


@pytest.mark.parametrize("arguments", [(ChatRequest("m", HI), "Hi"), ("m", "Hi")])
def test_two_prompts_are_one_too_many(arguments: Any) -> None:
    fields: dict[str, Any] = {"messages": HI} if arguments[0] == "m" else {}
    with pytest.raises(RequestError, match="only one of them"):
        make_request(*arguments, **fields)


@pytest.mark.parametrize("model", [None, 5, b"m", ["m"]])
def test_the_first_argument_is_a_name_or_a_request(model: Any) -> None:
    with pytest.raises(RequestError, match="a model name or a ChatRequest, not"):
        make_request(model, "Hi")


def test_an_unknown_field_belongs_into_extra() -> None:
    with pytest.raises(RequestError, match=r"unknown request field: top_k; .* extra"):
        make_request("m", "Hi", top_k=5)
    with pytest.raises(RequestError, match="unknown request field: a, b; "):
        make_request(ChatRequest("m", HI), b=5, a=6)


@pytest.mark.parametrize("model", ["", "  ", "\n", None, 5])
def test_a_model_has_a_name(model: object) -> None:
    assert refused(model=model) == "model must be a non-empty name"


@pytest.mark.parametrize("messages", [None, b"Hi", 5, {"role": "user"}, {1}])
def test_messages_are_a_sequence(messages: object) -> None:
    assert refused(messages=messages).startswith("messages must be a prompt or a sequence")


def test_a_text_stands_for_one_message_wherever_messages_are_given() -> None:
    assert ChatRequest("m", "Hi").messages == [{"role": "user", "content": "Hi"}]
    assert make_request("m", messages="Hi") == make_request("m", "Hi") == ChatRequest("m", "Hi")
    assert attrs.evolve(ChatRequest("m", HI), messages="Hi") == ChatRequest("m", "Hi")


@pytest.mark.parametrize(
    ("given", "found"), [("batch", Priority.BATCH), ("interactive", Priority.INTERACTIVE)]
)
def test_a_priority_may_be_given_by_its_name(given: str, found: Priority) -> None:
    assert ChatRequest("m", HI, priority=given).priority is found  # type: ignore[arg-type]
    assert as_priority(given) is as_priority(found) is found
    assert "'interactive' or 'batch'" in refused(priority="urgent")
    with pytest.raises(RequestError, match="'interactive' or 'batch', not 1"):
        as_priority(1)


def test_messages_are_not_empty() -> None:
    assert refused(messages=()).startswith("messages is empty; give at least one")


@pytest.mark.parametrize("message", ["Hi", None, {}, {"role": 5}, {"role": None}, []])
def test_every_message_has_a_role(message: object) -> None:
    assert refused(messages=[*HI, message]) == "messages[1] must be a mapping with a 'role'"


@pytest.mark.parametrize("name", ["max_tokens", "n"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5", float("nan"), TINY])
def test_counts_are_whole_numbers_from_one_on(name: str, value: object) -> None:
    assert refused(**{name: value}).startswith(f"{name} must be a whole number >= 1, not ")


@pytest.mark.parametrize(("name", "top"), [("temperature", 2), ("top_p", 1)])
@pytest.mark.parametrize("value", [-0.1, 2.1, float("nan"), float("inf"), True, "1", HUGE])
def test_temperature_and_top_p_have_their_range(name: str, top: int, value: object) -> None:
    assert refused(**{name: value}).startswith(f"{name} must be between 0 and {top}, not ")


@pytest.mark.parametrize(
    "fields", [{"temperature": 0}, {"temperature": 2.0}, {"top_p": 1}, {"seed": -1}, {"n": 3}]
)
def test_the_ends_of_the_ranges_are_in_them(fields: Mapping[str, object]) -> None:
    assert make_request("m", "Hi", **fields).model == "m"


@pytest.mark.parametrize("seed", [1.0, True, "1"])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    assert refused(seed=seed).startswith("seed must be a whole number")


def test_extra_is_a_mapping_without_stream() -> None:
    assert refused(extra=[]) == "extra must be a mapping"
    assert "may not contain 'stream'" in refused(extra={"stream": False})
    assert make_request("m", "Hi", extra={"top_k": 5}).extra == {"top_k": 5}


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "seed"])
def test_a_prompt_in_the_wrong_place_is_not_repeated(name: str) -> None:
    assert refused(**{name: "canary"}).endswith(", not str")


def test_everything_wrong_is_said_at_once() -> None:
    message = refused(model="", messages=(), n=0, temperature=9, seed="x", extra=5)
    assert len(message.split("; ")) >= 6
    for name in ("model", "messages", "n must", "temperature", "seed", "extra"):
        assert name in message


def test_t2_the_repr_shows_no_prompt() -> None:
    request = ChatRequest(
        "m",
        [{"role": "user", "content": "canary"}],
        tools=[{"canary": 1}],
        response_format={"canary": 1},
        user="canary",
        metadata={"canary": "x"},
        extra={"canary": 1},
    )
    assert "canary" not in repr(request)
    assert "canary" not in str(request)


def test_a_request_is_changed_by_making_another() -> None:
    for name in attrs.fields_dict(ChatRequest):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(ChatRequest("m", HI), name, None)


@pytest.mark.parametrize(
    ("name", "value"),
    [("priority", "urgent"), ("priority", 7), ("patience", {"idle": 1}), ("retries", 3)],
)
def test_a_policy_is_a_value_of_its_own_class(name: str, value: object) -> None:
    assert refused(**{name: value}).startswith(f"{name} must be a {name.title()}, ")
