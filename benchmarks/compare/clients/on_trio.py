"""Runs a job on trio."""

from collections.abc import Awaitable, Callable

import trio
from job import REST_AFTER_CANCEL, REST_BEFORE_CANCEL, Job, cpu, say

Consume = Callable[[Callable[[str], None]], Awaitable[None]]
"""Makes one request and calls its argument with the text of each token."""


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
        await consume(job.timing() if job.timed else job.saw)


async def hold(job: Job, consume: Consume) -> None:
    all_begun = trio.Event()

    async def held() -> None:
        first = True

        def saw(text: str) -> None:
            nonlocal first
            job.saw(text)
            if first and job.begin():
                all_begun.set()
            first = False

        await consume(saw)

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
