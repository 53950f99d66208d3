"""Prove a program that uses the engine: a simulated world, checkers, sweeps, strategies.

    from streamnursery.testing import World

    async def main(world):
        async with world.open_engine() as eng:
            ...                                        # your program

    World(seed=7).run(main)

What needs Hypothesis or pytest (`pip install streamnursery[test]`) is loaded when it is asked for.
The fixtures `world` and `live_provider` are in `streamnursery.testing.pytest_plugin`; the latter is
for programs on asyncio or in threads (`streamnursery.testing.live`).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from streamnursery.testing.checks import after_faults_stop, check_history
from streamnursery.testing.load import random_plan, random_traffic
from streamnursery.testing.quiescence import assert_quiescent, no_files_left_open, wait_quiescent
from streamnursery.testing.sweeps import (
    cancel_at_every_step,
    cut_at_every_byte,
    each_point_of,
    fail_at_every_io,
)
from streamnursery.testing.world import World, simulated_world

if TYPE_CHECKING:
    from streamnursery.testing.machines import WorldMachine, in_world
    from streamnursery.testing.simulation import simulate
    from streamnursery.testing.strategies import fault_scripts, plans

__all__ = [
    "World",
    "WorldMachine",
    "after_faults_stop",
    "assert_quiescent",
    "cancel_at_every_step",
    "check_history",
    "cut_at_every_byte",
    "each_point_of",
    "fail_at_every_io",
    "fault_scripts",
    "in_world",
    "no_files_left_open",
    "plans",
    "random_plan",
    "random_traffic",
    "simulate",
    "simulated_world",
    "wait_quiescent",
]

_LATER = {"WorldMachine": "machines", "in_world": "machines", "simulate": "simulation"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        msg = f"module 'streamnursery.testing' has no attribute {name!r}"
        raise AttributeError(msg)
    module = import_module(f"streamnursery.testing.{_LATER.get(name, 'strategies')}")
    value = globals()[name] = getattr(module, name)
    return value
