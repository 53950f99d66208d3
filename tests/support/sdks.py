"""The SDKs that people use, asked over an engine; in any interpreter that has one of them.

    python -m tests.support.sdks reads|cuts|refused NAME FOLDER

prints as JSON, in its last line, what the SDK made of recorded streams: whole ones, or cut at every
byte, or of a spent budget.
"""

import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

import streamnursery as sn
from streamnursery import Secret, aio, sdk, sync
from streamnursery.serving.steps import How
from tests.support.recorded import Recorded, live

HI: Any = [{"role": "user", "content": "hi"}]
KEY = "sk-live"
MODEL = "m"
_KEYS = ("authorization", "x-api-key", "x-goog-api-key")
_BEATS = 5
"""Cuts between two whole answers: a server that only breaks is not asked any more for a while."""


@asynccontextmanager
async def _in_threads(settings: dict[str, Any]) -> AsyncIterator[Any]:
    """For SDKs that block: there is nothing beside them."""
    with sync.open_engine(settings) as eng:
        yield eng


@attrs.frozen
class World:
    """Where an SDK runs."""

    run: Callable[..., Any]
    open_engine: Callable[[dict[str, Any]], AbstractAsyncContextManager[Any]]
    client: Callable[[Any], Any]
    plain: str = "AsyncClient"
    """The HTTP library's own."""


ASYNCIO = World(asyncio.run, aio.open_engine, sdk.async_client)
TRIO = World(trio.run, sn.open_engine, sdk.async_client)
THREADS = World(asyncio.run, _in_threads, sdk.client, "Client")


@attrs.frozen
class SDK:
    """How an SDK is asked for a stream over a client of ours."""

    language: str
    """That of its recordings."""
    ask: Callable[[Any, str], Coroutine[Any, Any, str]]
    """With the HTTP client and the base URL; the text of the answer."""
    module: str
    """What has to be installed for it."""
    peer: str = ""
    """The environment of `tests/contract/setup` that has it; empty for that of the tests."""
    world: World = ASYNCIO

    def over(self, settings: dict[str, Any], url: str) -> str:
        """What it reads over an engine of that configuration."""

        async def main() -> str:
            async with self.world.open_engine(settings) as eng:
                return await self.ask(self.world.client(eng), url)

        return str(_run(self.world, main))


async def ask_openai(client: Any, url: str) -> str:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=client) as api:
        stream = await api.chat.completions.create(model=MODEL, messages=HI, stream=True)
        return "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])


async def ask_openai_in_a_thread(client: Any, url: str) -> str:
    from openai import OpenAI

    with OpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=client) as api:
        stream = api.chat.completions.create(model=MODEL, messages=HI, stream=True)
        return "".join([c.choices[0].delta.content or "" for c in stream if c.choices])


async def ask_openai_responses(client: Any, url: str) -> str:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=client) as api:
        stream = await api.responses.create(model=MODEL, input="hi", stream=True)
        return "".join([e.delta async for e in stream if e.type == "response.output_text.delta"])


async def ask_anthropic(client: Any, url: str) -> str:
    from anthropic import AsyncAnthropic

    async with AsyncAnthropic(
        base_url=url.removesuffix("/v1"), api_key=KEY, max_retries=0, http_client=client
    ) as api:
        text = ""
        stream = await api.messages.create(model=MODEL, max_tokens=9, messages=HI, stream=True)
        async for event in stream:
            if event.type == "content_block_delta":
                text += getattr(event.delta, "text", None) or ""
        return text


async def ask_google(client: Any, url: str) -> str:
    from google import genai

    options = genai.types.HttpOptions(
        base_url=url.removesuffix("/v1"), api_version="v1", httpx_async_client=client
    )
    api = genai.Client(api_key=KEY, http_options=options)
    text = ""
    stream = await api.aio.models.generate_content_stream(model=MODEL, contents="hi")
    async for chunk in stream:
        text += chunk.text or ""
    return text


