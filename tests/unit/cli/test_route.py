"""`route`: the choice among models, printed."""

import json

import pytest

from tests.support.cli import Command


@pytest.mark.parametrize(
    ("words", "model"),
    [
        (("--complexity", "8"), "claude-sonnet-4.5"),
        (("--complexity", "3", "--budget", "low"), "deepseek-v3.2"),
        (("--max-latency", "0.2"), "gemini-2.5-flash"),
        ((), "gemini-2.5-flash"),
        (("--strategy", "cheapest", "--complexity", "10"), "deepseek-v3.2"),
        (("--input-tokens", "500000", "--complexity", "9"), "gpt-4.1"),
    ],
)
def test_the_rules_choose_among_the_known_models(
    command: Command, words: tuple[str, ...], model: str
) -> None:
    found = json.loads(command("route", *words, "--json").out)
    assert found["model"] == model
    assert found["order"][0] == model
    assert found["reasons"]


def test_the_decision_is_printed_with_its_reasons(command: Command) -> None:
    ran = command("route", "--complexity", "8")
    assert ran.out.splitlines()[0].startswith("claude-sonnet-4.5: the strongest: complexity 8")
    assert "no model is configured" in ran.err


def test_configured_models_are_chosen_from(command: Command) -> None:
    text = (
        '[endpoints.a]\nurl = "http://127.0.0.1:9/v1"\n'
        '[models.owl]\nroutes = [{ endpoint = "a" }]\nquality = 10\ncontext = 2000\n'
        '[models.falcon]\nroutes = [{ endpoint = "a" }]\ntools = false\n'
    )
    command.write("streamnursery.toml", text)
    assert command("route", "--complexity", "9").out.startswith("owl: ")
    ran = command("route", "--input-tokens", "3000")
    assert ran.out.startswith("falcon: ")
    assert "left out: owl" in ran.out
    ran = command("route", "--input-tokens", "3000", "--tools")
    assert ran.code == 2
    assert "it has no tools" in ran.err


def test_a_complexity_out_of_range_is_told(command: Command) -> None:
    ran = command("route", "--complexity", "11")
    assert ran.code == 2
    assert "from 0 to 10" in ran.err


def test_times_that_nobody_configured_are_not_called_so(command: Command) -> None:
    out = command("route", "--complexity", "8").out
    assert "(built in)" in out
    assert "(configured)" not in out
