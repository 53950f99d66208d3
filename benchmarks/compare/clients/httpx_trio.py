"""httpx on trio by hand."""

import json
import ssl

import httpx
import on_trio
import trio
from job import Answer, Job

job = Job.from_arguments()


async def main() -> None:
    verify = ssl.create_default_context(cafile=job.ca) if job.ca else True
    idle = 0 if job.fresh else None
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=idle)
    http2 = job.http == "2"
    async with httpx.AsyncClient(verify=verify, limits=limits, timeout=60, http2=http2) as client:

        async def consume(answer: Answer) -> None:
            url = f"{job.base}/chat/completions"
            async with client.stream("POST", url, json=job.body(answer)) as response:
                async for line in response.aiter_lines():
                    if line == "data: [DONE]":
                        answer.ended = True
                    elif line.startswith("data: "):
                        choices = json.loads(line[6:])["choices"]
                        if choices and (text := choices[0]["delta"].get("content")):
                            answer.saw(text)

        await on_trio.run(job, consume)


trio.run(main)
