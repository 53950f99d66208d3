"""This engine, as its README shows it.

A second argument changes one thing: seconds for `max_added_latency`, "task-each" to read every
connection with a task of its own instead of one pump for all, or "ledger" to keep its ledger in a
file.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import on_trio
import trio
from job import Answer, Job

import streamnursery as sn
from streamnursery.transport import pump

job = Job.from_arguments()
variant = sys.argv[2] if len(sys.argv) > 2 else ""
LIMITS: dict[str, float] = {
    "max_streams": job.streams,
    "max_idle_connections": 0 if job.fresh else max(100, job.streams),
}
CONFIG: dict[str, Any] = {
    "engine": LIMITS,
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

        await on_trio.run(job, consume)


if variant == "task-each":
    pump.select = None
elif variant and variant != "ledger":
    LIMITS["max_added_latency"] = float(variant)
with tempfile.TemporaryDirectory() as folder:
    if variant == "ledger":
        CONFIG["budgets"] = {"ledger": str(Path(folder, "ledger.db"))}
    trio.run(main)
