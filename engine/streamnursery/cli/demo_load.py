"""The demo's load: every request through one engine, every answer compared word for word."""

import random
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from streamnursery.cli.demo_plan import DemoPlan
from streamnursery.cli.reload_signal import reload_on_hangup
from streamnursery.core.measure.histogram import Histogram
from streamnursery.facade import Engine, open_engine
from streamnursery.simulator import PROFILES, Provider
from streamnursery.simulator.profiles import parse_profiles
from streamnursery.values.completion import Completion
from streamnursery.values.errors import EngineError
from streamnursery.values.request import ChatRequest

if TYPE_CHECKING:
    from streamnursery.values.statistics import EngineStatistics

_EVERY = 0.125
"""Seconds between two looks at the engine."""


class Screen(Protocol):
    """Shows a load while it runs."""

    def update(self, load: "Load") -> None:
        """Show where it stands; called a few times a second and at the end."""

    def close(self) -> None:
        """Give the terminal back."""


class Load:
    """All requests of a demo, and what has become of them."""

    def __init__(self, plan: DemoPlan, url: str) -> None:
        self.plan = plan
        self.url = url
        self.finished: dict[str, int] = dict.fromkeys(plan.limits, 0)
        """By the model that was asked for."""
        self.failed: dict[str, int] = dict.fromkeys(plan.limits, 0)
        self.errors: list[tuple[ChatRequest, EngineError]] = []
        self.different = 0
        """Answers that are not what the provider meant to say, to the last character."""
        self.statistics: EngineStatistics | None = None
        self.seconds = 0.0
        self.first_token = {model: Histogram() for model in plan.limits}
        """Seconds from a request's slot to its first token."""
        models = {**PROFILES, **parse_profiles(plan.profiles or "{}")}
        self._truth = Provider(dice=random.Random(0), models=models)

    @property
    def done(self) -> int:
        """Requests that have ended."""
        return sum(self.finished.values()) + len(self.errors)

    def requests(self) -> Iterator[ChatRequest]:
        """One after the other over the models."""
        models = list(self.plan.limits)
        for index in range(self.plan.streams):
            prompt = f"Tell me fact number {index + 1} about streams."
            message = {"role": "user", "content": prompt}
            yield ChatRequest(models[index % len(models)], [message], seed=self.plan.seed)

    async def run(self, screen: Screen) -> None:
        """Run everything; what is here afterwards holds, also when it was cancelled."""
        started_at = trio.current_time()
        try:
            async with open_engine(self.plan.config(self.url), seed=self.plan.seed) as eng:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch, eng, screen, started_at)
                    if self.plan.config_file is not None:
                        read = partial(self.plan.config, self.url)
                        nursery.start_soon(reload_on_hangup, eng, read)
                    try:
                        await self._run(eng)
                    finally:
                        self._look(eng, started_at)
                    nursery.cancel_scope.cancel()
        finally:
            screen.update(self)
            screen.close()

    async def _run(self, eng: Engine) -> None:
        async with trio.open_nursery() as nursery:
            for request in self.requests():
                nursery.start_soon(self._one, eng, request)

    async def _one(self, eng: Engine, request: ChatRequest) -> None:
        try:
            completion = await eng.complete(request)
        except EngineError as error:
            self.failed[request.model] += 1
            self.errors.append((request, error))
        else:
            self._book(request, completion)

    async def _watch(self, eng: Engine, screen: Screen, started_at: float) -> None:
        while True:
            self._look(eng, started_at)
            screen.update(self)
            await trio.sleep(_EVERY)

    def _look(self, eng: Engine, started_at: float) -> None:
        self.statistics = eng.statistics()
        self.seconds = trio.current_time() - started_at

    def _book(self, request: ChatRequest, completion: Completion) -> None:
        self.finished[request.model] += 1
        waited = completion.timings.provider_time_to_first_token
        if waited is not None:
            self.first_token[request.model].add(waited)
        answered = attrs.evolve(request, model=completion.route.partition("/")[2])
        self.different += completion.text != self._truth.expected_text(answered)
