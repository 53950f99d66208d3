"""Asking the models of one command at the same time, and showing what they say."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Any, Protocol

import attrs
import trio

from streamnursery.cli.console import Output, note
from streamnursery.facade import Engine, open_engine
from streamnursery.pipeline.stream import TokenStream
from streamnursery.scheduler.run.observers import Observer
from streamnursery.values.completion import Completion
from streamnursery.values.errors import EngineError
from streamnursery.values.events import RefusalDelta, StreamEvent, TextDelta
from streamnursery.values.lifecycle import LifecycleRecord, Retrying
from streamnursery.values.partial import Partial
from streamnursery.values.request import ChatRequest, make_request
from streamnursery.values.settings import EngineConfig


@attrs.define(eq=False)
class Answer:
    """What has become of one model's answer; neither completion nor error: it was cut short."""

    model: str
    stream: TokenStream | None = None
    completion: Completion | None = None
    error: EngineError | None = None

    @property
    def partial(self) -> Partial:
        return self.stream.partial if self.stream is not None else Partial()


class Show(Protocol):
    """Where events go while they arrive."""

    async def show(self, answer: Answer, events: Sequence[StreamEvent], /) -> None:
        """The events of one read."""

    async def end(self, answer: Answer, /) -> None:
        """The answer is whole or has failed."""

    async def run(self, answers: Sequence[Answer], /) -> None:
        """Show all of it; returns when every answer has ended."""

    def close(self) -> None:
        """Give back what it holds, at its end."""


async def ask_all(
    answers: Sequence[Answer],
    fields: Mapping[str, Any],
    config: EngineConfig,
    within: float | None,
    show: Show,
    *,
    sessions: bool = False,
    observers: Sequence[Observer] = (),
) -> None:
    """Fill in every answer; each may take as many seconds as `within` says. With `sessions` each
    comes over its own WebSocket."""
    try:
        async with open_engine(config, observers=observers) as eng, trio.open_nursery() as nursery:
            for answer in answers:
                request = make_request(answer.model, **fields)
                nursery.start_soon(_ask, eng, request, within, answer, show, sessions)
            await show.run(answers)
    finally:
        show.close()


def tell_retry(record: LifecycleRecord) -> None:
    """An observer that says on stderr what is waited for."""
    if isinstance(record, Retrying):
        which = f"attempt {record.attempt} of {record.attempts}"
        note(f"{record.model}: {which} in {record.delay:.1f} s: {record.why}")


async def _ask(
    eng: Engine,
    request: ChatRequest,
    within: float | None,
    answer: Answer,
    show: Show,
    sessions: bool,
) -> None:
    try:
        if sessions:
            # Where the model is served first; a session goes to one endpoint and no other.
            endpoint = eng.plan(request).stops[0].endpoint
            async with eng.session(endpoint) as session:
                await _receive(session.stream(request, timeout=within), answer, show)
        else:
            await _receive(eng.stream(request, timeout=within), answer, show)
    except EngineError as error:
        answer.error = error
    await show.end(answer)


async def _receive(
    opening: AbstractAsyncContextManager[TokenStream], answer: Answer, show: Show
) -> None:
    async with opening as stream:
        answer.stream = stream
        try:
            while True:
                await show.show(answer, await stream.receive())
        except trio.EndOfChannel:
            answer.completion = await stream.completion()


class Silent:
    """Shows nothing: the whole is printed at the end."""

    async def show(self, _answer: Answer, _events: Sequence[StreamEvent], /) -> None:
        await trio.lowlevel.checkpoint()

    async def end(self, _answer: Answer, /) -> None:
        await trio.lowlevel.checkpoint()

    async def run(self, _answers: Sequence[Answer], /) -> None:
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Nothing is held."""


class Plain:
    """Text as it arrives. Of several answers the first one that is not whole streams, and those
    after it wait in memory under their own heading."""

    def __init__(self, output: Output, answers: Sequence[Answer]) -> None:
        self._output = output
        self._headings = len(answers) > 1
        # Only the first is held back by a slow reader: behind it, a reader is not even there yet.
        self._pieces = {
            answer: trio.open_memory_channel[str](0 if index == 0 else inf)
            for index, answer in enumerate(answers)
        }

    async def show(self, answer: Answer, events: Sequence[StreamEvent]) -> None:
        text = "".join(e.text for e in events if isinstance(e, TextDelta | RefusalDelta))
        if text:
            await self._pieces[answer][0].send(text)

    async def end(self, answer: Answer) -> None:
        await self._pieces[answer][0].aclose()

    async def run(self, answers: Sequence[Answer]) -> None:
        for number, answer in enumerate(answers):
            if self._headings:
                await self._output.write(f"{'' if number == 0 else chr(10)}== {answer.model} ==\n")
            async for piece in self._pieces[answer][1]:
                await self._output.write(piece)
            await self._output.end_line()

    def close(self) -> None:
        # Not before all have ended: a sender that still waits must meet the cancel instead.
        for send, receive in self._pieces.values():
            send.close()
            receive.close()
