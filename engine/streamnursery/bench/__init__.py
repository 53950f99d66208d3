"""Measure providers and gateways, as `streamnursery bench` does.

    target = Target.of("mine", config, Synthetic({"gpt-4.1": 1.0}), max_streams=None, attempts=1)
    stint = await run_stint(target, Poisson(5), Options(count=100), 0, Watch())
    print(summary([stint])["times"]["ttft"]["p99"])

Latency counts from the intended time, and only whole answers are throughput.
"""

from streamnursery.bench.calibrate import BenchError, Calibration, calibrate
from streamnursery.bench.figures import RunFigures, summary
from streamnursery.bench.plan import Options, Target
from streamnursery.bench.samples import Sample, Tally
from streamnursery.bench.session import Level, Result, find_highest, run_levels
from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Ramp, Replay
from streamnursery.bench.stint import RunMonitor, run_stint
from streamnursery.bench.terms import Threshold, ThresholdError, parse
from streamnursery.bench.workload import Given, Lengths, Synthetic, WorkloadError, read_requests

__all__ = [
    "BenchError",
    "Calibration",
    "Concurrency",
    "Constant",
    "Given",
    "Lengths",
    "Level",
    "Options",
    "Poisson",
    "Ramp",
    "Replay",
    "Result",
    "RunFigures",
    "RunMonitor",
    "Sample",
    "Synthetic",
    "Tally",
    "Target",
    "Threshold",
    "ThresholdError",
    "WorkloadError",
    "calibrate",
    "find_highest",
    "parse",
    "read_requests",
    "run_levels",
    "run_stint",
    "summary",
]