async def ask_langchain(client: Any, url: str) -> str:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(
        model=MODEL,
        base_url=url,
        api_key=KEY,
        max_retries=0,
        http_async_client=client,
    )
    return "".join([str(chunk.content) async for chunk in model.astream("hi")])


async def ask_pydantic_ai(client: Any, url: str) -> str:
    from openai import AsyncOpenAI
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    api = AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=client)
    agent = Agent(OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=api)))
    async with agent.run_stream("hi") as result:
        return "".join([piece async for piece in result.stream_text(delta=True)])


async def ask_instructor(client: Any, url: str) -> str:
    import instructor
    from openai import AsyncOpenAI
    from pydantic import BaseModel

    class Said(BaseModel):  # type: ignore[misc]
        text: str

    api = AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=client)
    patched = instructor.from_openai(api, mode=instructor.Mode.JSON)
    last = None
    stream = patched.chat.completions.create_partial(
        model=MODEL, messages=HI, response_model=Said, max_retries=0
    )
    async for partial in stream:
        last = partial
    return json.dumps({"text": last.text if last is not None else ""})


async def ask_litellm(client: Any, url: str) -> str:
    import litellm
    from openai import AsyncOpenAI

    api = AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=client)
    stream = await litellm.acompletion(
        model=f"openai/{MODEL}", messages=HI, stream=True, client=api, max_retries=0
    )
    return "".join([c.choices[0].delta.content or "" async for c in stream])


SDKS = {
    "openai": SDK("openai_chat", ask_openai, "openai"),
    "openai-trio": SDK("openai_chat", ask_openai, "openai", world=TRIO),
    "openai-threads": SDK("openai_chat", ask_openai_in_a_thread, "openai", world=THREADS),
    "openai-responses": SDK("openai_responses", ask_openai_responses, "openai"),
    "anthropic": SDK("anthropic_messages", ask_anthropic, "anthropic"),
    "google-genai": SDK("google_generate_content", ask_google, "google.genai"),
    "langchain-openai": SDK("openai_chat", ask_langchain, "langchain_openai", "sdks"),
    "pydantic-ai": SDK("openai_chat", ask_pydantic_ai, "pydantic_ai", "sdks"),
    "litellm": SDK("openai_chat", ask_litellm, "litellm", "sdks"),
    "instructor": SDK("said", ask_instructor, "instructor", "instructor"),
}
DIALECTS = {
    "anthropic_messages": "anthropic-messages",
    "google_generate_content": "gemini",
    "openai_responses": "openai-responses",
}
MARKS = {
    "openai_chat": b"data: [DONE]",
    "said": b"data: [DONE]",
    "openai_responses": b'"type":"response.completed"',
    "anthropic_messages": b'"type":"message_stop"',
    "google_generate_content": b'"finishReason"',
}
"""Their end marks."""
_TEXTS = {
    "openai_chat": b'"content":"',
    "openai_responses": b"response.output_text.delta",
    "anthropic_messages": b"text_delta",
    "google_generate_content": b'"text":',
}


_CALLS = (b'"tool_calls"', b"functionCall")


