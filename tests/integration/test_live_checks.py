"""The checks of `make live`, against simulated providers: they pass, and they can fail."""

from random import Random
from typing import Any

import pytest
import trio

from streamnursery.config.providers import PROVIDERS
from streamnursery.simulator import (
    CallTool,
    NoEndMark,
    Plan,
    Profile,
    Provider,
    Reasoning,
    Rule,
    When,
    serve_loopback,
)
from streamnursery.values.secret import Secret
from tests import live
from tests.support.guard import GUARD

ROWS = {preset.name: preset for preset in PROVIDERS}
CALLS = Rule((Reasoning(2), CallTool()), When(requests=(2,)))


async def asked(name: str, plan: Plan) -> bool:
    """Whether a simulated provider of this name passes."""
    model = live.MODELS[name]
    models = {model: Profile(output_tokens=(8, 8))}
    provider = Provider(dice=Random(1), models=models, plan=plan, key=Secret("right"))
    async with trio.open_nursery() as nursery:
        server = await serve_loopback(provider, nursery=nursery)
        config = live.config_of(ROWS[name], "right")
        endpoint: dict[str, Any] = config["endpoints"][name]
        endpoint["url"] = server.url.removesuffix("/v1") + _path(endpoint)
        config["models"][model]["price"] = {"input": "1", "output": "1"}
        good = await live.passes(name, config, model)
        await server.stop(grace=GUARD)
    return good


def _path(endpoint: dict[str, Any]) -> str:
    return "/v1beta" if endpoint.get("dialect") == "gemini" else "/v1"


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
async def test_a_provider_that_behaves_passes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await asked(name, Plan((CALLS,))), capsys.readouterr().out


@pytest.mark.parametrize("name", ["anthropic", "gemini"])
async def test_one_that_never_says_that_it_has_finished_does_not(name: str) -> None:
    assert not await asked(name, Plan((CALLS, Rule((NoEndMark(),), When(requests=(1,))))))


async def test_one_that_calls_no_tool_does_not() -> None:
    assert not await asked("openai", Plan())


def test_only_providers_whose_key_is_set_are_asked() -> None:
    assert live.keys({"ANTHROPIC_API_KEY": "k", "GROQ_API_KEY": " "}) == {"anthropic": "k"}
    assert set(live.MODELS) == set(ROWS)
