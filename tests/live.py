"""Asks real providers, with the keys that the environment holds: `make live`.

    python -m tests.live                  every provider whose key is set
    python -m tests.live anthropic        this one

Each provider may cost 0.05 USD at most, which a budget holds. Prints a line for each check, and for
a provider that passes them all the line for docs/providers.md. The exit code is 1 if one fails, and
2 when no key is set.
"""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import trio

import streamnursery as sn
from streamnursery.config.providers import PROVIDERS, ProviderPreset
from streamnursery.errors import AuthError
from streamnursery.events import TextDelta

MOST = "0.05"
"""US dollars for each provider."""
MODELS = {
    "openai": "gpt-4.1-mini",
    "anthropic": "claude-haiku-4-5",
    "gemini": "gemini-2.5-flash",
    "deepseek": "deepseek-chat",
    "openrouter": "openai/gpt-4.1-mini",
    "groq": "llama-3.1-8b-instant",
    "mistral": "mistral-small-latest",
}
"""Cheap ones that call tools."""
THINKERS = ("anthropic", "gemini")
"""Whose model here can be told to think."""
TOOL = {
    "type": "function",
    "function": {
        "name": "temperature",
        "description": "The temperature of a city in degrees Celsius.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
QUESTION = {"role": "user", "content": "How warm is it in Oslo? Use the tool."}
TIMEOUT = 60.0
Check = Callable[[sn.Engine, str, Mapping[str, Any]], Awaitable[None]]


async def text(eng: sn.Engine, model: str, _: Mapping[str, Any]) -> None:
    """A short answer, and its counts."""
    completion = await eng.complete(
        model, "Answer with one word: what colour is snow?", max_tokens=64, timeout=TIMEOUT
    )
    assert completion.text.strip(), "no text"
    assert completion.finish_kind in ("stop", "length"), completion.finish_reason
    usage = completion.usage
    assert usage is not None, "no usage"
    assert usage.input_tokens, "no count of the input"
    assert usage.output_tokens, "no count of the output"
    assert not usage.estimated, "the counts are our own"


async def tools(eng: sn.Engine, model: str, more: Mapping[str, Any]) -> None:
    """A call, its result, and the answer to it: the second turn has the first one's thoughts."""
    asked = {"tools": [TOOL], "timeout": TIMEOUT, **more}
    first = await eng.complete(model, messages=[QUESTION], **asked)
    assert first.finish_kind == "tool_calls", first.finish_reason
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": "4 degrees"}
        for call in first.tool_calls
    ]
    messages = [QUESTION, first.message(), *results]
    second = await eng.complete(model, messages=messages, **asked)
    assert second.text or second.tool_calls, "nothing was said to the result"


async def leave(eng: sn.Engine, model: str, _: Mapping[str, Any]) -> None:
    """A stream that is left in the middle."""
    async with eng.stream(model, "Count from 1 to 200.", max_tokens=400, timeout=TIMEOUT) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    assert eng.statistics().total.active == 0, "a stream is still running"


CHECKS: tuple[Check, ...] = (text, tools, leave)


async def wrong_key(config: Mapping[str, Any], name: str, model: str) -> None:
    """A key that is none."""
    endpoint = {**config["endpoints"][name], "key": sn.Secret("not-a-key-of-anybody")}
    async with sn.open_engine({**config, "endpoints": {name: endpoint}}) as eng:
        try:
            await eng.complete(model, "Hi", max_tokens=16, timeout=TIMEOUT)
        except AuthError:
            return
    msg = "a wrong key was not refused as one"
    raise AssertionError(msg)


async def passes(name: str, config: Mapping[str, Any], model: str) -> bool:
    """Whether a provider passes every check."""
    good = True
    async with sn.open_engine(config) as eng:
        for check in CHECKS:
            more = {"reasoning_effort": "low"} if name in THINKERS and check is tools else {}
            good = await _told(name, check.__name__, check(eng, model, more)) and good
    return await _told(name, "wrong key", wrong_key(config, name, model)) and good


async def _told(name: str, check: str, work: Awaitable[None]) -> bool:
    try:
        await work
    except (sn.EngineError, AssertionError) as error:
        print(f"{name}: {check}: FAILED: {type(error).__name__}: {error}")
        return False
    print(f"{name}: {check}: ok")
    return True


def config_of(preset: ProviderPreset, key: str) -> dict[str, Any]:
    """An engine for this provider alone."""
    options = dict(preset.options)
    endpoint = {"url": preset.url, "key": sn.Secret(key), **options}
    if preset.dialect:
        endpoint["dialect"] = preset.dialect
    model = MODELS[preset.name]
    routes = [{"endpoint": preset.name}]
    return {
        "endpoints": {preset.name: endpoint},
        "models": {model: {"routes": routes, "retries": {"attempts": 2}}},
        "budgets": {"daily": MOST},
    }


def keys(environ: Mapping[str, str]) -> dict[str, str]:
    """Of the providers whose variable is set."""
    found = {}
    for preset in PROVIDERS:
        given = next((environ[name] for name in preset.keys if environ.get(name, "").strip()), None)
        if given is not None and preset.name in MODELS:
            found[preset.name] = given
    return found


async def main(chosen: list[str]) -> int:
    found = {n: k for n, k in keys(os.environ).items() if not chosen or n in chosen}
    if not found:
        print("no provider's key is set")
        return 2
    good = True
    for preset in PROVIDERS:
        if preset.name in found:
            config = config_of(preset, found[preset.name])
            if await passes(preset.name, config, MODELS[preset.name]):
                day = datetime.now(UTC).date()
                print(f"{preset.name}: live ({day}): write it into docs/providers.md")
            else:
                good = False
    return 0 if good else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.live", description=__doc__)
    parser.add_argument("providers", nargs="*")
    sys.exit(trio.run(main, parser.parse_args().providers))
