"""The real engine between a test and scripted providers, on a virtual clock."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial, wraps
from typing import Any, ParamSpec

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from streamnursery import Engine, EngineError, TokenStream, open_engine
from streamnursery.simulator import Plan, Profile, Provider, Rule, SimNetwork, When
from streamnursery.simulator.fault import Fault
from streamnursery.testing import assert_quiescent
from streamnursery.values.events import Finished, StreamEvent, TextDelta

PACED = Profile(ttft_mean=1.0, ttft_p95=1.0, tokens_per_second=10, output_tokens=(10, 10))
"""The first token after a second, then one each tenth of a second, ten in all."""
AT_ONCE = Profile(output_tokens=(10, 10))


P = ParamSpec("P")


FOR_EVER = 1e7
"""Virtual seconds after which a test waits for something that will not come."""


def virtual(test: Callable[P, Awaitable[None]]) -> Callable[P, None]:
    """Run an async test on a clock of its own that jumps over every wait, from 0.

    A test whose tasks all wait in vain fails at once: the clock jumps to `FOR_EVER`. No deadline
    does it, since everything inside would inherit that.
    """

    async def main(*args: P.args, **kwargs: P.kwargs) -> None:
        trio.lowlevel.spawn_system_task(_give_up)
        await test(*args, **kwargs)

    @wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        trio.run(partial(main, *args, **kwargs), clock=MockClock(autojump_threshold=0))

    return run


async def _give_up() -> None:
    await trio.sleep(FOR_EVER)
    msg = "everybody waits, for nothing that will come"
    raise TimeoutError(msg)


@attrs.define
class Scene:
    """An engine with model "m" at endpoint "main"; others as the test asks."""

    engine: Engine
    providers: dict[str, Provider]
    network: SimNetwork

    @property
    def provider(self) -> Provider:
        return self.providers["main"]

    @property
    def asked(self) -> int:
        """Requests that reached the primary provider."""
        return len(self.provider.log)


def once(*faults: Fault, requests: tuple[int, ...] = (1,)) -> Plan:
    """The first request, or those of these numbers, meet `faults`; the others are served well."""
    return Plan((Rule((*faults,), When(requests=requests)),))


def always(*faults: Fault) -> Plan:
    return Plan.always(*faults)


@asynccontextmanager
async def scene(
    plan: Plan | None = None,
    *,
    profile: Profile = PACED,
    backups: Mapping[str, Plan] | None = None,
    model: Mapping[str, Any] | None = None,
    observers: Sequence[Callable[[Any], None]] = (),
    max_records: int = 100_000,
    **config: Any,
) -> AsyncIterator[Scene]:
    """`backups` are further endpoints of the model, in order, each with its plan; a provider's log
    keeps `max_records`. Leaving the scene checks that nothing is left of it."""
    plans = {"main": plan or Plan(), **(backups or {})}
    settings: dict[str, Any] = {
        "endpoints": {name: {"url": f"http://{name}.example.com/v1"} for name in plans},
        "models": {"m": {"routes": [{"endpoint": name} for name in plans], **(model or {})}},
        **config,
    }
    providers = {
        name: Provider(
            dice=random.Random(1),
            name=name,
            models={"m": profile},
            plan=plan,
            max_records=max_records,
        )
        for name, plan in plans.items()
    }
    async with trio.open_nursery() as nursery:
        hosts = {f"{name}.example.com": provider for name, provider in providers.items()}
        network = SimNetwork(nursery, hosts)
        opened = open_engine(settings, network=network, seed=1, wall=wall, observers=observers)
        async with opened as engine:
            yield Scene(engine, providers, network)
            with trio.move_on_after(1):  # a task step or two, not a wait on anything
                await wait_all_tasks_blocked()
            assert_quiescent(engine)
        await wait_all_tasks_blocked()
        assert network.open_connections == 0
        nursery.cancel_scope.cancel()


def wall() -> float:
    """Unix time on the virtual clock."""
    return 1_700_000_000 + trio.current_time()


@attrs.define
class Reading:
    """What a consumer got."""

    events: list[StreamEvent] = attrs.field(factory=list)
    error: EngineError | None = None

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, TextDelta))

    @property
    def tokens(self) -> int:
        return sum(isinstance(e, TextDelta) for e in self.events)

    @property
    def finished(self) -> bool:
        return bool(self.events) and isinstance(self.events[-1], Finished)


async def read(stream: TokenStream) -> Reading:
    """Read to the end, whichever it is."""
    reading = Reading()
    try:
        async for event in stream:
            reading.events.append(event)
    except EngineError as error:
        reading.error = error
    return reading


async def ask(engine: Engine, **options: Any) -> Reading:
    """One stream of model "m", read to its end."""
    async with engine.stream("m", "hello", **options) as stream:
        return await read(stream)
