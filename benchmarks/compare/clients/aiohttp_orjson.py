"""aiohttp and orjson by hand: what a careful user writes who wants speed on asyncio.

A second argument "uvloop" runs it on that loop.
"""

import asyncio
import ssl
import sys

import aiohttp
import on_asyncio
import orjson
from job import Answer, Job
from yarl import URL

job = Job.from_arguments()
TARGET = URL(f"{job.base}/chat/completions")


async def main() -> None:
    context = ssl.create_default_context(cafile=job.ca) if job.ca else True
    connector = aiohttp.TCPConnector(limit=0, ssl=context, force_close=job.fresh)
    timeout = aiohttp.ClientTimeout(total=None)
    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers
    ) as session:

        async def consume(answer: Answer) -> None:
            saw, tail, loads = answer.saw, b"", orjson.loads
            body = orjson.dumps(job.body(answer))
            async with session.post(TARGET, data=body) as response:
                async for data in response.content.iter_any():
                    events = (tail + data).split(b"\n\n")
                    tail = events.pop()
                    for event in events:
                        if event == b"data: [DONE]":
                            answer.ended = True
                            continue
                        choices = loads(event[6:])["choices"]
                        if choices:
                            text = choices[0]["delta"].get("content")
                            if text:
                                saw(text)

        await on_asyncio.run(job, consume)


if sys.argv[2:] == ["uvloop"]:
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
