"""python -m benchmarks.sdk_cost [--rounds 5] [--streams 50] [--save FILE]: an SDK's CPU per token.

AsyncOpenAI over a client of `streamnursery.sdk` beside the one that it makes for itself, in turns,
with a simulated provider in a process of its own. CPU time is that of the whole process, the
engine's thread among it, from the first request to the end of the last stream, divided by the
tokens that the SDK handed out. Needs openai:

    build/contract/sdks/bin/python -m benchmarks.sdk_cost

`--save` writes the table to its place in a document.
"""

import argparse
import asyncio
import json
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import openai
import trio

import streamnursery as sn
from streamnursery import Secret, aio, sdk

TOKENS, PER_SECOND = 200, 50
PROFILE = {
    "paced": {
        "ttft_mean": 0.1,
        "ttft_p95": 0.1,
        "tokens_per_second": PER_SECOND,
        "output_tokens": [TOKENS, TOKENS],
    }
}
KEY = "sk-measured"
Found = tuple[int, float]
"""Tokens, and seconds of CPU time."""


@contextmanager
def provider() -> Iterator[str]:
    """Its base URL."""
    with tempfile.TemporaryDirectory() as folder:
        profile = Path(folder) / "profile.json"
        profile.write_text(json.dumps(PROFILE))
        words = ("sim", "--port", "0", "--json", "--profile", str(profile))
        command = (sys.executable, "-m", "streamnursery", *words)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                yield json.loads(process.stdout.readline())["url"]
            finally:
                process.terminate()


def made(url: str, client: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0, http_client=client)


async def read(api: openai.AsyncOpenAI) -> int:
    """The pieces of one answer."""
    stream = await api.chat.completions.create(
        model="paced", messages=[{"role": "user", "content": "Tell me."}], stream=True
    )
    pieces = 0
    async for chunk in stream:
        pieces += bool(chunk.choices and chunk.choices[0].delta.content)
    return pieces


async def under_asyncio(api: openai.AsyncOpenAI, streams: int) -> Found:
    await asyncio.gather(*(read(api) for _ in range(streams // 5)))  # connections and caches
    began = time.process_time()
    tokens = sum(await asyncio.gather(*(read(api) for _ in range(streams))))
    return tokens, time.process_time() - began


async def under_trio(api: openai.AsyncOpenAI, streams: int) -> Found:
    counts: list[int] = []

    async def one() -> None:
        counts.append(await read(api))

    async with trio.open_nursery() as nursery:
        for _ in range(streams // 5):
            nursery.start_soon(one)
    counts.clear()
    began = time.process_time()
    async with trio.open_nursery() as nursery:
        for _ in range(streams):
            nursery.start_soon(one)
    return sum(counts), time.process_time() - began


def config(url: str) -> dict[str, Any]:
    return {"endpoints": {"measured": {"url": url, "key": Secret(KEY)}}}


async def asyncio_own(url: str, streams: int) -> Found:
    async with made(url, None) as api:
        return await under_asyncio(api, streams)


async def asyncio_ours(url: str, streams: int) -> Found:
    async with aio.open_engine(config(url)) as eng, made(url, sdk.async_client(eng)) as api:
        return await under_asyncio(api, streams)


async def trio_own(url: str, streams: int) -> Found:
    async with made(url, None) as api:
        return await under_trio(api, streams)


async def trio_ours(url: str, streams: int) -> Found:
    async with sn.open_engine(config(url)) as eng, made(url, sdk.async_client(eng)) as api:
        return await under_trio(api, streams)


Measured = Callable[[str, int], Awaitable[Found]]
ROWS: dict[str, tuple[Callable[..., Found], Measured, Measured]] = {
    "asyncio": (lambda work, *args: asyncio.run(work(*args)), asyncio_own, asyncio_ours),
    "trio": (trio.run, trio_own, trio_ours),
}


def measured(rounds: int, streams: int) -> list[tuple[str, float, float]]:
    """For each row: microseconds of CPU time per token over its own transport, and over ours."""
    found = []
    for name, (run, *ways) in ROWS.items():
        times: list[list[float]] = [[], []]
        for _ in range(rounds):
            for way, into in zip(ways, times, strict=True):
                with provider() as url:
                    tokens, seconds = run(way, url, streams)
                assert tokens == streams * TOKENS, tokens
                into.append(seconds / tokens * 1e6)
        found.append((name, median(times[0]), median(times[1])))
    return found


def table(found: list[tuple[str, float, float]], rounds: int, streams: int) -> str:
    lines = [
        "| openai on | its own transport | over the engine | ratio |",
        "| --- | --- | --- | --- |",
        *(
            f"| {name} | {own:.0f} us | {ours:.0f} us | {ours / own:.2f} |"
            for name, own, ours in found
        ),
        "",
        f"CPU time of the client's process per token, medians of {rounds} turns: {streams} streams",
        f"of {TOKENS} tokens, {PER_SECOND} a second each, from a simulated provider beside it.",
        f"openai {version('openai')}, httpx2 {version('httpx2')}, Python",
        f"{platform.python_version()}; `python -m benchmarks.sdk_cost`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, save."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sdk_cost", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--save", type=Path, help="a document with <!--figures:sdk--> in it")
    asked = parser.parse_args()
    text = table(measured(asked.rounds, asked.streams), asked.rounds, asked.streams)
    print(text)
    if asked.save is not None:
        begin, end = "<!--figures:sdk-->\n", "<!--end-->"
        place = re.compile(f"(?<={begin}).*?(?={end})", re.DOTALL)
        asked.save.write_text(place.sub(text, asked.save.read_text(), count=1))


if __name__ == "__main__":
    main()
