"""Budgets and prices in a configuration."""

import datetime
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from streamnursery.config import config_from_mapping, load_config
from streamnursery.config.price_list import FILE, matches, price_list
from streamnursery.config.prices import price_source
from streamnursery.core.money.pricing import cost
from streamnursery.values.budgets import Budget
from streamnursery.values.errors import ConfigError
from streamnursery.values.money import Money
from streamnursery.values.prices import BUILT_IN, FREE, Price, Tier, TokenRates
from streamnursery.values.settings import Route
from streamnursery.values.usage import Usage
from tests.price_list import lines

DAY = datetime.date(2026, 6, 1)


def problems(mapping: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        config_from_mapping(mapping, environ={})
    return caught.value.problems


def test_budgets_are_read_as_exact_amounts() -> None:
    mapping = {
        "budgets": {
            "daily": "100 USD",
            "monthly": 2000,
            "mode": "soft",
            "timezone": "Europe/Berlin",
            "alerts": [10, 100],
            "models": {"gpt-4.1": {"daily": "0.10"}},
            "tenants": {"acme": {"monthly": "5", "mode": "hard"}},
            "endpoints": {"sim": {"daily": "1"}},
        }
    }
    budgets = config_from_mapping(mapping, environ={}).budgets
    assert budgets.daily == Money.parse("100")
    assert budgets.monthly == Money.parse("2000")
    assert budgets.models == {"gpt-4.1": Budget(daily=Money(10**8))}
    assert budgets.tenants == {"acme": Budget(monthly=Money(5 * 10**9), mode="hard")}
    assert budgets.alerts == (10, 100)
    assert budgets.limited


def test_without_a_limit_nothing_is_limited() -> None:
    assert not config_from_mapping({"budgets": {"mode": "soft"}}, environ={}).budgets.limited


@pytest.mark.parametrize(
    ("table", "what"),
    [
        ({"daily": 1.5}, "in quotes"),
        ({"daily": True}, "in quotes"),
        ({"daily": "5 EUR"}, "US dollars"),
        ({"mode": "firm"}, '"hard" or "soft"'),
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"timezone": "../etc/passwd"}, "time zone"),
        ({"alerts": [80, 50]}, "rising"),
        ({"alerts": [0]}, "percentages"),
        ({"soft_at": 101}, "1 to 100"),
        ({"unknown_price": "guess"}, '"refuse" or "zero"'),
        ({"endpoints": {"main": {"daily": "1"}}}, "no endpoint is called"),
        ({"tenants": {" acme ": {"daily": "1"}}}, "cannot name a tenant"),
        ({"models": {"m": {"weekly": "1"}}}, "unknown key"),
        ({"ledger": 7}, "path"),
        ({"ledger": "a\0b"}, "path"),
    ],
)
def test_a_mistake_in_a_budget_is_told(table: dict[str, Any], what: str) -> None:
    (problem,) = problems({"budgets": table})
    assert what in problem


def test_a_price_has_rates_tiers_a_source_and_a_day() -> None:
    table = {
        "input": "3",
        "output": "15",
        "cached_input": "0.30",
        "tiers": [{"above": 200_000, "input": "6", "output": "22.5"}],
        "source": "the contract",
        "as_of": datetime.date(2026, 1, 1),
    }
    config = config_from_mapping({"models": {"m": {"price": table}}}, environ={})
    assert config.models["m"].price == (
        Price(
            TokenRates(3 * 10**9, 15 * 10**9, 3 * 10**8),
            (Tier(200_000, TokenRates(6 * 10**9, 22_500_000_000)),),
            "the contract",
            datetime.date(2026, 1, 1),
        ),
    )


@pytest.mark.parametrize(
    ("price", "whats"),
    [
        ({"input": "1"}, ["`output` is missing"]),
        ({"input": 0.5, "output": "x"}, ["`input` must be", "`output` must be"]),
        ({"input": "1", "output": "1", "outptu": "1"}, ['did you mean "output"']),
        ({"input": "1", "output": "1", "as_of": "yesterday"}, ["`as_of` must be a day"]),
        ({"input": "1", "output": "1", "tiers": [{"above": 0}]}, ["`input`", "`output`", "above"]),
        ({"input": "1", "output": "1", "tiers": 7}, ["`tiers` must be"]),
        ({"input": "1", "output": "1", "source": 7}, ["`source` must be"]),
        ([], ["array of 1 to 100"]),
        ("8", ["must be a table"]),
        ([{"input": "1", "output": "1"}, {"input": "2", "output": "1"}], ["the same day"]),
    ],
)
def test_every_mistake_in_a_price_is_told(price: object, whats: list[str]) -> None:
    found = problems({"models": {"m": {"price": price}}})
    assert len(found) == len(whats)
    for what, problem in zip(whats, found, strict=True):
        assert what in problem


