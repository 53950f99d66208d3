"""A world for the engine: virtual time, a network in memory, simulated providers, seeded dice.

Rule 1: the engine in it is the real one, from `open_engine`: transport, HTTP, SSE, scheduler.
        The world brings what an engine gets from outside, and remembers what consumers read.
Rule 2: one seed, one run: dice and scheduler follow it; there is no thread and no descriptor,
        which a virtual clock could not wait for.
Rule 3: leaving the world checks it: no connection, no request at a provider, a true history. It
        does not check when something else went wrong already.
Rule 4: a failure says how to see it again.
"""

import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import attrs
import trio
from trio.testing import MockClock

from streamnursery.config import config_from_mapping
from streamnursery.core.routing.router import RoutingPolicy
from streamnursery.facade import Engine, open_engine
from streamnursery.pipeline.delivery import Delivery
from streamnursery.scheduler.run.observers import Observer
from streamnursery.simulator import PROFILES, Host, Link, Plan, Profile, Provider, SimNetwork
from streamnursery.testing.as_code import as_code
from streamnursery.testing.byte_streams import Ending, Server, WorldStream, connect
from streamnursery.testing.checks import check_history
from streamnursery.testing.consumers import ConsumerRecord, RecordedStream
from streamnursery.testing.disturbance import Disturbance, disturbed
from streamnursery.testing.disturbed import (
    DisturbedAdmission,
    DisturbedDisk,
    DisturbedNetwork,
)
from streamnursery.testing.history import history_problems
from streamnursery.testing.own_network import OwnNetwork
from streamnursery.testing.quiescence import assert_nothing_real, open_files
from streamnursery.testing.scheduling import pinned
from streamnursery.testing.sim_disk import SimDisk
from streamnursery.testing.sites import Site, Wall
from streamnursery.testing.trace import Trace
from streamnursery.testing.watch import EngineWatch
from streamnursery.testing.world_http import WorldHttp
from streamnursery.transport.network import Network
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.http import HttpVersion
from streamnursery.values.secret import Secret
from streamnursery.values.settings import Endpoint, EngineConfig
from streamnursery.wire.dialect import Dialect
from streamnursery.wire.registry import Dialects

if TYPE_CHECKING:
    from streamnursery.storage.disk import Disk

N = TypeVar("N")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

LASTS = 7 * 86_400.0
_LAST_LINES = 12


