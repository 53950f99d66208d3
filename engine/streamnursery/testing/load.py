"""Traffic: who asks when, how they read, when they leave, and what goes wrong meanwhile.

A `Traffic` is a value: Hypothesis shrinks it (`strategies.traffic`), and dice make big ones
(`random_traffic`). Running it is the same for both.
"""

from collections import Counter
from random import Random
from typing import Any

import attrs
import trio

from streamnursery.facade import Engine
from streamnursery.pipeline.stream import TokenStream
from streamnursery.simulator import (
    BadJson,
    BadUtf8,
    BlackHole,
    CloseDelimited,
    CloseIdle,
    Comments,
    Crlf,
    Cut,
    CutUpload,
    Delay,
    Drip,
    Garbage,
    HangAfterDone,
    InStreamError,
    NoEndMark,
    NoFinish,
    NoUsage,
    Overload,
    Plan,
    RateLimit,
    Redirect,
    RefuseConnect,
    Reset,
    ResolveFail,
    Rule,
    SlowTls,
    Split,
    Stall,
    Status,
    UsageLie,
    When,
)
from streamnursery.simulator.fault import Fault, NetworkFault
from streamnursery.simulator.script import GARBAGE
from streamnursery.testing.world import World
from streamnursery.values.errors import EngineError
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import EngineConfig

_ONE_IN_TWO = 0.5


@attrs.frozen
class Arrival:
    """One request and its consumer."""

    at: float
    """Seconds after the start of the traffic."""
    request: ChatRequest
    timeout: float = 60.0
    pause: float = 0.0
    """Seconds that the consumer needs for each event."""
    leaves_after: int | None = None
    """Events after which the consumer leaves its block; None: it reads to the end."""
    cancelled_after: float | None = None
    """Seconds after which the consumer is cancelled from outside."""


@attrs.frozen
class LimitChange:
    """A change of capacity under load."""

    at: float
    model: str | None
    """None: the global limit."""
    max_streams: int


@attrs.frozen
class Traffic:
    """Everything that happens to an engine for a while."""

    arrivals: tuple[Arrival, ...]
    limit_changes: tuple[LimitChange, ...] = ()
    plan: Plan = attrs.field(factory=Plan)
    """What goes wrong at the provider "sim"."""
    config: EngineConfig = attrs.field(factory=EngineConfig)

    async def run(self, world: World) -> Counter[str]:
        """Let it happen in `world`, with its own engine, to the end of the last stream.

        Returns how many consumers finished, left, were cancelled, or met which error.
        """
        world.provider.plan = self.plan
        async with world.open_engine(self.config) as engine:
            return await self.meet(engine)

    async def meet(self, engine: Engine) -> Counter[str]:
        """The arrivals and limit changes alone, with an engine that is open already."""
        await trio.lowlevel.checkpoint()
        tally: Counter[str] = Counter()
        async with trio.open_nursery() as nursery:
            for arrival in self.arrivals:
                nursery.start_soon(_visit, engine, arrival, tally)
            for change in self.limit_changes:
                nursery.start_soon(_change, engine, change)
        return tally


async def _change(engine: Engine, change: LimitChange) -> None:
    await trio.sleep(change.at)
    engine.set_limits(model=change.model, max_streams=change.max_streams)


async def _visit(engine: Engine, arrival: Arrival, tally: Counter[str]) -> None:
    await trio.sleep(arrival.at)
    patience = float("inf") if arrival.cancelled_after is None else arrival.cancelled_after
    with trio.move_on_after(patience) as scope:
        try:
            async with engine.stream(arrival.request, timeout=arrival.timeout) as stream:
                tally[await _read(stream, arrival)] += 1
        except EngineError as error:
            tally[type(error).__name__] += 1
    tally["cancelled"] += scope.cancelled_caught


async def _read(stream: TokenStream, arrival: Arrival) -> str:
    count = 0
    async for _ in stream:
        count += 1
        if count == arrival.leaves_after:
            return "left"
        if arrival.pause:
            await trio.sleep(arrival.pause)
    return "finished"


# Big traffic, from dice. ----------------------------------------------------------------------


