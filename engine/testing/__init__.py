"""Prove a program that uses the engine: a simulated world, checkers, sweeps, strategies.

    from engine.testing import World

    async def main(world):
        async with world.open_engine() as eng:
            ...                                        # your program

    World(seed=7).run(main)

What needs Hypothesis or pytest (`pip install streamnursery[test]`) is loaded when it is asked for.
The fixture `world` is in `engine.testing.pytest_plugin`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from engine.testing.checks import after_faults_stop, check_history
from engine.testing.consumers import ConsumerRecord
from engine.testing.load import Arrival, LimitChange, Traffic, random_plan, random_traffic
from engine.testing.quiescence import assert_quiescent, no_files_left_open, wait_quiescent
from engine.testing.sim_disk import SimDisk
from engine.testing.sweeps import (
    SweepReport,
    cancel_at_every_step,
    cut_at_every_byte,
    each_point_of,
    fail_at_every_io,
)
from engine.testing.trace import Trace
from engine.testing.world import Wall, World, simulated_world

if TYPE_CHECKING:
    from engine.testing.machines import WorldMachine, in_world
    from engine.testing.strategies import (
        arrivals,
        chunkings,
        configs,
        fault_scripts,
        plans,
        requests,
        simulate,
        traffic,
    )

__all__ = [
    "Arrival",
    "ConsumerRecord",
    "LimitChange",
    "SimDisk",
    "SweepReport",
    "Trace",
    "Traffic",
    "Wall",
    "World",
    "WorldMachine",
    "after_faults_stop",
    "arrivals",
    "assert_quiescent",
    "cancel_at_every_step",
    "check_history",
    "chunkings",
    "configs",
    "cut_at_every_byte",
    "each_point_of",
    "fail_at_every_io",
    "fault_scripts",
    "in_world",
    "no_files_left_open",
    "plans",
    "random_plan",
    "random_traffic",
    "requests",
    "simulate",
    "simulated_world",
    "traffic",
    "wait_quiescent",
]

_LATER = {"WorldMachine": "machines", "in_world": "machines"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        msg = f"module 'engine.testing' has no attribute {name!r}"
        raise AttributeError(msg)
    module = import_module(f"engine.testing.{_LATER.get(name, 'strategies')}")
    value = globals()[name] = getattr(module, name)
    return value
