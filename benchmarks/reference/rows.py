"""What the reference figures are measured with: one row for each.

Two rows need a provider's pace and run against the simulated provider; in the others the pace does
not matter, and the load server costs less.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from statistics import median
from typing import Any, TypeAlias

import attrs

from benchmarks.compare.kinds import Burst, Hold, Paced, Row
from benchmarks.compare.measure import ClientFailedError, Sample, Server, pinned, run, server
from benchmarks.compare.roster import CLIENTS, Client, Job

Turn: TypeAlias = dict[str, Any]
"""`figures` by name, and the raw `samples` they were made from."""

ENGINE, NODE = "engine", "Node, plain"
BOTH = (ENGINE, NODE)
SEED = 850
REQUESTS = 100
"""Of the rows that measure one request after the other."""
STREAMS, RATE = 10, 85


@contextmanager
def provider(turn: int, waits: list[float]) -> Iterator[str]:
    """URL of a simulated provider whose dice depend on the turn alone, so that all clients meet
    the same; its own waits are known at the end."""
    module = ["-m", "benchmarks.reference.provider", str(SEED + turn)]
    command = [*pinned(0), sys.executable, *module]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
            said, _ = process.communicate(timeout=30)
            waits += json.loads(said)
        finally:
            process.kill()


def timed(client: Client, job: Job, tokens: int, target: Server) -> Sample:
    """Run a job that must bring so many tokens.

    Raises:
        ClientFailedError: it brought others, or ended badly.
    """
    sample = run(client, attrs.evolve(job, timed=True), target)
    if sample.tokens != tokens:
        msg = f"{client.name} saw {sample.tokens} of {tokens} tokens"
        raise ClientFailedError(msg)
    return sample


def spread(milliseconds: list[float]) -> dict[str, float]:
    """Percentiles by name."""
    ordered = sorted(milliseconds)
    return {f"p{q}_ms": ordered[int(q / 100 * (len(ordered) - 1))] for q in (5, 50, 95)}


def throughput(client: Client, turn: int) -> Turn:
    """Ten streams at once at the pace of the DeepSeek-like profile."""
    waits: list[float] = []
    tokens = STREAMS * 425
    with provider(turn, waits) as url:
        job = Job(url, STREAMS, model="deepseek-like")
        sample = timed(client, job, tokens, Server(0, None))
    assert sample.span is not None
    figures = {"tokens_per_second": (tokens - STREAMS) / sample.span, "cpu_s": sample.cpu}
    return {"figures": figures, "samples": [attrs.asdict(sample)]}


def first_token(client: Client, turn: int) -> Turn:
    """One request after the other with the Gemini-like profile."""
    waits: list[float] = []
    with provider(turn, waits) as url:
        job = Job(url, 1, REQUESTS, model="gemini-like")
        sample = timed(client, job, 8 * REQUESTS, Server(0, None))
    assert sample.first_ms is not None
    added = [seen - own for seen, own in zip(sample.first_ms, waits, strict=True)]
    figures = {
        **spread(sample.first_ms),
        "provider_p50_ms": median(waits),
        "added_p50_ms": median(added),
    }
    return {"figures": figures, "samples": [attrs.asdict(sample)], "provider_ms": waits}


def handshake(client: Client, turn: int) -> Turn:
    """To the first token of an answer that lies ready: on a connection kept, and on a new one."""
    del turn
    medians: dict[str, float] = {}
    samples: list[dict[str, Any]] = []
    for secure in (True, False):
        with server(secure=secure) as target:
            for fresh in (True, False):
                job = Job(target.base("burst-1"), 1, REQUESTS, ca=target.ca, fresh=fresh)
                sample = timed(client, job, REQUESTS, target)
                assert sample.first_ms is not None
                medians[f"{'tls' if secure else 'plain'}_{'new' if fresh else 'kept'}_ms"] = median(
                    sample.first_ms
                )
                samples.append(attrs.asdict(sample))
    figures = {
        **medians,
        "tls_overhead_ms": medians["tls_new_ms"] - medians["tls_kept_ms"],
        "plain_overhead_ms": medians["plain_new_ms"] - medians["plain_kept_ms"],
    }
    return {"figures": figures, "samples": samples}


def compared(row: Row) -> Callable[[Client, int], Turn]:
    """A row of the comparison."""

    def measure(client: Client, turn: int) -> Turn:
        del turn
        with server() as target:
            figures, samples = row.measure(client, target)
        known = {name: value for name, value in attrs.asdict(figures).items() if value is not None}
        return {"figures": known, "samples": [attrs.asdict(one) for one in samples.values()]}

    return measure


ROWS: Mapping[str, Callable[[Client, int], Turn]] = {
    "throughput": throughput,
    "first token": first_token,
    "handshake": handshake,
    "latency": compared(
        Paced("latency", "", "token", BOTH, streams=STREAMS, rate=RATE, each=(85, 340))
    ),
    "headroom": compared(Burst("headroom", "", "token", BOTH, streams=STREAMS)),
    "memory": compared(Hold("memory", "", "stream", BOTH, varied=False)),
}


def measured(name: str, client: str, turn: int) -> Turn:
    """One turn of one client; a client that failed says how."""
    try:
        return ROWS[name](CLIENTS[client], turn)
    except ClientFailedError as failure:
        print(f"  {failure}", file=sys.stderr)
        return {"failed": str(failure)}
