"""Runs one phase of load through an engine and measures every request.

Rule 1: a request of an open loop starts on its date, whatever became of those before it. It is
        never dropped: what the client cannot start in time shows as its own lateness.
Rule 2: what was intended before the end of the warm-up or after the end of the load is run and
        not counted.
Rule 3: a phase ends when its requests have; those that are not over after `grace` are
        cancelled, and counted as such.
"""

import random
from collections.abc import Callable, Iterator
from math import inf

import attrs
import trio

from streamnursery.bench.costs import Costs
from streamnursery.bench.samples import CANCELLED, FAILED, OK, Sample
from streamnursery.bench.shapes import Concurrency, OpenLoop, Replay, Shape
from streamnursery.bench.workload import Workload
from streamnursery.facade import Engine
from streamnursery.pipeline.stream import TokenStream
from streamnursery.values.errors import EngineError, StreamCancelledError
from streamnursery.values.events import CONTENT
from streamnursery.values.request import ChatRequest

_CONTENT = frozenset(CONTENT)
_MAX_WORDS = 300
"""Characters of an error that are kept."""


@attrs.frozen
class LoadPhase:
    """One phase of load, as a value."""

    shape: Shape
    seconds: float = inf
    """How long requests begin, the warm-up included."""
    count: int | None = None
    """How many requests are counted; the load ends with them."""
    warmup: float = 0.0
    """Seconds."""
    grace: float = 60.0
    """Seconds that requests have to end when no more begin."""
    cancel_rate: float = 0.0
    """Share of requests that are left after a random number of pieces."""
    slow_rate: float = 0.0
    """Share of consumers that pause `slow_pause` seconds after each read."""
    slow_pause: float = 0.1
    timeout: float | None = None
    """Seconds for each request, from its start."""

    def __attrs_post_init__(self) -> None:
        ends = self.seconds < inf or self.count is not None
        if not ends and not isinstance(self.shape, Replay):
            raise ValueError("a phase of load needs a duration or a number of requests")


