"""What every Python client shares: its task, its count, its checks, its report.

A client is started as `client.py JOB`, JOB being JSON, and prints one JSON object per line:
`{"state": "held"}` when all streams of a hold have begun, `{"state": "cancelled", "cpu": s}` when
it has cancelled them, and at the end `{"state": "done", ...}` with what `Job.report` says.
"""

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic_ns, process_time_ns
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


class Answer:
    """One request and its answer: what a client asks, and what it tells about the answer."""

    __slots__ = ("_parts", "began_at", "ended", "prompt", "saw")

    def __init__(self, prompt: str, stamp: Callable[[str], None] | None) -> None:
        self.prompt = prompt
        self._parts: list[str] = []
        self.saw: Callable[[str], None] = stamp or self._parts.append
        """Called with the text of each token, in the client's innermost loop."""
        self.ended = False
        """The client has seen the end of the answer, which is more than the end of its bytes."""
        self.began_at = 0
        """CPU nanoseconds of the process, in a job that is timed."""

    def text(self) -> str:
        return "".join(self._parts)

    def tokens(self) -> int:
        return len(self._parts)


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
    """Say how long each request took to its first token, and its CPU; one stream at a time."""
    fresh: bool = False
    """A connection of its own for each request."""
    prompts: str | None = None
    """File with a prompt per line (compare/prompts.py); none: "hi"."""

    begun: int = 0
    ended: int = 0
    tokens: int = 0
    requests: int = 0
    delays: list[int] = field(default_factory=list)
    first_ms: list[float] = field(default_factory=list)
    request_cpu_us: list[float] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    """When the first and the last token of all requests came, nanoseconds."""
    lines: list[str] = field(default_factory=list)
    said: str | None = None
    """What the first answer said; every other has to say the same."""

    @classmethod
    def from_arguments(cls) -> "Job":
        job = cls(**json.loads(sys.argv[1]))
        if job.prompts is not None:
            text = Path(job.prompts).read_text(encoding="utf-8")
            job.lines = [json.loads(line) for line in text.splitlines()]
        return job

    def answer(self) -> Answer:
        """For the next request, which begins now."""
        number = self.requests
        self.requests += 1
        prompt = f"{number} {self.lines[number % len(self.lines)]}" if self.lines else "hi"
        answer = Answer(prompt, self._stamp if self.stamped else None)
        if self.timed:
            answer.saw = self._timing(answer.saw)
            answer.began_at = process_time_ns()
        return answer

    def body(self, answer: Answer) -> dict[str, Any]:
        """What the request sends, for clients that have no types for it."""
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": answer.prompt}],
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def over(self, answer: Answer) -> None:
        """Check an answer that the client has taken to its end.

        Raises:
            ValueError: it has no end, or does not say what the load server always says.
        """
        if self.timed:
            self.request_cpu_us.append((process_time_ns() - answer.began_at) / 1000)
        if not answer.ended:
            raise ValueError("the client did not see the end of an answer")
        self.ended += 1
        self.tokens += answer.tokens()
        if self.stamped or self.model != "bench":
            return
        text = answer.text()
        if self.said is None:
            self.said = text
        elif text != self.said:
            raise ValueError(f"{text!r} is not what the answers before said")

    def _stamp(self, text: str) -> None:
        self.tokens += 1
        self.delays.append(monotonic_ns() - int(text[2:]))

    def _timing(self, saw: Callable[[str], None]) -> Callable[[str], None]:
        started, first = monotonic_ns(), True

        def timed(text: str) -> None:
            nonlocal first
            now = monotonic_ns()
            if first:
                self.first_ms.append((now - started) / 1e6)
                first = False
            self.seen[1:] = [now]
            saw(text)

        return timed

    def held(self, all_begun: Callable[[], None]) -> Answer:
        """For a request of a hold; the last one that gets its first token calls `all_begun`."""
        answer, first = self.answer(), True

        def saw(text: str) -> None:
            nonlocal first
            self.tokens += 1
            if first:
                first = False
                self.begun += 1
                if self.begun == self.streams:
                    all_begun()

        answer.saw = saw
        return answer

    def report(self) -> None:
        """Say the tokens and the ends that were seen, and the digest of what each answer said."""
        more: dict[str, Any] = {}
        if self.timed:
            span = (self.seen[-1] - self.seen[0]) / 1e9
            more = {"first_ms": [round(value, 3) for value in self.first_ms], "span": span}
            more["request_cpu_us"] = self.request_cpu_us
        if self.said is not None:
            more["text"] = sha256(self.said.encode()).hexdigest()
        latency = quantiles(self.delays)
        say("done", tokens=self.tokens, ended=self.ended, latency_us=latency, **more)


def quantiles(nanoseconds: list[int]) -> dict[str, float] | None:
    if not nanoseconds:
        return None
    ordered = sorted(nanoseconds)
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    return {name: ordered[int(q * (len(ordered) - 1))] / 1000 for name, q in at.items()}
