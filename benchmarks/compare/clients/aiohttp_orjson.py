"""aiohttp and orjson by hand: what a careful user writes who wants speed on asyncio."""

import asyncio
import ssl
from collections.abc import Callable

import aiohttp
import on_asyncio
import orjson
from job import Job

job = Job.from_arguments()
BODY = {"model": "bench", "messages": [{"role": "user", "content": "hi"}], "stream": True}


async def main() -> None:
    context = ssl.create_default_context(cafile=job.ca) if job.ca else True
    connector = aiohttp.TCPConnector(limit=0, ssl=context)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def consume(saw: Callable[[str], None]) -> None:
            async with session.post(f"{job.base}/chat/completions", json=BODY) as response:
                async for line in response.content:
                    if line.startswith(b"data: ") and line[6:12] != b"[DONE]":
                        text = orjson.loads(line[6:])["choices"][0]["delta"].get("content")
                        if text:
                            saw(text)

        await on_asyncio.run(job, consume)


asyncio.run(main())