def test_the_settings_show_amounts_and_prices_as_toml_writes_them(tmp_path: Path) -> None:
    text = (
        '[models.m]\nprice = { input = "1", output = "2.5", source = "us", as_of = 2026-01-01 }\n'
        '[budgets]\ndaily = "1"\nledger = "money.db"\n[budgets.models.m]\nmonthly = "7.5"\n'
    )
    (tmp_path / "streamnursery.toml").write_text(text)
    loaded = load_config(environ={}, cwd=tmp_path)
    values = {setting.key: setting.value for setting in loaded.settings}
    assert values["models.m.price"] == (
        '[{ input = "1.00", output = "2.50", source = "us", as_of = 2026-01-01 }]'
    )
    assert values["budgets.daily"] == '"1.00 USD"'
    assert values["budgets.models.m.monthly"] == '"7.50 USD"'
    assert loaded.config.budgets.ledger == str(tmp_path / "money.db")


def test_a_configured_price_comes_before_the_built_in_one() -> None:
    price = {"input": "1", "output": "1"}
    config = config_from_mapping({"models": {"gpt-4.1": {"price": price}}}, environ={})
    price_of = price_source(config)
    assert price_of("gpt-4.1", None, DAY) == Price(TokenRates(10**9, 10**9))
    assert price_of("deepseek-v3.2", None, DAY) is BUILT_IN["deepseek-v3.2"][0]


def test_simulated_models_are_free() -> None:
    price_of = price_source(config_from_mapping({}, environ={}))
    assert price_of("sim/fast", None, DAY) is FREE
    assert price_of("mine", Route("sim", "fast"), DAY) is FREE


def test_the_extra_knows_published_prices_without_a_network() -> None:
    pytest.importorskip("genai_prices")
    price_of = price_source(config_from_mapping({}, environ={}))
    price = price_of("claude-3-5-haiku-latest", None, DAY)
    assert price is not None and "genai-prices" in price.source
    assert price_of("a model that nobody sells", None, DAY) is None


@pytest.mark.parametrize("usage", [Usage(1000, 500), Usage(300_000, 10, 1000, 500)])
def test_the_extras_own_sum_is_ours(usage: Usage) -> None:
    genai = pytest.importorskip("genai_prices")
    for model in ("claude-sonnet-4-5", "gpt-4.1", "gpt-4o-mini"):
        price = price_source(config_from_mapping({}, environ={}))(model, None, DAY)
        assert price is not None
        theirs = genai.calc_price(
            genai.Usage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cached_tokens,
                cache_write_tokens=usage.cache_write_tokens,
            ),
            model,
            genai_request_timestamp=datetime.datetime.combine(DAY, datetime.time(12)),
        )
        assert cost(price, usage) == int(theirs.total_price * 10**9)


def test_without_the_extra_the_list_that_is_shipped_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "genai_prices", None)
    price_of = price_source(config_from_mapping({}, environ={}))
    price = price_of("gpt-4o", None, DAY)
    assert price is not None
    assert price.source.startswith("genai-prices ")
    assert price.source.endswith(": openai/gpt-4o")
    assert price.as_of == price_list().day
    assert price_of("gpt-4.1", None, DAY) is BUILT_IN["gpt-4.1"][0]
    assert price_of("a model that nobody sells", None, DAY) is None


def test_the_list_knows_the_models_of_each_provider_at_its_own_server() -> None:
    listed = price_list()
    assert listed.find("llama-3.3-70b-versatile", None) is None
    there = listed.find("llama-3.3-70b-versatile", "https://api.groq.com/openai/v1")
    assert there is not None
    assert listed.find("gpt-4o", "http://127.0.0.1:9/v1") is None
    hour = listed.find("claude-sonnet-4-5", "https://api.anthropic.com/v1")
    assert hour is not None
    assert hour.rates.cache_write_hour == 2 * hour.rates.input


@pytest.mark.parametrize(
    ("clause", "text", "expected"),
    [
        ({"starts_with": "GPT"}, "gpt-4", True),
        ({"ends_with": "-mini"}, "gpt-4", False),
        ({"contains": "4"}, "gpt-4", True),
        ({"equals": "gpt"}, "gpt-4", False),
        ({"regex": "^g.t"}, "gpt-4", True),
        ({"or": [{"equals": "x"}, {"equals": "gpt-4"}]}, "gpt-4", True),
        ({"and": [{"contains": "x"}, {"contains": "4"}]}, "gpt-4", False),
        ({"sounds_like": "x"}, "x", False),
    ],
)
def test_clauses_mean_what_they_say(clause: dict[str, Any], text: str, expected: bool) -> None:
    assert matches(clause, text) is expected


def test_the_list_is_what_the_installed_data_makes_of_its_day() -> None:
    genai = pytest.importorskip("genai_prices")
    listed = price_list()
    if not listed.source.startswith(f"genai-prices {genai.__version__} "):
        pytest.skip("the installed data is of another version than the list")
    assert b"\n".join(lines(listed.day)) + b"\n" == FILE.read_bytes()


def test_every_model_that_readme_and_help_name_has_a_price() -> None:
    root = Path(__file__).parents[3]
    texts = [root / "README.md", *(root / "engine/streamnursery/cli").glob("*.py")]
    named = {
        found.rstrip(".")
        for text in texts
        for found in re.findall(
            r"\b(?:gpt-[\d.]+[\w.-]*|claude-\w+-[\d.-]+|gemini-[\d.]+-\w+|deepseek-[\w.]+)",
            text.read_text(),
        )
    }
    assert named
    price_of = price_source(config_from_mapping({}, environ={}))
    assert [name for name in sorted(named) if price_of(name, None, DAY) is None] == []
