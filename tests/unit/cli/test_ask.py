"""Answers from the built-in simulator, in every form."""

import json

import pytest
from trio.testing import MockClock

from streamnursery.cli.exits import Exit
from streamnursery.simulator.grammar import split_model
from tests.support.cli import Command

SAID = "sim/fast?respond.text=The sky scatters blue."


def test_the_text_goes_to_stdout_and_nothing_to_stderr(command: Command) -> None:
    ran = command("ask", "Why?", "-m", SAID)
    assert (ran.code, ran.out, ran.err) == (0, "The sky scatters blue.\n", "")


def test_figures_go_to_stderr_on_demand(command: Command) -> None:
    ran = command("ask", "Why is that so?", "-m", SAID, "-v")
    assert ran.out == "The sky scatters blue.\n"
    assert "7 + 4 tokens" in ran.err
    assert "request req-sim-1" in ran.err


def test_several_models_come_in_the_order_of_the_command(
    command: Command, virtual_time: MockClock
) -> None:
    slow = "sim/fast?respond.text=slow&delay=5"
    ran = command("ask", "Why?", "-m", slow, "-m", SAID)
    assert ran.out == f"== {slow} ==\nslow\n\n== {SAID} ==\nThe sky scatters blue.\n"
    assert virtual_time.current_time() == 5


def test_a_model_that_is_named_twice_is_asked_once(command: Command) -> None:
    assert command("ask", "Why?", "-m", SAID, "-m", SAID).out == "The sky scatters blue.\n"


def test_json_is_one_object(command: Command) -> None:
    ran = command("ask", "Why?", "-m", SAID, "--json")
    answer = json.loads(ran.out)
    assert ran.out.count("\n") == 1
    assert answer["text"] == "The sky scatters blue."
    assert answer["finish_reason"] == "stop"
    assert answer["usage"]["output_tokens"] == 4
    assert answer["request_id"] == "req-sim-1"
    assert answer["route"] == f"sim/{split_model(SAID)[0]}?{SAID.partition('?')[2]}"
    assert answer["timings"]["duration"] > 0
    assert answer["cost"]["usd"] == "0.00"
    assert answer["cost"]["source"] == "served by the built-in simulator"
    assert answer["error"] is None


def test_json_of_several_models_is_one_object_too(command: Command) -> None:
    ran = command("ask", "Why?", "-m", SAID, "-m", "sim/fast?status=401", "--json")
    first, second = json.loads(ran.out)["answers"]
    assert ran.code == Exit.SOME_FAILED
    assert first["error"] is None
    assert second["error"]["type"] == "AuthError"
    assert second["error"]["status"] == 401
    assert second["text"] == ""


def test_jsonl_is_one_event_per_line(command: Command) -> None:
    ran = command("ask", "Why?", "-m", SAID, "--jsonl")
    events = [json.loads(line) for line in ran.out.splitlines()]
    assert {event["model"] for event in events} == {SAID}
    kinds = [event["event"] for event in events]
    assert kinds == [*["text_delta"] * 4, "choice_finished", "usage_report", "finished"]
    assert "".join(event.get("text", "") for event in events) == "The sky scatters blue."


def test_jsonl_of_a_failed_answer_ends_with_the_error(command: Command) -> None:
    ran = command("ask", "Why?", "-m", f"{SAID}&cut=2", "--jsonl")
    last = json.loads(ran.out.splitlines()[-1])
    assert last["event"] == "failed"
    assert last["error"]["category"] == "network_error"
    assert ran.code == Exit.UNAVAILABLE


def test_reasoning_stays_out_of_the_text(command: Command) -> None:
    assert command("ask", "Why?", "-m", f"{SAID}&reasoning=3").out == "The sky scatters blue.\n"


def test_a_refusal_is_what_the_model_said(command: Command) -> None:
    assert command("ask", "Why?", "-m", f"{SAID}&refuse").out == "The sky scatters blue.\n"


def test_a_partial_answer_is_shown_with_what_broke_it(command: Command) -> None:
    ran = command("ask", "Why?", "-m", f"{SAID}&cut=2")
    assert ran.out == "The sky\n"
    assert ran.code == Exit.UNAVAILABLE
    assert ran.err.startswith("error: ")
    assert "request id req-sim-1" in ran.err


def test_a_deadline_has_an_exit_code_of_its_own(command: Command, virtual_time: MockClock) -> None:
    ran = command("ask", "Why?", "-m", f"{SAID}&stall=1", "--timeout", "9")
    assert virtual_time.current_time() == 9
    assert ran.code == Exit.DEADLINE
    assert ran.out == "The\n"
    assert "--timeout" in ran.err


def test_an_answer_that_was_cut_off_says_so(command: Command) -> None:
    ran = command("ask", "Why?", "-m", "sim/fast", "--max-tokens", "3")
    assert "--max-tokens" in ran.err
    assert command("ask", "Why?", "-m", "sim/fast", "--max-tokens", "3", "-q").err == ""


def test_the_system_text_and_the_parameters_are_sent(command: Command) -> None:
    plain = json.loads(command("ask", "Why?", "-m", "sim/fast", "--json").out)
    words = ("--system", "Be very brief.", "--temperature", "0", "--max-tokens", "3")
    told = json.loads(command("ask", "Why?", "-m", "sim/fast", "--json", *words).out)
    assert told["usage"]["input_tokens"] == plain["usage"]["input_tokens"] + 6
    assert told["usage"]["output_tokens"] == 3


def test_codes_of_several_failures_are_joined(command: Command) -> None:
    both = command("ask", "Why?", "-m", "sim/fast?status=401", "-m", "sim/fast?status=404")
    assert both.code == Exit.UNAVAILABLE
    assert both.err.count("error: sim/fast?status=") == 2


@pytest.mark.parametrize(
    ("model", "hint"),
    [("sim/fsat", "did you mean sim/fast?"), ("sim/fast?cutt=3", 'did you mean "cut"?')],
)
def test_a_misspelt_simulated_model_is_seen_before_it_is_asked(
    command: Command, model: str, hint: str
) -> None:
    ran = command("ask", "Why?", "-m", model)
    assert ran.code == Exit.USAGE
    assert hint in ran.err


def test_half_a_character_is_escaped_in_json(command: Command) -> None:
    ran = command("ask", "Why?", "-m", "sim/fast?bad_utf8=1&respond.text=a b c", "--json")
    ran.out.encode("utf-8")
    json.loads(ran.out)