def random_traffic(
    dice: Random, streams: int, *, seconds: float = 20.0, timeout: float | None = None
) -> Traffic:
    """`streams` arrivals within `seconds`: each attempt meets one fault or more with a probability
    of one in two, some consumers are slow, some leave, some are cancelled, limits change.

    Every stream has a deadline, 1 to 120 s after its arrival unless `timeout` sets another.
    """
    return Traffic(
        arrivals=tuple(_arrival(dice, number, seconds, timeout) for number in range(streams)),
        limit_changes=tuple(_limit_change(dice, seconds) for _ in range(streams // 25)),
        plan=random_plan(dice, _ONE_IN_TWO),
        config=EngineConfig(
            max_streams=30,
            default_max_streams=12,
            buffer_events=16,
            http2=Http2Settings(max_streams=4, max_connections=4),
        ),
    )


MODELS = ("fast", "gpt-4.1", "gemini-2.5-flash")


def _arrival(dice: Random, number: int, seconds: float, timeout: float | None) -> Arrival:
    fields: dict[str, Any] = {"n": 2} if dice.random() < 0.1 else {}
    prompt = [{"role": "user", "content": f"Question {number}"}]
    request = ChatRequest(
        dice.choice(MODELS), prompt, max_tokens=dice.randint(1, 60), seed=number, **fields
    )
    return Arrival(
        at=dice.uniform(0, seconds),
        request=request,
        timeout=dice.uniform(1, 120) if timeout is None else timeout,
        pause=dice.choice((0, 0, 0, 0.01, 0.5)),
        leaves_after=dice.randint(1, 40) if dice.random() < 0.1 else None,
        cancelled_after=dice.uniform(0, 20) if dice.random() < 0.1 else None,
    )


def _limit_change(dice: Random, seconds: float) -> LimitChange:
    model = dice.choice((None, *MODELS))
    return LimitChange(dice.uniform(0, seconds), model, dice.choice((0, 1, 3, 10, 30)))


def random_plan(dice: Random, share: float) -> Plan:
    """Every kind of fault, each so rare that `share` of the requests meet one or more, and a few
    of the connections."""
    faults = _faults(dice)
    kinds = sum(not isinstance(fault, NetworkFault) for fault in faults)
    each = 1 - (1 - share) ** (1 / kinds)
    rules = [Rule((fault,), When(probability=each)) for fault in faults]
    if dice.random() < 0.3:
        rules.append(Rule((dice.choice((RateLimit(rpm=300), Overload(beyond=8))),)))
    return Plan(tuple(rules))


def _faults(dice: Random) -> list[Fault]:
    def at() -> int:
        return dice.choice((0, 1, dice.randrange(60)))

    def seconds() -> float:
        return dice.choice((0.01, 1.0, dice.uniform(0, 100)))

    return [
        *(Cut(at()), Cut(at(), how="end"), Cut(dice.randrange(9000), unit="bytes")),
        *(Reset(at()), Reset(dice.randrange(9000), unit="bytes"), CutUpload(dice.randrange(100))),
        *(InStreamError(at()), InStreamError(at(), shape="openrouter", done=True)),
        *(Stall(at(), seconds()), Stall(at(), None), Stall(at(), seconds(), pings=5.0)),
        *(Delay(first_token=seconds()), Delay(first_byte=seconds())),
        *(HangAfterDone(seconds()), HangAfterDone(None), Drip(dice.randint(1, 99), 0.001)),
        *(Split((dice.randint(1, 9), dice.randint(1, 300))), Comments(2), Crlf()),
        *(BadJson(at()), BadUtf8(at()), NoEndMark(), NoFinish(), NoUsage(), CloseDelimited()),
        *(UsageLie({"prompt_tokens": -1, "completion_tokens": True}), CloseIdle(seconds())),
        *(Status(429), Status(429, retry_after=dice.choice((1, 3, 3600)))),
        *(Status(500), Status(503, retry_after=2), Status(529, body="busy"), Status(401)),
        *(Status(413, early=True), Redirect("http://elsewhere.test/v1/chat/completions")),
        *(Garbage(dice.choice(GARBAGE[:9])), Garbage("not_http"), Garbage("many_headers")),
        *(RefuseConnect(), BlackHole(), ResolveFail(), SlowTls(seconds())),
    ]