@attrs.define(eq=False)
class Running:
    """A phase while it runs; what is here afterwards holds, also when it was cancelled."""

    engine: Engine
    phase: LoadPhase
    workload: Workload
    seed: int
    on_sample: Callable[[Sample], None]
    """Called with each request that counts, when it has ended."""
    costs: Costs
    in_flight: int = attrs.field(default=0, init=False)
    begun: int = attrs.field(default=0, init=False)
    counted: int = attrs.field(default=0, init=False)
    """Requests that count and have begun."""
    measured_seconds: float = attrs.field(default=0.0, init=False)
    """From the end of the warm-up until the last request that counts has ended, or began."""
    max_lateness: float = attrs.field(default=0.0, init=False)
    """Seconds by which the client itself began a request late at most."""
    _started_at: float = attrs.field(default=0.0, init=False)
    _last_end: float = attrs.field(default=0.0, init=False)
    _habits: random.Random = attrs.field(init=False)
    _requests: Iterator[ChatRequest] = attrs.field(init=False)

    async def run(self) -> None:
        """Until every request has ended."""
        self._habits = random.Random(f"habits {self.seed}")
        self._requests = self.workload.requests(random.Random(f"requests {self.seed}"))
        self._started_at = trio.current_time()
        shape = self.phase.shape
        try:
            # Not by a deadline of the scope: requests would take it for one of their own.
            async with trio.open_nursery() as timer:
                async with trio.open_nursery() as nursery:
                    if isinstance(shape, Concurrency):
                        timer.start_soon(self._give_up, nursery, self.phase.seconds)
                        for _ in range(shape.users):
                            nursery.start_soon(self._user)
                    else:
                        await self._open(nursery, shape)
                        timer.start_soon(self._give_up, nursery, self.now)
                timer.cancel_scope.cancel()
        finally:
            self.measured_seconds = max(0.0, self._last_end - self.phase.warmup)

    @property
    def now(self) -> float:
        """Seconds since the start of the load."""
        return trio.current_time() - self._started_at

    def _goes_on(self, at: float) -> bool:
        """Whether a request may be intended for `at`."""
        count = self.phase.count
        return at < self.phase.seconds and (count is None or self.counted < count)

    async def _open(self, nursery: trio.Nursery, shape: OpenLoop) -> None:
        for at in shape.dates(random.Random(f"dates {self.seed}")):
            if not self._goes_on(at):
                break
            await trio.sleep_until(self._started_at + at)
            self.max_lateness = max(self.max_lateness, self.now - at)
            nursery.start_soon(self._one, *self._next(at))

    async def _give_up(self, nursery: trio.Nursery, end: float) -> None:
        """Cancel what still runs `grace` seconds after the load has ended."""
        await trio.sleep_until(self._started_at + end + self.phase.grace)
        nursery.cancel_scope.cancel()

    async def _user(self) -> None:
        while self._goes_on(self.now):
            await self._one(*self._next(self.now))
            await trio.lowlevel.checkpoint()

    def _next(self, at: float) -> tuple[Sample, ChatRequest, bool]:
        request = next(self._requests)
        counts = at >= self.phase.warmup
        sample = Sample(self.begun, request.model, at, self.now)
        self.begun += 1
        self.counted += counts
        return sample, request, counts

    async def _one(self, sample: Sample, request: ChatRequest, counts: bool) -> None:
        dice = self._habits
        leave_after = dice.randrange(1, 16) if dice.random() < self.phase.cancel_rate else None
        pause = self.phase.slow_pause if dice.random() < self.phase.slow_rate else 0.0
        self.in_flight += 1
        try:
            async with self.engine.stream(request, timeout=self.phase.timeout) as stream:
                try:
                    sample.outcome = await self._read(stream, sample, leave_after, pause)
                except EngineError as error:
                    cancelled = isinstance(error, StreamCancelledError)
                    sample.outcome = CANCELLED if cancelled else FAILED
                    sample.category, sample.error = error.category, _in_words(error)
                except trio.Cancelled:
                    sample.outcome = CANCELLED
                    raise
                finally:
                    self._note_end(stream, sample)
        except EngineError as error:  # refused before it began
            sample.category, sample.error = error.category, _in_words(error)
            sample.ended_at = self.now
        finally:
            self.in_flight -= 1
            if counts:
                self._last_end = max(self._last_end, self.now)
                self.on_sample(sample)

    async def _read(
        self, stream: TokenStream, sample: Sample, leave_after: int | None, pause: float
    ) -> str:
        before: float | None = None
        while True:
            try:
                events = await stream.receive()
            except trio.EndOfChannel:
                return OK
            content = sum(1 for event in events if type(event) in _CONTENT)
            if content:
                # When the read arrived, not when we looked.
                at = (stream.last_content_at or trio.current_time()) - self._started_at
                self._note_content(sample, at, before, content)
                before = at
                if leave_after is not None and sample.content_events >= leave_after:
                    return CANCELLED
            if pause:
                await trio.sleep(pause)

    @staticmethod
    def _note_content(sample: Sample, at: float, before: float | None, content: int) -> None:
        if before is None:
            sample.first_at = at
        else:
            sample.gaps.append(at - before)
        if sample.second_at is None and sample.content_events + content > 1:
            sample.second_at = at
        sample.content_events += content
        sample.reads += 1
        sample.last_at = at

    def _note_end(self, stream: TokenStream, sample: Sample) -> None:
        sample.ended_at = self.now
        timings, usage = stream.timings, stream.usage
        if timings.admitted_at is not None:
            sample.admitted_at = timings.admitted_at - self._started_at
        sample.attempts = len(stream.attempts)
        if stream.attempts:
            sample.sent_at = stream.attempts[-1].started_at - self._started_at
        if usage is not None:
            sample.input_tokens, sample.output_tokens = usage.input_tokens, usage.output_tokens
        sample.cost_usd = self.costs.of(sample.model, stream.attempts)
        sample.request_id = stream.request_id
        choices = stream.partial.choices
        sample.finish_reason = choices[0].finish_reason if choices else None


def _in_words(error: EngineError) -> str:
    """One line, in words of ours alone: what the provider said may hold a key."""
    return " ".join(str(error).split())[:_MAX_WORDS]
