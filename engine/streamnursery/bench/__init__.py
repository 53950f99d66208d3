"""Measure providers and gateways, as `streamnursery bench` does.

    target = Target.of("mine", config, Synthetic({"gpt-4.1": 1.0}), max_streams=None, attempts=1)
    load_run = await measure_load(target, Poisson(5), Options(count=100), 0, Watch())
    print(summary([load_run])["times"]["ttft"]["p99"])

Latency counts from the intended time, and only whole answers are throughput.
"""

from streamnursery.bench.calibrate import BenchError, Calibration, calibrate
from streamnursery.bench.load_run import RunMonitor, measure_load
from streamnursery.bench.plan import Options, Target
from streamnursery.bench.run_summary import LoadRun, summary
from streamnursery.bench.samples import Sample, Tally
from streamnursery.bench.session import Level, Result, find_highest, run_levels
from streamnursery.bench.shapes import Concurrency, Constant, Poisson, Ramp, Replay
from streamnursery.bench.thresholds import Threshold, ThresholdError, parse
from streamnursery.bench.workload import Given, Lengths, Synthetic, WorkloadError, read_requests

__all__ = [
    "BenchError",
    "Calibration",
    "Concurrency",
    "Constant",
    "Given",
    "Lengths",
    "Level",
    "LoadRun",
    "Options",
    "Poisson",
    "Ramp",
    "Replay",
    "Result",
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
    "measure_load",
    "parse",
    "read_requests",
    "run_levels",
    "summary",
]
