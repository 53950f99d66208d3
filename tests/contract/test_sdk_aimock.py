"""SDKs over the engine against aimock: neither side of it was made here."""

from pathlib import Path
from typing import Any

import pytest

import streamnursery as sn
from streamnursery import sdk
from tests.contract.test_engine_aimock import AIMOCK, ANSWER, aimock
from tests.support.peers import needs

openai = pytest.importorskip("openai", reason="installed by `make contract`")
anthropic = pytest.importorskip("anthropic", reason="installed by `make contract`")

pytestmark = [
    pytest.mark.contract,
    needs(AIMOCK, "node"),
    pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def said(prompt: str) -> Any:
    return [{"role": "user", "content": prompt}]


async def ask_openai(client: Any, url: str, prompt: str) -> str:
    api = openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0, http_client=client)
    stream = await api.chat.completions.create(model="m", messages=said(prompt), stream=True)
    return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])


async def ask_anthropic(client: Any, url: str, prompt: str) -> str:
    api = anthropic.AsyncAnthropic(
        base_url=url.removesuffix("/v1"), api_key="k", max_retries=0, http_client=client
    )
    stream = await api.messages.create(model="m", max_tokens=50, messages=said(prompt), stream=True)
    return "".join([
        event.delta.text
        async for event in stream
        if event.type == "content_block_delta" and event.delta.type == "text_delta"
    ])


CASES: dict[str, tuple[Any, str, Any]] = {
    "openai": (ask_openai, "openai-chat", openai),
    "anthropic": (ask_anthropic, "anthropic-messages", anthropic),
}


@pytest.mark.parametrize("name", CASES)
async def test_answers_refusals_and_cuts_reach_the_sdk(name: str, tmp_path: Path) -> None:
    ask, dialect, module = CASES[name]
    async with aimock(tmp_path) as other:
        url = str(other.config.endpoints["peer"].url)
        peer = {"url": url, "dialect": dialect, "key": sn.Secret("k"), "learn_rates": False}
        config: Any = {"endpoints": {"peer": peer}, "defaults": {"retries": {"attempts": 1}}}
        async with sn.open_engine(config) as eng:
            client = sdk.async_client(eng, library="httpx2")
            assert await ask(client, url, "hello") == ANSWER
            for prompt in ("cut", "die"):
                with pytest.raises(Exception, match=r"(?i)connection|closed|ended") as caught:
                    await ask(client, url, prompt)
                kind = type(caught.value).__module__.partition(".")[0]
                assert kind in {"openai", "anthropic", "httpx2"}
            with pytest.raises(module.RateLimitError):
                await ask(client, url, "limit")
            with pytest.raises(module.InternalServerError):
                await ask(client, url, "boom")
            with pytest.raises(module.AuthenticationError):
                await ask(client, url, "key")
