"""Never run, only type-checked: asyncio and plain threads see real types, too."""

from collections.abc import AsyncIterator, Iterator

import streamnursery.aio as aio
import streamnursery.sync as sync
from streamnursery.errors import DeadlineError


async def source() -> AsyncIterator[aio.ChatRequest]:
    yield aio.ChatRequest("m", "Hi")


async def on_asyncio(requests: list[aio.ChatRequest]) -> None:
    async with aio.open_engine({"engine": {"max_streams": 3}}, seed=1, on_loop=True) as eng:
        engine: aio.Engine = eng
        async with eng.stream("gpt-4.1", "Hi", max_tokens=500, timeout=5) as stream:
            handed: aio.TokenStream = stream
            text: str = ""
            async for event in handed:
                if isinstance(event, aio.TextDelta):
                    text = event.text
            async for piece in stream.text():
                text = piece + ""
            whole: aio.Completion = await stream.completion()
            print(text, whole.text, stream.partial.text, stream.timings.duration)
        outcomes: list[aio.Outcome] = await engine.settle(source(), max_in_flight=2)
        async with eng.as_completed(requests) as finished:
            async for outcome in finished:
                print(outcome.index, outcome.error, outcomes)
        async with eng.merge(requests) as merged:
            async for index, found in merged:
                if isinstance(found, aio.Failed):
                    print(index, found.error.category)
        async with eng.lease("m", priority=aio.Priority.BATCH) as lease:
            lease.report(input_tokens=1)
        number: float = await eng.run("m", add, 1, "2")
        print(number, (await eng.statistics()).models["m"].ttft.p99, await eng.cancel_all())
        async with eng.session("openai") as session:
            dialogue: aio.Session = session
            receipt = dialogue.send_nowait({"type": "response.create"})
            print(await receipt.wait(), (await session.statistics()).connections)
        with eng.events() as records:
            async for record in records:
                print(record.at, records.dropped)
        body: AsyncIterator[bytes] = eng.stream("m", "Hi").sse(ping=5)
        print(body, aio.shared().config.max_streams, (await eng.drain(timeout=1)).finished)


async def add(a: int, b: str) -> float:
    return a + float(b)


def in_threads(requests: list[sync.ChatRequest]) -> None:
    print(sync.complete("sim/fast", "Hi").text, sync.shared().config.max_streams)
    with sync.open_engine() as eng:
        engine: sync.Engine = eng
        with eng.stream("gpt-4.1", "Hi", timeout=5) as stream:
            handed: sync.TokenStream = stream
            text: str = ""
            for event in handed:
                if isinstance(event, sync.TextDelta):
                    text = event.text
            pieces: Iterator[str] = stream.text()
            print(text, pieces, stream.completion().usage)
        outcomes: list[sync.Outcome] = engine.settle(requests)
        for outcome in eng.as_completed(iter(requests), max_in_flight=3):
            print(outcome.ok, outcomes)
        with eng.merge(requests) as merged:
            for index, found in merged:
                if isinstance(found, sync.Finished):
                    print(index, found.reason)
        total: int = eng.run("m", max, 1, 2)
        with eng.lease("m") as lease:
            lease.report(output_tokens=total)
        try:
            lines: Iterator[bytes] = eng.stream("m", "Hi").lines()
            print(lines, eng.statistics().total.succeeded, eng.drain().cancelled)
        except DeadlineError as error:
            print(error.partial)
