"""httpx on trio by hand."""

import json
import ssl
from collections.abc import Callable

import httpx
import on_trio
import trio
from job import Job

job = Job.from_arguments()
BODY = {"model": "bench", "messages": [{"role": "user", "content": "hi"}], "stream": True}


async def main() -> None:
    verify = ssl.create_default_context(cafile=job.ca) if job.ca else True
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    http2 = job.http == "2"
    async with httpx.AsyncClient(verify=verify, limits=limits, timeout=60, http2=http2) as client:

        async def consume(saw: Callable[[str], None]) -> None:
            url = f"{job.base}/chat/completions"
            async with client.stream("POST", url, json=BODY) as response:
                async for line in response.aiter_lines():
                    if line.startswith("data: ") and line[6:12] != "[DONE]":
                        text = json.loads(line[6:])["choices"][0]["delta"].get("content")
                        if text:
                            saw(text)

        await on_trio.run(job, consume)


trio.run(main)
