"""Runs a job on asyncio."""

import asyncio
from collections.abc import Awaitable, Callable

from job import REST_AFTER_CANCEL, REST_BEFORE_CANCEL, Answer, Job, cpu, say

Consume = Callable[[Answer], Awaitable[None]]
"""Makes one request, tells the answer the text of each token, and that it has ended."""


async def run(job: Job, consume: Consume) -> None:
    if job.hold:
        await hold(job, consume)
    else:
        await asyncio.gather(*(worker(job, consume) for _ in range(job.streams)))
    job.report()


async def worker(job: Job, consume: Consume) -> None:
    for _ in range(job.rounds):
        answer = job.answer()
        await consume(answer)
        job.over(answer)


async def hold(job: Job, consume: Consume) -> None:
    all_begun = asyncio.Event()

    async def held() -> None:
        await consume(job.held(all_begun.set))

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
