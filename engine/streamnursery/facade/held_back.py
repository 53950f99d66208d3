"""Logs once which limit holds back the `max_in_flight` that was asked for.

A warning of `logging` and not of `warnings`: it comes from a task in the middle of the work, which
an error in its place would end.
"""

import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from streamnursery.pipeline.stream import TokenStream
from streamnursery.scheduler.admission.admission import Admission
from streamnursery.scheduler.run.bulk import Answer, Work
from streamnursery.values.completion import Outcome
from streamnursery.values.request import ChatRequest

_log = logging.getLogger("streamnursery")


class HeldBack:
    """Of one engine: each limit is named once."""

    def __init__(self, admission: Admission, name: Callable[[str], str]) -> None:
        self._admission = admission
        self._name = name
        self._named: set[str] = set()

    def completing(self, answer: Answer, asked: int | None) -> Answer:
        """`answer` that watches; unwatched where no number was given."""
        if asked is None:
            return answer
        here: Counter[str] = Counter()

        async def watched(index: int, request: Work) -> Outcome:
            with self._counted(here, request.model, asked):
                return await answer(index, request)

        return watched

    def streaming(
        self,
        open_stream: Callable[[ChatRequest], AbstractAsyncContextManager[TokenStream]],
        asked: int | None,
    ) -> Callable[[ChatRequest], AbstractAsyncContextManager[TokenStream]]:
        """The same for streams."""
        if asked is None:
            return open_stream
        here: Counter[str] = Counter()

        @asynccontextmanager
        async def watched(request: ChatRequest) -> AsyncIterator[TokenStream]:
            with self._counted(here, request.model, asked):
                async with open_stream(request) as stream:
                    yield stream

        return watched

    @contextmanager
    def _counted(self, here: Counter[str], model: str, asked: int) -> Iterator[None]:
        """`here` counts the requests of one call by model."""
        here[model] += 1
        try:
            self.look(here, model, asked)
            yield
        finally:
            here[model] -= 1

    def look(self, here: Counter[str], model: str, asked: int) -> None:
        """Say which limit holds back the requests of one call, counted by model."""
        total, most = (
            self._admission.total.max_slots,
            self._admission.max_streams_now(self._name(model)),
        )
        if most is not None and here[model] > most and most < total:
            setting = f'max_streams of model "{model:.80}"'
            self._say(setting, most, asked)
        elif here.total() > total:
            self._say("engine.max_streams", total, asked)

    def _say(self, setting: str, most: int, asked: int) -> None:
        if setting in self._named:
            return
        self._named.add(setting)
        _log.warning(
            "max_in_flight=%d is held back by %s = %d: so many run at once, and the others wait; "
            "raise that limit, or ask for fewer. eng.explain(model) tells what a request waits for",
            asked,
            setting,
            most,
        )
