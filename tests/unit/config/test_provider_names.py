"""Models that the configuration does not name: where their names lead."""

from pathlib import Path

import pytest

from streamnursery.config import config_from_mapping, load_config
from streamnursery.core.routing.provider_names import provider_route
from streamnursery.values.settings import EngineConfig, Route

OWN = ("ANTHROPIC_API_KEY", "GEMINI_API_KEY", "DEEPSEEK_API_KEY", "GROQ_API_KEY")


def config(*variables: str, **more: str) -> EngineConfig:
    return load_config(environ=dict.fromkeys(variables, "k") | more, cwd=Path("/")).config


@pytest.mark.parametrize(
    ("variables", "model", "expected"),
    [
        (OWN, "anthropic/claude-sonnet-4-5", Route("anthropic", "claude-sonnet-4-5")),
        (OWN, "anthropic/claude-sonnet-4.5", Route("anthropic", "claude-sonnet-4-5")),
        (OWN, "claude-opus-4.1", Route("anthropic", "claude-opus-4-1")),
        (OWN, "claude-next", Route("anthropic", "claude-next")),
        (OWN, "gemini-2.5-flash", Route("gemini", "gemini-2.5-flash")),
        (OWN, "deepseek-v3.2", Route("deepseek", "deepseek-chat")),
        (OWN, "groq/openai/gpt-oss-20b", Route("groq", "openai/gpt-oss-20b")),
        (OWN, "gpt-4.1", None),
        (OWN, "llama", None),
        (("OPENAI_API_KEY", "ANTHROPIC_API_KEY"), "claude-x", Route("anthropic", "claude-x")),
        (("OPENAI_API_KEY",), "claude-x", None),
        (("OPENAI_API_KEY",), "anthropic/claude-x", None),
    ],
)
def test_a_name_leads_to_its_provider(
    variables: tuple[str, ...], model: str, expected: Route | None
) -> None:
    assert provider_route(model, config(*variables)) == expected


def test_a_gateway_that_is_the_default_serves_every_bare_name() -> None:
    settings = config(
        "OPENAI_API_KEY", "ANTHROPIC_API_KEY", OPENAI_BASE_URL="http://gateway.test/v1"
    )
    assert provider_route("claude-x", settings) is None
    assert provider_route("anthropic/claude-x", settings) == Route("anthropic", "claude-x")


def test_a_name_is_sent_as_it_was_written_to_a_server_of_the_callers() -> None:
    endpoint = {"url": "http://mine.test/v1", "dialect": "anthropic-messages"}
    settings = config_from_mapping({"endpoints": {"anthropic": endpoint}}, environ={})
    assert provider_route("anthropic/claude-sonnet-4.5", settings) == Route(
        "anthropic", "claude-sonnet-4.5"
    )
    assert provider_route("claude-sonnet-4.5", settings) is None
