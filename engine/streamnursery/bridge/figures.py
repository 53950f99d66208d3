"""The engine's figures for another thread: put together where the engine runs.

They are made of what is read when they are looked at, and the words for what something waits for
ask the engine itself, which no other thread may.
"""

import attrs

from streamnursery.facade import Engine
from streamnursery.values.snapshot import EngineSnapshot
from streamnursery.values.statistics import EngineStatistics


def snapshot(engine: Engine) -> EngineSnapshot:
    """As `Engine.snapshot`, whole."""
    found = engine.snapshot()
    return attrs.evolve(
        found,
        streams=tuple(found.streams),
        limits=tuple(found.limits),
        routes=dict(found.routes),
    )


def statistics(engine: Engine) -> EngineStatistics:
    """As `Engine.statistics`, whole."""
    found = engine.statistics()
    return attrs.evolve(
        found, total=found.total, models=dict(found.models), routes=dict(found.routes)
    )
