"""A whole benchmark, as a value: targets, levels of load, repetitions. And its way to a worker."""

from collections.abc import Mapping
from math import inf
from typing import Any

import attrs

from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Ramp, Replay, Shape
from streamnursery.bench.thresholds import Threshold
from streamnursery.bench.workload import Workload
from streamnursery.values.policy import Retries
from streamnursery.values.settings import EngineConfig, ModelSettings

SIMULATOR = "simulator"
"""Name of the target that `sim/` models are asked of."""
AT_ONCE = 20_000
"""Streams that a benchmark may hold by default."""


@attrs.frozen
class Target:
    """Who is measured."""

    name: str
    config: EngineConfig = attrs.field(repr=False)
    workload: Workload = attrs.field(repr=False)

    @classmethod
    def of(
        cls,
        name: str,
        config: EngineConfig,
        workload: Workload,
        *,
        max_streams: int | None,
        attempts: int,
    ) -> "Target":
        """`config` with its limits and retries taken out of the way, so that the target is
        measured and not our own queue; `max_streams` puts one limit over all."""
        retries = attrs.evolve(config.retries, attempts=attempts)
        models = {m.name: _measured(m, retries) for m in config.models.values()}
        return cls(
            name,
            attrs.evolve(
                config,
                max_streams=max_streams or AT_ONCE,
                default_max_streams=max_streams or AT_ONCE,
                max_queued=1_000_000,
                max_idle_connections=AT_ONCE,
                models=models,
                retries=retries,
            ),
            workload,
        )


def _measured(settings: ModelSettings, retries: Retries) -> ModelSettings:
    return attrs.evolve(settings, max_streams=None, retries=retries, fallback=())


@attrs.frozen
class Options:
    """What holds for every phase."""

    seconds: float = inf
    count: int | None = None
    warmup: float = 0.0
    grace: float = 60.0
    timeout: float | None = None
    cancel_rate: float = 0.0
    slow_rate: float = 0.0
    slow_pause: float = 0.1
    repetitions: int = 1
    workers: int = 1
    seed: int = 0
    slo: tuple[Threshold, ...] = ()

    def packed(self) -> dict[str, Any]:
        """As JSON values, for a worker."""
        return {
            **attrs.asdict(self, filter=attrs.filters.exclude("slo", "seconds")),
            "seconds": None if self.seconds == inf else self.seconds,
            "slo": ", ".join(threshold.text for threshold in self.slo),
        }


_SHAPES: Mapping[str, type] = {
    kind.__name__: kind for kind in (Concurrency, Constant, Poisson, Ramp, Replay)
}


def pack_shape(shape: Shape) -> dict[str, Any]:
    """As JSON values that `unpack_shape` reads."""
    return {"kind": type(shape).__name__, **attrs.asdict(shape)}


def unpack_shape(packed: Mapping[str, Any]) -> Shape:
    """The inverse of `pack_shape`."""
    fields = dict(packed)
    kind = _SHAPES[fields.pop("kind")]
    if "offsets" in fields:
        fields["offsets"] = tuple(fields["offsets"])
    shape: Shape = kind(**fields)
    return shape
