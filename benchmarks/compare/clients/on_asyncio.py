"""Runs a job on asyncio."""

import asyncio
from collections.abc import Awaitable, Callable

from job import REST_AFTER_CANCEL, REST_BEFORE_CANCEL, Job, cpu, say

Consume = Callable[[Callable[[str], None]], Awaitable[None]]
"""Makes one request and calls its argument with the text of each token."""


async def run(job: Job, consume: Consume) -> None:
    if job.hold:
        await hold(job, consume)
    else:
        await asyncio.gather(*(worker(job, consume) for _ in range(job.streams)))
    job.report()


async def worker(job: Job, consume: Consume) -> None:
    for _ in range(job.rounds):
        await consume(job.saw)


async def hold(job: Job, consume: Consume) -> None:
    all_begun = asyncio.Event()

    async def held() -> None:
        first = True

        def saw(text: str) -> None:
            nonlocal first
            job.saw(text)
            if first and job.begin():
                all_begun.set()
            first = False

        await consume(saw)

    tasks = [asyncio.create_task(held()) for _ in range(job.streams)]
    await all_begun.wait()
    say("held")
    await asyncio.sleep(REST_BEFORE_CANCEL)
    before = cpu()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    say("cancelled", cpu=cpu() - before)
    await asyncio.sleep(REST_AFTER_CANCEL)
