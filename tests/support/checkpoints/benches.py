"""What `streamnursery.bench` measures with, on the simulated network."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs

from streamnursery.bench import (
    Concurrency,
    Options,
    Poisson,
    Synthetic,
    Target,
    find_highest,
    run_levels,
)
from streamnursery.bench.load_run import RunMonitor, measure_load
from streamnursery.bench.run_summary import LoadRun
from streamnursery.bench.shapes import Shape
from streamnursery.bench.thresholds import parse
from streamnursery.bench.workload import Lengths
from streamnursery.config import config_from_mapping
from streamnursery.simulator import SimNetwork
from tests.support.checkpoints import Call, Table
from tests.support.checkpoints.network import network

TABLE = Table()


def target() -> Target:
    endpoints = {"main": {"url": "http://main.example.com/v1"}}
    config = config_from_mapping({
        "endpoints": endpoints,
        "models": {"m": {"routes": [{"endpoint": "main"}]}},
    })
    workload = Synthetic({"m": 1.0}, Lengths(8), None)
    return Target.of("main", config, workload, max_streams=None, attempts=1)


@attrs.frozen
class OnNetwork:
    """A runner."""

    network: SimNetwork
    options: Options

    async def load_run(self, _: int, shape: Shape, repetition: int, /) -> LoadRun:
        watch = RunMonitor()
        return await measure_load(
            target(), shape, self.options, repetition, watch, network=self.network
        )


class Failing:
    """A runner."""

    async def load_run(self, target: int, shape: Shape, repetition: int, /) -> LoadRun:
        raise LookupError((target, shape, repetition))


def ignore(*_: object) -> None:
    pass


@TABLE.case("bench.measure_load", "two requests")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    async with network() as net:
        yield lambda: measure_load(
            target(), Concurrency(1), Options(count=2), 0, RunMonitor(), network=net
        )


@TABLE.case("bench.measure_load", "a load without an end", ValueError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    yield lambda: measure_load(target(), Poisson(1), Options(), 0, RunMonitor())


@TABLE.case("bench.run_levels", "no target")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    yield lambda: run_levels([], [], Options(count=1), Failing(), ignore)


@TABLE.case("bench.run_levels", "the runner fails", LookupError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    yield lambda: run_levels([target()], [Poisson(1)], Options(count=1), Failing(), ignore)


@TABLE.case("bench.find_highest", "no load is good enough")
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    options = Options(count=1, slo=parse("rps>1000000"))
    async with network() as net:
        runner = OnNetwork(net, options)
        yield lambda: find_highest(0, target(), Concurrency(1), options, runner, ignore)


@TABLE.case("bench.find_highest", "the runner fails", LookupError)
@asynccontextmanager
async def _() -> AsyncIterator[Call]:
    yield lambda: find_highest(0, target(), Poisson(1), Options(count=1), Failing(), ignore)
