"""This engine for asyncio, as its README shows it.

A second argument "uvloop" runs it on that loop, from the environment of the peers.
"""

import asyncio
import sys
from typing import Any

import on_asyncio
from job import Answer, Job

import streamnursery.aio as sn

job = Job.from_arguments()
CONFIG: dict[str, Any] = {
    "engine": {
        "max_streams": job.streams,
        "max_idle_connections": 0 if job.fresh else max(100, job.streams),
    },
    "defaults": {"max_streams": job.streams},
    "endpoints": {"bench": {"url": job.base, "ca_file": job.ca or "", "http": job.http}},
    "models": {"bench": {"routes": [{"endpoint": "bench", "model": job.model}]}},
}


async def main() -> None:
    async with sn.open_engine(CONFIG) as eng:

        async def consume(answer: Answer) -> None:
            saw, text_delta = answer.saw, sn.TextDelta
            async with eng.stream("bench", answer.prompt) as stream:
                async for event in stream:
                    if type(event) is text_delta:
                        saw(event.text)
                    elif type(event) is sn.Finished:
                        answer.ended = True

        await on_asyncio.run(job, consume)


if sys.argv[2:]:
    sys.path.append(sys.argv[2])
    import uvloop

    uvloop.run(main())
else:
    asyncio.run(main())
