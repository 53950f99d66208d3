"""Measure providers and gateways, as `streamnursery bench` does.

    target = Target.of("mine", config, Synthetic({"gpt-4.1": 1.0}), max_streams=None, attempts=1)
    load_run = await measure_load(target, Poisson(5), Options(count=100), 0, Watch())
    print(summary([load_run])["times"]["ttft"]["p99"])

Latency counts from the intended time, and only whole answers are throughput.
"""

from streamnursery.bench.plan import Options, Target
from streamnursery.bench.session import find_highest, run_levels
from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Ramp, Replay
from streamnursery.bench.thresholds import Threshold
from streamnursery.bench.workload import Lengths, Synthetic

__all__ = [
    "Concurrency",
    "Constant",
    "Lengths",
    "Options",
    "Poisson",
    "Ramp",
    "Replay",
    "Synthetic",
    "Target",
    "Threshold",
    "find_highest",
    "run_levels",
]
