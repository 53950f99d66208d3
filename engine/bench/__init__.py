"""Measure providers and gateways, as `streamnursery bench` does.

    target = Target.of("mine", config, Synthetic({"gpt-4.1": 1.0}), max_streams=None, attempts=1)
    stint = await run_stint(target, Poisson(5), Options(count=100), 0, Watch())
    print(summary([stint])["times"]["ttft"]["p99"])

Latency counts from the intended time, and only whole answers are throughput.
"""

from engine.bench.calibrate import BenchError, Calibration, calibrate
from engine.bench.figures import Stint, summary
from engine.bench.plan import Options, Target
from engine.bench.samples import Sample, Tally
from engine.bench.session import Level, Result, find_highest, run_levels
from engine.bench.shapes import Concurrency, Constant, Poisson, Ramp, Replay
from engine.bench.stint import Watch, run_stint
from engine.bench.terms import Term, TermError, parse
from engine.bench.workload import Given, Lengths, Synthetic, WorkloadError, read_requests

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
    "Sample",
    "Stint",
    "Synthetic",
    "Tally",
    "Target",
    "Term",
    "TermError",
    "Watch",
    "WorkloadError",
    "calibrate",
    "find_highest",
    "parse",
    "read_requests",
    "run_levels",
    "run_stint",
    "summary",
]
