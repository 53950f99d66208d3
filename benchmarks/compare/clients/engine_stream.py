"""This engine, as its README shows it."""

from collections.abc import Callable

import on_trio
import trio
from job import Job

import engine

job = Job.from_arguments()
CONFIG = {
    "engine": {"max_streams": job.streams},
    "defaults": {"max_streams": job.streams},
    "endpoints": {"bench": {"url": job.base, "ca_file": job.ca or ""}},
    "models": {"bench": {"routes": [{"endpoint": "bench"}]}},
}


async def main() -> None:
    async with engine.open_engine(CONFIG) as eng:

        async def consume(saw: Callable[[str], None]) -> None:
            async with eng.stream("bench", "hi") as stream:
                async for event in stream:
                    if type(event) is engine.TextDelta:
                        saw(event.text)

        await on_trio.run(job, consume)


trio.run(main)
