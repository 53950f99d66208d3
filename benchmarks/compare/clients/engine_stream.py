"""This engine, as its README shows it.

A second argument changes one thing: seconds for `max_added_latency`, or "task-each" to read every
connection with a task of its own instead of one pump for all.
"""

import sys
from collections.abc import Callable

import on_trio
import trio
from job import Job

import streamnursery as sn
from streamnursery.transport import pump

job = Job.from_arguments()
variant = sys.argv[2] if len(sys.argv) > 2 else ""
LIMITS: dict[str, float] = {"max_streams": job.streams}
if job.fresh:
    LIMITS["max_idle_connections"] = 0
if variant == "task-each":
    pump.select = None
elif variant:
    LIMITS["max_added_latency"] = float(variant)
CONFIG = {
    "engine": LIMITS,
    "defaults": {"max_streams": job.streams},
    "endpoints": {"bench": {"url": job.base, "ca_file": job.ca or "", "http": job.http}},
    "models": {"bench": {"routes": [{"endpoint": "bench", "model": job.model}]}},
}


async def main() -> None:
    async with sn.open_engine(CONFIG) as eng:

        async def consume(saw: Callable[[str], None]) -> None:
            async with eng.stream("bench", "hi") as stream:
                async for event in stream:
                    if type(event) is sn.TextDelta:
                        saw(event.text)

        await on_trio.run(job, consume)


trio.run(main)
