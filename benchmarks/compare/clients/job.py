"""What every Python client shares: its task, its count, its report.

A client is started as `client.py JOB`, JOB being JSON, and prints one JSON object per line:
`{"state": "held"}` when all streams of a hold have begun, `{"state": "cancelled", "cpu": s}` when
it has cancelled them, `{"state": "done", "tokens": n, "latency_us": {...}}` at the end; of a job
that is timed with `first_ms` and `span`.
"""

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic_ns
from typing import Any

REST_BEFORE_CANCEL = 0.5
"""Seconds in which the parent reads the memory of this process."""
REST_AFTER_CANCEL = 0.5
"""Seconds in which the parent asks the server what is still open."""


def say(state: str, **more: Any) -> None:
    print(json.dumps({"state": state, **more}), flush=True)


def cpu() -> float:
    """Seconds of this process so far, user and system."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@dataclass
class Job:
    base: str
    """Base URL, which says to the server what to send."""
    streams: int
    """Streams at once."""
    rounds: int = 1
    """Requests that each of them makes, one after the other."""
    stamped: bool = False
    """Each token's text is the time of its sending."""
    hold: bool = False
    """Wait until all streams have begun, rest, cancel all of them."""
    ca: str | None = None
    """Certificate that the server's TLS is to be verified with."""
    http: str = "1.1"
    """"2": over TLS, where the server offers it."""
    model: str = "bench"
    timed: bool = False
    """Say how long each request took to its first token; on trio, and the plain Node client."""
    fresh: bool = False
    """A connection of its own for each request; this engine, and the plain Node client."""

    tokens: int = 0
    begun: int = 0
    delays: list[int] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    """When the first and the last token of all requests came, nanoseconds."""

    @classmethod
    def from_arguments(cls) -> "Job":
        return cls(**json.loads(sys.argv[1]))

    def saw(self, text: str) -> None:
        """Count one token; called in the client's innermost loop."""
        self.tokens += 1
        if self.stamped:
            self.delays.append(monotonic_ns() - int(text[2:]))

    def timing(self) -> Callable[[str], None]:
        """A `saw` for one request that begins now."""
        started, first = monotonic_ns(), True

        def saw(text: str) -> None:
            nonlocal first
            now = monotonic_ns()
            if first:
                self.first_ms.append((now - started) / 1e6)
                first = False
            self.seen[1:] = [now]
            self.saw(text)

        return saw

    def begin(self) -> bool:
        """Count a stream whose first token has come; True for the last one."""
        self.begun += 1
        return self.begun == self.streams

    def report(self) -> None:
        more = {}
        if self.timed:
            span = (self.seen[-1] - self.seen[0]) / 1e9
            more = {"first_ms": [round(value, 3) for value in self.first_ms], "span": span}
        say("done", tokens=self.tokens, latency_us=quantiles(self.delays), **more)


def quantiles(nanoseconds: list[int]) -> dict[str, float] | None:
    if not nanoseconds:
        return None
    ordered = sorted(nanoseconds)
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    return {name: ordered[int(q * (len(ordered) - 1))] / 1000 for name, q in at.items()}
