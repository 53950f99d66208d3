"""Kinds of rows: what is run, what each client has to bring, and the figures made from it.

A figure per token or per stream is the difference of two runs, small and large, that differ in one
number only. So the start of the interpreter, imports and connections fall out.
"""

from collections.abc import Mapping
from hashlib import sha256
from statistics import median

import attrs

from benchmarks.compare import prompts
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
    first_cpu_us: float | None = None
    """CPU of the first request after open, and below of the tenth."""
    tenth_cpu_us: float | None = None
    first_ms: float | None = None
    """Wall time to the first token of the first request after open."""


@attrs.frozen
class Row:
    name: str
    says: str
    unit: str
    clients: tuple[str, ...]
    secure: bool = False
    http: str = "1.1"
    """"2": over TLS through nginx, for the load server does not speak it."""
    elastic: bool = False
    """The work is repeated more often for a client that is fast."""
    varied: bool = True
    """Prompts of 0.2 to 20 KB, no two alike; if not, each says "hi"."""

    def jobs(self, target: Server) -> Mapping[str, Job]:
        """What is run, by a name for each, in that order."""
        raise NotImplementedError

    def tokens(self, job: Job) -> int:
        """Of each answer."""
        return int(job.base.split("/")[3].split("-")[1])

    def figures(self, jobs: Mapping[str, Job], samples: Mapping[str, Sample]) -> Figures:
        raise NotImplementedError

    def measure(self, client: Client, target: Server) -> tuple[Figures, dict[str, Sample]]:
        """Run a client's jobs.

        Raises:
            ClientFailedError: it ended badly, or without every token, text and end.
        """
        jobs = dict(self.sized_for(client, self.jobs(target)))
        file = str(prompts.file()) if self.varied else None
        jobs = {n: attrs.evolve(job, http=self.http, prompts=file) for n, job in jobs.items()}
        samples = {}
        for name, job in jobs.items():
            before = target.statistics()["received"]
            samples[name] = sample = run(client, job, target)
            received = target.statistics()["received"] - before
            wrong = self.wrong(client, job, sample, target.text(self.tokens(job)), received)
            if wrong is not None:
                raise ClientFailedError(f"{client.name} {wrong}")
        return self.figures(jobs, samples), samples

    def sized_for(self, client: Client, jobs: Mapping[str, Job]) -> Mapping[str, Job]:
        """Repeated until the difference between the two can be measured."""
        if not self.elastic:
            return jobs
        small = jobs["small"]
        once = client.microseconds * units(self, jobs)
        rounds = max(1, min(round(BUDGET * 1e6 / once), MAX_REQUESTS // small.streams))
        return {name: attrs.evolve(job, rounds=rounds) for name, job in jobs.items()}

    def wrong(
        self, client: Client, job: Job, sample: Sample, text: str, received: int
    ) -> str | None:
        """What a client did not do. `text` is what each answer says; `received`, bytes sent."""
        requests = job.streams * job.rounds
        tokens, ends = self.tokens(job) * requests, 0 if job.hold else requests
        least = prompts.sent(requests) if job.prompts is not None else 2 * requests
        if sample.tokens != tokens:
            return f"saw {sample.tokens} of {tokens} tokens"
        if sample.ended != ends:
            return f"saw the end of {sample.ended} of {ends} answers"
        if received < least:
            return f"sent {received} bytes, and its prompts alone have {least}"
        if client.reads_text and not job.stamped and not job.hold:
            expected = sha256(text.encode()).hexdigest()
            if sample.text != expected:
                return "read another text than the server sent"
        return None


def units(row: Row, jobs: Mapping[str, Job]) -> int:
    """By how many tokens the large job is larger."""
    small, large = (row.tokens(j) * j.streams * j.rounds for j in (jobs["small"], jobs["large"]))
    return large - small


def cpu_of_one_more(samples: Mapping[str, Sample], count: int) -> float:
    """Microseconds."""
    return 1e6 * (samples["large"].cpu - samples["small"].cpu) / count


@attrs.frozen
class Burst(Row):
    """Answers that lie ready: nothing but the client's own work."""

    elastic: bool = True
    streams: int = 100
    kind: str = "burst"
    each: tuple[int, int] = (100, 300)

    def jobs(self, target: Server) -> Mapping[str, Job]:
        small, large = (
            Job(target.base(f"{self.kind}-{n}"), self.streams, ca=target.ca) for n in self.each
        )
        return {"small": small, "large": large}

    def figures(self, jobs: Mapping[str, Job], samples: Mapping[str, Sample]) -> Figures:
        large = samples["large"]
        return Figures(
            cpu_us=cpu_of_one_more(samples, units(self, jobs)),
            events_per_read=large.tokens / large.reads if large.reads else None,
        )


@attrs.frozen
class Start(Row):
    """Streams of one token, one after the other on a few connections."""

    streams: int = 10
    rounds: tuple[int, int] = (20, 220)
    together: bool = False
    """No answer comes before all streams have asked."""
    fresh: bool = False
    """Each on a connection of its own."""

    def jobs(self, target: Server) -> Mapping[str, Job]:
        base = target.base(f"burst-1-{self.streams}" if self.together else "burst-1")
        small, large = (
            Job(base, self.streams, n, ca=target.ca, fresh=self.fresh) for n in self.rounds
        )
        return {"small": small, "large": large}

    def figures(self, jobs: Mapping[str, Job], samples: Mapping[str, Sample]) -> Figures:
        return Figures(cpu_us=cpu_of_one_more(samples, units(self, jobs)))


@attrs.frozen
class Paced(Row):
    """Tokens that come one at a time, each in a segment of its own."""

    streams: int = 100
    rate: int = 50
    each: tuple[int, int] = (50, 200)
    """Tokens of an answer."""
    together: bool = False
    """No token comes before all streams have asked, so that all of them are there for each."""

    def jobs(self, target: Server) -> Mapping[str, Job]:
        gate = f"-{self.streams}" if self.together else ""
        small, large = (
            Job(
                target.base(f"paced-{n}-{self.rate}{gate}"),
                self.streams,
                stamped=True,
                ca=target.ca,
            )
            for n in self.each
        )
        return {"small": small, "large": large}

    def figures(self, jobs: Mapping[str, Job], samples: Mapping[str, Sample]) -> Figures:
        small, large, more = samples["small"], samples["large"], units(self, jobs)
        latency = large.latency_us or {}
        seen = None
        if small.reads and large.reads:
            seen = more / max(1, large.reads - small.reads)
        return Figures(
            cpu_us=cpu_of_one_more(samples, more),
            events_per_read=seen,
            latency_p50_us=latency.get("p50"),
            latency_p99_us=latency.get("p99"),
        )


@attrs.frozen
class Hold(Row):
    """Streams that have begun and then wait: their memory, and what it costs to cancel them."""

    streams: tuple[int, int] = (10, 1000)

    def jobs(self, target: Server) -> Mapping[str, Job]:
        small, large = (
            Job(target.base("hold-4"), n, hold=True, ca=target.ca) for n in self.streams
        )
        return {"small": small, "large": large}

    def figures(self, jobs: Mapping[str, Job], samples: Mapping[str, Sample]) -> Figures:
        small, large = samples["small"], samples["large"]
        assert small.held_kib is not None
        assert large.held_kib is not None
        assert large.cancel_cpu is not None
        more = jobs["large"].streams - jobs["small"].streams
        return Figures(
            kib_per_stream=(large.held_kib - small.held_kib) / more,
            cancel_ms=1e3 * large.cancel_cpu,
            open_after_cancel=large.open_after_cancel,
        )


@attrs.frozen
class First(Row):
    """Ten requests, one after the other, in a process that has just opened its client."""

    def jobs(self, target: Server) -> Mapping[str, Job]:
        return {"ten": Job(target.base("burst-10"), 1, 10, ca=target.ca, timed=True)}

    def figures(self, jobs: Mapping[str, Job], samples: Mapping[str, Sample]) -> Figures:
        cpu, wall = samples["ten"].request_cpu_us, samples["ten"].first_ms
        assert cpu is not None
        assert wall is not None
        return Figures(first_cpu_us=cpu[0], tenth_cpu_us=cpu[9], first_ms=wall[0])


def middle(figures: list[Figures]) -> Figures:
    """The median of each figure on its own."""
    merged = {}
    for field in attrs.fields(Figures):
        values = [v for f in figures if (v := getattr(f, field.name)) is not None]
        merged[field.name] = median(values) if values else None
    return Figures(**merged)
