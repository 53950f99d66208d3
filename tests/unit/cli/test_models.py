"""`models`: what is configured and what is simulated."""

import json

import pytest

from streamnursery.simulator import PROFILES
from tests.support.cli import Command


def test_the_simulated_models_are_always_there(command: Command) -> None:
    listed = json.loads(command("models", "--json").out)
    assert [model["name"] for model in listed["models"]] == [f"sim/{name}" for name in PROFILES]
    assert listed["default_endpoint"] is None


def test_configured_models_come_first_with_routes_and_limits(command: Command) -> None:
    text = (
        '[endpoints.a]\nurl = "http://127.0.0.1:9/v1"\n'
        '[models.falcon]\nroutes = [{ endpoint = "a", model = "f-1" }]\nmax_streams = 3\n'
        'fallback = ["sim/fast"]\n[models.owl]\n[models."sim/fast"]\nmax_streams = 99\n'
    )
    command.write("streamnursery.toml", text)
    falcon, owl, *simulated = json.loads(command("models", "--json").out)["models"]
    assert falcon == {
        "name": "falcon",
        "routes": ["a/f-1"],
        "max_streams": 3,
        "fallback": ["sim/fast"],
        "quality": None,
        "context": None,
        "price": None,
    }
    assert owl["routes"] == ["a/owl"]
    assert simulated[-1]["max_streams"] == 99


def test_the_table_has_a_line_for_each(command: Command) -> None:
    ran = command("models")
    assert len(ran.out.splitlines()) == 1 + len(PROFILES)
    assert "OPENAI_API_KEY" in ran.err


def test_the_default_endpoint_is_named(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert "any other name goes to openai at http://127.0.0.1:9/v1" in command("models").err


def test_prices_are_shown_with_their_day_and_source(command: Command) -> None:
    text = (
        '[endpoints.a]\nurl = "http://127.0.0.1:9/v1"\n[models."gpt-4.1"]\n'
        'routes = [{ endpoint = "a" }]\n[models.own]\nroutes = [{ endpoint = "a" }]\n'
        'price = { input = "1", output = "2.5", source = "ours", as_of = 2026-01-01 }\n'
    )
    command.write("streamnursery.toml", text)
    known, own, *_ = json.loads(command("models", "--json").out)["models"]
    assert known["price"]["output"] == "8.00"
    assert known["price"]["source"].startswith("https://")
    assert own["price"] == {
        "input": "1.00",
        "output": "2.50",
        "tiers": [],
        "source": "ours",
        "as_of": "2026-01-01",
    }
    assert "1.00 / 2.50" in command("models").out


def test_the_cost_of_tokens_comes_cheapest_first(command: Command) -> None:
    found = json.loads(command("models", "--cost", "1M", "--json").out)
    assert [(m["name"], m["output"]) for m in found["models"]] == [
        ("deepseek-v3.2", "0.42"),
        ("gemini-2.5-flash", "2.50"),
        ("gpt-4.1", "8.00"),
        ("claude-sonnet-4.5", "15.00"),
    ]
    # Many requests of ordinary size, and not one above the tier of 200,000 tokens.
    assert {m["name"]: m["input"] for m in found["models"]}["claude-sonnet-4.5"] == "3.00"
    table = command("models", "--cost", "500k").out.splitlines()
    assert table[0].split()[:3] == ["model", "500,000", "in"]
    assert table[1].startswith("deepseek-v3.2") and "0.21 USD" in table[1]


@pytest.mark.parametrize("text", ["0", "many", "1.5M", "-1", ""])
def test_what_are_no_tokens_is_told(command: Command, text: str) -> None:
    ran = command("models", f"--cost={text}")
    assert ran.code == 2
    assert "must be tokens such as" in ran.err


def test_spellings_that_an_api_refuses_are_shown_with_its_own(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    assert "claude-sonnet-4.5 is asked as anthropic/claude-sonnet-4-5" in command("models").err
    listed = json.loads(command("models", "--json").out)
    assert listed["spellings"]["anthropic"]["claude-opus-4.1"] == "claude-opus-4-1"
