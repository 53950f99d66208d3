"""Never run, only type-checked: what users write must pass `mypy --strict` as they write it."""

from collections.abc import AsyncIterator

import trio.lowlevel

import streamnursery as sn
from streamnursery import ChatRequest, Completion, Outcome, Patience, Priority, TextDelta


async def streaming() -> None:
    async with sn.open_engine() as eng:
        async with eng.stream("gpt-4.1", "Explain nurseries", max_tokens=500) as stream:
            async for event in stream:
                if isinstance(event, TextDelta):
                    text: str = event.text
                    print(text)
        request = ChatRequest(model="m", messages=[{"role": "user", "content": "hi"}])
        async with eng.stream(request, timeout=5, priority=Priority.BATCH) as stream:
            async for piece in stream.text():
                print(piece + "")
        completion: Completion = await eng.complete(request, patience=Patience(idle=5))
        print(completion.text, completion.usage, completion.timings.time_to_first_token)


async def source() -> AsyncIterator[ChatRequest]:
    for number in range(3):
        await trio.lowlevel.checkpoint()
        yield ChatRequest("m", [{"role": "user", "content": str(number)}])


async def bulk(requests: list[ChatRequest]) -> None:
    async with sn.open_engine({"engine": {"max_streams": 3}}, seed=1) as eng:
        outcomes: list[Outcome] = await eng.settle(requests)
        for outcome in outcomes:
            if outcome.completion is not None:
                print(outcome.index, outcome.completion.text)
        async with eng.as_completed(source(), max_in_flight=2) as finished:
            async for outcome in finished:
                print(outcome.error)
        async with eng.merge(requests) as events:
            async for index, event in events:
                if isinstance(event, sn.Failed):
                    print(index, event.error.category, event.error.partial)


async def add(a: int, b: str) -> float:
    await trio.lowlevel.checkpoint()
    return a + float(b)


async def own_calls() -> None:
    async with sn.open_engine("streamnursery.toml") as eng:
        async with eng.lease("gpt-4.1", priority=Priority.INTERACTIVE, timeout=3) as lease:
            lease.report(input_tokens=3, output_tokens=5)
        result: float = await eng.run("gpt-4.1", add, 1, "2")
        print(result, eng.statistics().models["gpt-4.1"].ttft.p99)
        eng.set_limits(model="gpt-4.1", max_streams=3)
        report: sn.records.DrainReport = await eng.drain(timeout=10)
        print(report.finished, eng.cancel_all(), eng.plan("gpt-4.1"))
        with eng.events(max_records=10, drop="newest") as records:
            async for record in records:
                print(record.at, record.model)
