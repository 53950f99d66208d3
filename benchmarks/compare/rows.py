"""What is measured: one row for each kind of work.

A figure per token or per stream is the difference of two runs, small and large, that differ in one
number only. So the start of the interpreter, imports and connections fall out.
"""

from statistics import median

import attrs

from benchmarks.compare.measure import ClientFailedError, Sample, Server, run
from benchmarks.compare.roster import Client, Job

BUDGET = 1.2
"""Seconds of CPU that the larger run of a burst should take more than the smaller one."""
MAX_REQUESTS = 20_000
"""Of one run: each also costs the start of a stream, which is not what a burst measures."""


@attrs.frozen
class Figures:
    """What a row says about one client; None where it does not apply."""

    cpu_us: float | None = None
    """CPU microseconds for one more unit of the row: a token, a stream start."""
    events_per_read: float | None = None
    latency_p50_us: float | None = None
    latency_p99_us: float | None = None
    kib_per_stream: float | None = None
    cancel_ms: float | None = None
    open_after_cancel: int | None = None


@attrs.frozen
class Row:
    name: str
    says: str
    unit: str
    clients: tuple[str, ...]
    secure: bool = False
    elastic: bool = False
    """The work is repeated more often for a client that is fast."""

    def jobs(self, target: Server) -> tuple[Job, Job]:
        """The small and the large run."""
        raise NotImplementedError

    def expected(self, job: Job) -> int:
        """Tokens that the job brings."""
        size = int(job.base.split("/")[3].split("-")[1])
        return size * job.streams * job.rounds

    def figures(self, small: Sample, large: Sample, units: int) -> Figures:
        raise NotImplementedError

    def units(self, small: Job, large: Job) -> int:
        """By how many units of the row the large job is larger."""
        return self.expected(large) - self.expected(small)

    def sized_for(self, client: Client, small: Job, large: Job) -> tuple[Job, Job]:
        """Repeated until the difference between the two can be measured."""
        if not self.elastic:
            return small, large
        once = client.microseconds * self.units(small, large)
        rounds = max(1, min(round(BUDGET * 1e6 / once), MAX_REQUESTS // small.streams))
        return attrs.evolve(small, rounds=rounds), attrs.evolve(large, rounds=rounds)

    def measure(self, client: Client, target: Server) -> tuple[Sample, Sample, Figures]:
        jobs = small, large = self.sized_for(client, *self.jobs(target))
        first, second = (run(client, job, target) for job in jobs)
        for job, sample in zip(jobs, (first, second), strict=True):
            if sample.tokens != self.expected(job):
                msg = f"{client.name} saw {sample.tokens} of {self.expected(job)} tokens"
                raise ClientFailedError(msg)
        return first, second, self.figures(first, second, self.units(small, large))


@attrs.frozen
class Burst(Row):
    """Answers that lie ready: nothing but the client's own work."""

    elastic: bool = True
    streams: int = 100
    kind: str = "burst"
    tokens: tuple[int, int] = (100, 300)

    def jobs(self, target: Server) -> tuple[Job, Job]:
        small, large = (
            Job(target.base(f"{self.kind}-{n}"), self.streams, ca=target.ca) for n in self.tokens
        )
        return small, large

    def figures(self, small: Sample, large: Sample, units: int) -> Figures:
        return Figures(
            cpu_us=1e6 * (large.cpu - small.cpu) / units,
            events_per_read=large.tokens / large.reads,
        )


@attrs.frozen
class Start(Row):
    """Streams of one token, one after the other on a few connections."""

    streams: int = 10
    rounds: tuple[int, int] = (20, 120)

    def jobs(self, target: Server) -> tuple[Job, Job]:
        base = target.base("burst-1")
        small, large = (Job(base, self.streams, n, ca=target.ca) for n in self.rounds)
        return small, large

    def figures(self, small: Sample, large: Sample, units: int) -> Figures:
        return Figures(cpu_us=1e6 * (large.cpu - small.cpu) / units)


@attrs.frozen
class Paced(Row):
    """Tokens that come one at a time, each in a segment of its own."""

    streams: int = 100
    rate: int = 50
    seconds: tuple[int, int] = (1, 4)

    def jobs(self, target: Server) -> tuple[Job, Job]:
        small, large = (
            Job(
                target.base(f"paced-{self.rate * seconds}-{self.rate}"),
                self.streams,
                stamped=True,
                ca=target.ca,
            )
            for seconds in self.seconds
        )
        return small, large

    def figures(self, small: Sample, large: Sample, units: int) -> Figures:
        latency = large.latency_us or {}
        return Figures(
            cpu_us=1e6 * (large.cpu - small.cpu) / units,
            events_per_read=units / max(1, large.reads - small.reads),
            latency_p50_us=latency.get("p50"),
            latency_p99_us=latency.get("p99"),
        )


@attrs.frozen
class Hold(Row):
    """Streams that have begun and then wait: their memory, and what it costs to cancel them."""

    streams: tuple[int, int] = (10, 1000)

    def jobs(self, target: Server) -> tuple[Job, Job]:
        small, large = (
            Job(target.base("hold-4"), n, hold=True, ca=target.ca) for n in self.streams
        )
        return small, large

    def units(self, small: Job, large: Job) -> int:
        return large.streams - small.streams

    def figures(self, small: Sample, large: Sample, units: int) -> Figures:
        assert small.held_kib is not None
        assert large.held_kib is not None
        assert large.cancel_cpu is not None
        return Figures(
            kib_per_stream=(large.held_kib - small.held_kib) / units,
            cancel_ms=1e3 * large.cancel_cpu,
            open_after_cancel=large.open_after_cancel,
        )


def middle(figures: list[Figures]) -> Figures:
    """The median of each figure on its own."""
    merged = {}
    for field in attrs.fields(Figures):
        values = [v for f in figures if (v := getattr(f, field.name)) is not None]
        merged[field.name] = median(values) if values else None
    return Figures(**merged)


ENGINE = ("engine", "engine again")
READING = ("engine, rests 2 ms", "engine, rests 5 ms", "engine, a task each")
FAST = (*ENGINE, "aiohttp + orjson", "Node, plain")
LIMITS = ("trio, receive only", "C receiver")
ALL = (*ENGINE, "AsyncOpenAI", "litellm", "aiohttp + orjson", "httpx on trio", "Node, plain")
NOT_LITELLM = tuple(name for name in ALL if name != "litellm")

ROWS = {
    row.name: row
    for row in (
        Burst("burst-1", "1 stream, answers at once", "token", (*NOT_LITELLM, *LIMITS), streams=1),
        Burst("burst-10", "10 streams, answers at once", "token", (*ALL, *LIMITS), streams=10),
        Burst(
            "burst-100",
            "100 streams, answers at once",
            "token",
            (*NOT_LITELLM, *LIMITS),
            streams=100,
        ),
        Burst(
            "burst-1000", "1,000 streams, answers at once", "token", (*FAST, *LIMITS), streams=1000
        ),
        Burst(
            "burst-5000", "5,000 streams, answers at once", "token", (*FAST, *LIMITS), streams=5000
        ),
        Burst(
            "packed-100",
            "100 streams, answers at once in HTTP chunks of 16 KiB",
            "token",
            (*FAST, *LIMITS),
            kind="packed",
        ),
        Start("start", "one more stream of one token, 10 at a time", "stream", ALL),
        Paced("paced-20x50", "20 streams of 50 tokens/s", "token", (*ALL, *LIMITS), streams=20),
        Paced(
            "paced-100x50",
            "100 streams of 50 tokens/s",
            "token",
            (*NOT_LITELLM, *READING, *LIMITS),
        ),
        Paced(
            "paced-1000x25",
            "1,000 streams of 25 tokens/s",
            "token",
            (*FAST, *READING, *LIMITS),
            streams=1000,
            rate=25,
        ),
        Paced(
            "paced-1000x50",
            "1,000 streams of 50 tokens/s, more than one core can take",
            "token",
            (*FAST, *READING, *LIMITS),
            streams=1000,
            rate=50,
        ),
        Hold("hold-1000", "1,000 streams that wait, then are cancelled", "stream", ALL),
        Burst("tls-burst-100", "100 streams over TLS, answers at once", "token", FAST, secure=True),
        Paced(
            "tls-paced-100x50", "100 streams of 50 tokens/s over TLS", "token", FAST, secure=True
        ),
    )
}