def said_recordings() -> list[bytes]:
    """Streams of JSON, for who wants that."""

    def event(delta: dict[str, str], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        return b"data: " + json.dumps({**chunk, "choices": [choice]}).encode() + b"\n\n"

    found = []
    for text in ("a", "two words", "é"):
        whole = json.dumps({"text": text})
        pieces = [event({"content": c}) for c in (whole[:5], whole[5:])]
        found.append(b"".join([*pieces, event({}, "stop"), b"data: [DONE]\n\n"]))
    return found


def recordings(folder: Path, language: str) -> list[bytes]:
    """The three shortest of text alone that came to their end mark."""
    if language == "said":
        return said_recordings()
    recorded = json.loads((folder / "recordings" / f"{language}.json").read_text())
    (found,) = (value for value in recorded.values() if isinstance(value, list))
    bodies = [r["body"].encode() for r in found if r["expected"]["complete"]]
    fit = [
        body
        for body in bodies
        if MARKS[language] in body
        and _TEXTS[language] in body
        and not any(call in body for call in _CALLS)  # agents go on to call tools
    ]
    return sorted(fit, key=len)[:3]


def config(origin: str, language: str, **endpoint: Any) -> dict[str, Any]:
    """A configuration whose only server is at that origin."""
    dialect = DIALECTS.get(language, "openai-chat")
    main = {"url": f"{origin}/v1", "dialect": dialect, "key": Secret("sk-engine"), **endpoint}
    return {
        "endpoints": {"main": main},
        "models": {MODEL: {"routes": [{"endpoint": "main"}], "retries": {"attempts": 1}}},
    }


def _run(world: World, work: Callable[..., Any], *args: Any) -> Any:
    return world.run(work, *args) if world.run is trio.run else world.run(work(*args))


def reads(sdk_: SDK, folder: Path) -> list[dict[str, Any]]:
    """For each recording: what is read over an engine, what without, and the keys that came."""
    import httpx2

    found = []
    for body in recordings(folder, sdk_.language):
        pieces = [body[i : i + 50] for i in range(0, len(body), 50)]
        recorded = Recorded(pieces, at_once=True)
        with live(recorded) as origin:
            url = f"{origin}/v1"
            text = sdk_.over(config(origin, sdk_.language), url)
            plain = _run(sdk_.world, sdk_.ask, getattr(httpx2, sdk_.world.plain)(), url)
        sent = [
            {
                "target": asked.target,
                "keys": [asked.headers[n] for n in _KEYS if n in asked.headers],
            }
            for asked in recorded.asked
        ]
        encoding = recorded.asked[0].headers.get("accept-encoding")
        found.append({"text": text, "plain": plain, "sent": sent, "encoding": encoding})
    return found


def cuts(sdk_: SDK, folder: Path) -> dict[str, Any]:
    """What is raised when each recording is cut, once at every byte before its end mark is whole,
    and where nothing was."""
    tried: list[int] = []
    silent: list[tuple[int, int]] = []
    raised: Counter[str] = Counter()

    async def main(origin: str, recorded: Recorded, body: bytes) -> None:
        last = len(body.rstrip())  # the blank line behind it proves nothing
        tried.append(last - 1)
        async with sdk_.world.open_engine(config(origin, sdk_.language)) as eng:
            for at in range(1, last):
                if at % _BEATS == 1:
                    recorded.pieces, recorded.how = [body], How.KEEP
                    await sdk_.ask(sdk_.world.client(eng), f"{origin}/v1")
                recorded.pieces, recorded.how = [body[:at]], How.CUT
                try:
                    await sdk_.ask(sdk_.world.client(eng), f"{origin}/v1")
                except Exception as error:  # noqa: BLE001 - each has its own
                    raised[f"{type(error).__module__}.{type(error).__qualname__}"] += 1
                else:
                    silent.append((len(tried), at))

    for body in recordings(folder, sdk_.language):
        recorded = Recorded([], at_once=True)
        with live(recorded) as origin:
            _run(sdk_.world, main, origin, recorded, body)
    return {"tried": tried, "silent": silent, "raised": raised}


def refused(sdk_: SDK, folder: Path) -> list[str]:
    """The types of what is raised when no money is left, and what it says."""
    settings = config("http://127.0.0.1:9", sdk_.language)
    settings["models"][MODEL]["price"] = {"input": "1", "output": "1"}
    settings["budgets"] = {"daily": "0.000000001 USD"}
    try:
        sdk_.over(settings, "http://127.0.0.1:9/v1")
    except Exception as error:  # noqa: BLE001 - each has its own
        return [*(kind.__name__ for kind in type(error).__mro__), str(error)]
    return []


def main() -> None:
    """Ask one of them."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    what, name, folder = sys.argv[1:]
    check = {"reads": reads, "cuts": cuts, "refused": refused}[what]
    print(json.dumps(check(SDKS[name], Path(folder))))


if __name__ == "__main__":
    main()
