"""The languages of Anthropic and Google against aimock, which was made by others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import streamnursery as sn
from tests.contract.test_engine_aimock import AIMOCK, ANSWER, aimock
from tests.support.peers import failure, needs

pytestmark = [pytest.mark.contract, needs(AIMOCK, "node")]
PATHS = {"anthropic-messages": "/v1", "gemini": "/v1beta"}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}},
}
languages = pytest.mark.parametrize("dialect", PATHS)


@asynccontextmanager
async def speaking(dialect: str, folder: Path) -> AsyncIterator[sn.Engine]:
    """An engine at aimock in this language."""
    async with aimock(folder) as other:
        url = str(other.config.endpoints["peer"].url).removesuffix("/v1") + PATHS[dialect]
        endpoint = {"url": url, "dialect": dialect, "key": sn.Secret("k"), "learn_rates": False}
        config: Any = {
            "endpoints": {"peer": endpoint},
            "defaults": {"retries": {"attempts": 1}},
        }
        async with sn.open_engine(config) as eng:
            yield eng


@languages
async def test_text_and_tool_calls_are_streamed(dialect: str, tmp_path: Path) -> None:
    async with speaking(dialect, tmp_path) as eng:
        completion = await eng.complete("m", "hello", max_tokens=50)
        assert (completion.text, completion.finish_kind) == (ANSWER, "stop")
        assert completion.usage is not None
        answer = await eng.complete("m", "tool", tools=[TOOL])
        (call,) = answer.tool_calls
        assert (call.name, answer.finish_kind) == ("weather", "tool_calls")
        assert '"Oslo"' in call.arguments


@languages
async def test_thoughts_are_told_and_come_back(dialect: str, tmp_path: Path) -> None:
    async with speaking(dialect, tmp_path) as eng:
        thought = await eng.complete("m", "think", max_tokens=50)
        assert (thought.reasoning, thought.text) == ("Let me see.", ANSWER)
        messages = [
            {"role": "user", "content": "think"},
            thought.message(),
            {"role": "user", "content": "hello"},
        ]
        assert (await eng.complete("m", messages=messages)).text == ANSWER


@languages
@pytest.mark.parametrize(
    ("prompt", "category"),
    [
        ("limit", "rate_limit_error"),
        ("boom", "server_error"),
        ("key", "authentication_error"),
        ("cut", "network_error"),
        ("die", "network_error"),
    ],
)
async def test_a_failure_has_its_category(
    dialect: str, prompt: str, category: str, tmp_path: Path
) -> None:
    async with speaking(dialect, tmp_path) as eng:
        error = await failure(eng, "m", prompt)
        assert error.category == category
        if error.committed:
            assert error.partial is not None
            assert ANSWER.startswith(error.partial.text)
