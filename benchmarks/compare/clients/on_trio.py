"""Runs a job on trio."""

from collections.abc import Awaitable, Callable

import trio
from job import REST_AFTER_CANCEL, REST_BEFORE_CANCEL, Answer, Job, cpu, say

Consume = Callable[[Answer], Awaitable[None]]
"""Makes one request, tells the answer the text of each token, and that it has ended."""


async def run(job: Job, consume: Consume) -> None:
    if job.hold:
        await hold(job, consume)
    else:
        async with trio.open_nursery() as nursery:
            for _ in range(job.streams):
                nursery.start_soon(worker, job, consume)
    job.report()


async def worker(job: Job, consume: Consume) -> None:
    for _ in range(job.rounds):
        answer = job.answer()
        await consume(answer)
        job.over(answer)


async def hold(job: Job, consume: Consume) -> None:
    all_begun = trio.Event()

    async def held() -> None:
        await consume(job.held(all_begun.set))

    async with trio.open_nursery() as nursery:
        for _ in range(job.streams):
            nursery.start_soon(held)
        await all_begun.wait()
        say("held")
        await trio.sleep(REST_BEFORE_CANCEL)
        before = cpu()
        nursery.cancel_scope.cancel()
    say("cancelled", cpu=cpu() - before)
    await trio.sleep(REST_AFTER_CANCEL)