class World:
    """Everything around an engine, made from a seed: `World(7).run(main)`.

    One simulated provider, "sim", is there from the start and follows `plan`; its answers are
    all different, so that a splice of two shows. `lasts` is in seconds of virtual time: a world
    that is not over by then stands still, and fails with what everybody waits for.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        plan: Plan | None = None,
        link: Link | None = None,
        tick: float = 0.0,
        lasts: float = LASTS,
        around: Callable[[Network], Network] | None = None,
        http: HttpVersion = "auto",
        buggify: bool = False,
    ) -> None:
        """`tick` is that of `SimNetwork`: with 0.001 a world of hundreds of streams at once takes
        a third less time. `around` may put something between the engines and the network. `http`
        is how the first provider is spoken to, as for `add_provider`. With `buggify` the engines
        are disturbed at their seams and at points in their code, by the seed: see `disturbance`."""
        self.seed = seed
        self.dice = random.Random(f"world {seed}")
        """For the program that runs in this world."""
        self.wall = Wall()
        self.trace = Trace()
        self.disk = SimDisk(dice=random.Random(f"disk {seed}"))
        """Where `budgets.ledger` of every engine lies."""
        self.streams: list[ConsumerRecord] = []
        """Every stream that was opened, in order."""
        self.engines: list[Engine] = []
        """The engines that are open."""
        self.providers: dict[str, Provider] = {}
        self.disturbance = Disturbance(f"disturbance {seed}") if buggify else None
        """Where and how often the engines were disturbed."""
        version = "" if http == "auto" else f", http={http!r}"
        disturbed = ", buggify=True" if buggify else ""
        planned = f", plan={as_code(plan)}" if plan else ""
        self.replay_line = f"World({seed}{planned}{version}{disturbed}).run(main)"
        """Shown with every failure."""
        self._sites: dict[str, Site] = {}
        self._lasts = lasts
        self._around = around
        self._tick = tick
        self._sim_network: SimNetwork | None = None
        self._network: Network | None = None
        self._nursery: trio.Nursery | None = None
        self._wires: list[WorldStream] = []
        self._watches: list[EngineWatch] = []
        self._real: tuple[set[threading.Thread], Mapping[str, str]] = (set(), {})
        """Threads and open files that were there before."""
        self.add_provider("sim", plan=plan, link=link, http=http)
        self.http = WorldHttp(self, str(self._sites["sim"].url), http)
        """For clients that are not this engine."""

    @property
    def provider(self) -> Provider:
        """The provider that was there first."""
        return self.providers["sim"]

    @property
    def network(self) -> Network:
        """The network of this world, while it is open."""
        return _opened(self._network)

    @property
    def open_connections(self) -> int:
        """Connections that an engine has not closed."""
        return _opened(self._sim_network).open_connections

    def add_provider(
        self,
        name: str,
        *,
        plan: Plan | None = None,
        host: str | None = None,
        addresses: Sequence[str] = (),
        models: Mapping[str, Profile] = PROFILES,
        speed: float = 1.0,
        key: Secret | None = None,
        fresh: bool = True,
        link: Link | None = None,
        http: HttpVersion = "auto",
        dialect: str = "",
    ) -> Provider:
        """Another simulated provider, at `http://{name}.test/v1` unless `host` names another.
        With `http="h2c"` engines talk HTTP/2 to it; they speak its `dialect`, the chat API's where
        none is given.

        `Provider` and `Host` explain the rest; a `plan` may be replaced at any time.
        """
        dice = random.Random(f"provider {name} {self.seed}")
        provider = Provider(
            dice=dice, name=name, models=models, plan=plan, speed=speed, key=key, fresh=fresh
        )
        self.providers[name] = provider
        place = Host(provider, tuple(addresses), link=link or Link())
        site = self._sites[name] = Site(host or f"{name}.test", place, key, http, dialect)
        if self._sim_network is not None:
            self._sim_network.add(site.host, place)
        return provider

    def config(self, **changes: Any) -> EngineConfig:
        """A configuration whose endpoints are the providers; "sim" serves unnamed models."""
        return attrs.evolve(self._with_endpoints(EngineConfig()), **changes)

    def _with_endpoints(self, config: EngineConfig) -> EngineConfig:
        if config.endpoints:
            return config
        endpoints = {
            name: Endpoint(name, site.url, site.key, dialect=site.dialect, http=site.http)
            for name, site in self._sites.items()
        }
        default = config.default_endpoint or "sim"
        return attrs.evolve(config, endpoints=endpoints, default_endpoint=default)

    @asynccontextmanager
    async def open_engine(
        self,
        config: EngineConfig | Mapping[str, Any] | None = None,
        *,
        observers: Sequence[Observer] = (),
        router: RoutingPolicy | None = None,
        dialects: Sequence[Dialect] = (),
    ) -> AsyncIterator[Engine]:
        """The real engine on this world's network, clocks and dice.

        A `config` without endpoints gets the providers of this world. Leaving the block checks
        that nothing of the engine is left, also when the block was cancelled.
        """
        await trio.lowlevel.checkpoint()
        if isinstance(config, Mapping):
            config = config_from_mapping(config, dialects=Dialects(dialects))
        watch = EngineWatch(self.trace)
        self._watches.append(watch)
        disk: Disk = self.disk
        opened = open_engine(
            self._with_endpoints(config or EngineConfig()),
            seed=self.dice.getrandbits(64),
            network=OwnNetwork(self._seam(self.network, DisturbedNetwork)),
            wall=self.wall,
            disk=self._seam(disk, DisturbedDisk),
            router=router,
            dialects=dialects,
            observers=(watch, *observers),
        )
        try:
            async with opened as engine:
                watch.attach(engine)
                engine._dispatcher.handle = partial(self._handle, watch)
                supervisor = engine._supervisor
                supervisor.admission = self._seam(supervisor.admission, DisturbedAdmission)
                self.engines.append(engine)
                try:
                    yield engine
                finally:
                    self.engines.remove(engine)
        except trio.Cancelled:
            watch.assert_closed()
            raise
        watch.assert_closed()

    def _seam(self, below: T, around: Callable[[T, Disturbance], T]) -> T:
        """What an engine gets: disturbed where this world disturbs."""
        return below if self.disturbance is None else around(below, self.disturbance)

    def _handle(self, watch: EngineWatch, delivery: Delivery) -> RecordedStream:
        stream = RecordedStream(delivery, len(self.streams) + 1, self.trace)
        self.streams.append(stream.record)
        watch.streams.append(stream.record)
        return stream

    async def connect(
        self,
        server: Server,
        *,
        link: Link | None = None,
        back: Link | None = None,
        cut: int | None = None,
        how: Ending = "end",
    ) -> WorldStream:
        """The client's end of a byte stream whose other end `server` is given, for protocols of
        your own; `server` runs in this world. `link` leads to the server, `back` from it; after
        `cut` bytes from the server the connection ends as `how` says ("end", "reset").

        Raises:
            RuntimeError: the world is not open.
        """
        await trio.lowlevel.checkpoint()
        nursery = _opened(self._nursery)
        wire = connect(nursery, server, link=link, back=back, cut=cut, how=how)
        self._wires.append(wire)
        return wire

    def note(self, text: str) -> None:
        """Put a line of your own into the trace."""
        self.trace.add((trio.current_time(), text))

    def stop_faults(self) -> None:
        """From now on nothing goes wrong at any provider; what has begun to goes on."""
        for provider in self.providers.values():
            provider.plan = Plan()

    def digest(self) -> str:
        """32 hex digits of all that happened: equal for equal seeds and equal programs."""
        return self.trace.digest(*(list(provider.log) for provider in self.providers.values()))

    def problems(self) -> list[str]:
        """What `check_history` would complain about."""
        logs = [provider.log for provider in self.providers.values()]
        found = [problem for watch in self._watches for problem in watch.found()]
        dropped = sum(log.dropped for log in logs)
        if dropped:
            found.append(
                f"{dropped} requests are missing in the providers' logs: too many for one world"
            )
        requests = {record.id: record for log in logs for record in log}
        # On a WebSocket an answer has a name, and no exchange of its own.
        requests |= {r.response_id: r for r in list(requests.values()) if r.response_id}
        return [*found, *history_problems(self.streams, requests)]

    # Opening and closing. --------------------------------------------------------------------

    def run(self, async_fn: Callable[["World", *Ts], Awaitable[T]], *args: *Ts) -> T:
        """`trio.run(async_fn, world, *args)` in this world; what it returns or raises."""
        with pinned(self.seed):
            return trio.run(self._run, async_fn, args, clock=MockClock(autojump_threshold=0))

    async def _run(self, async_fn: Callable[..., Awaitable[T]], args: tuple[Any, ...]) -> T:
        async with self.opened():
            return await async_fn(self, *args)

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["World"]:
        """The world inside a run whose clock is virtual already; `run` and `simulated_world`
        do this for you.

        Raises:
            AssertionError: something is left, or the history is wrong.
        """
        await trio.lowlevel.checkpoint()
        if not isinstance(trio.lowlevel.current_clock(), MockClock) or self._network is not None:
            msg = (
                "a world opens once, in a run with trio.testing.MockClock(autojump_threshold=0); "
                "World(seed).run(main) makes one"
            )
            raise RuntimeError(msg)
        self._real = set(threading.enumerate()), open_files()
        try:
            with disturbed(self.disturbance), bare_errors():
                async with trio.open_nursery() as nursery:
                    self._begin(nursery)
                    yield self
                    await self._finish()
                    nursery.cancel_scope.cancel()
            assert_nothing_real(*self._real)
        except BaseException as error:
            self._explain(error)
            raise
        finally:
            self.disk.close()

    def _begin(self, nursery: trio.Nursery) -> None:
        hosts = {site.host: site.place for site in self._sites.values()}
        network = self._sim_network = SimNetwork(nursery, hosts, tick=self._tick)
        self._network = network if self._around is None else self._around(network)
        self.http.begin(nursery)
        self._nursery = nursery
        nursery.start_soon(self._stop_at_the_end)

    async def _stop_at_the_end(self) -> None:
        await trio.sleep(self._lasts)
        assert_nothing_real(*self._real)
        waiting = [f"{s} for {s.stream.waiting_for()}" for s in self.streams if not s.over]
        msg = f"the world stands still: nothing ended it within {self._lasts:g} s of its own time"
        raise AssertionError("; ".join([msg, *waiting[:20]]))

    async def _finish(self) -> None:
        network = _opened(self._sim_network)
        self.http.end()
        left = network.open_connections + sum(not wire.closed for wire in self._wires)
        if left:
            msg = f"{left} connections were left open, and no engine is"
            raise AssertionError(msg)
        await network.stop()
        check_history(self)

    def _explain(self, error: BaseException) -> None:
        if isinstance(error, trio.Cancelled | KeyboardInterrupt | GeneratorExit):
            return
        error.add_note(f"replay: {self.replay_line}")
        if lines := self.trace.lines(_LAST_LINES):
            error.add_note("\n".join(["the last of its trace:", *lines]))


@asynccontextmanager
async def simulated_world(
    seed: int = 0,
    *,
    plan: Plan | None = None,
    link: Link | None = None,
    tick: float = 0.0,
    lasts: float = LASTS,
    around: Callable[[Network], Network] | None = None,
    buggify: bool = False,
) -> AsyncIterator[World]:
    """A world inside a test that runs on a `MockClock` already; the arguments are `World`'s."""
    world = World(
        seed, plan=plan, link=link, tick=tick, lasts=lasts, around=around, buggify=buggify
    )
    world.replay_line = f"simulated_world(seed={seed})"
    with pinned(seed):
        async with world.opened():
            yield world


def _opened(network: N | None) -> N:
    if network is None:
        raise RuntimeError("this world is not open; use World(seed).run(main)")
    return network
