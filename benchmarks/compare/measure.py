"""Runs one client against the load server, each pinned to its own core, and reads what it used.

CPU is what the kernel booked on the client's process, user and system, to its end. What starting
costs falls out in the difference of two runs that differ in one number only.
"""

import json
import os
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Timer
from time import monotonic
from typing import Any

import attrs

from benchmarks.compare.roster import BUILD, CERTIFICATE, KEY, Client, Job

PATIENCE = 180.0
"""Seconds after which a client is taken for stuck."""


class ClientFailedError(Exception):
    """A client ended with an error or without its whole work; its last words are the message."""


@attrs.frozen
class Sample:
    """One run of one client."""

    cpu: float
    """Seconds, user and system, of the whole process."""
    wall: float
    reads: int | None
    """That brought data; None where they cannot be seen."""
    tokens: int
    latency_us: dict[str, float] | None
    ended: int = 0
    """Answers whose end the client has seen."""
    text: str | None = None
    """SHA-256 of what each answer said, where a client reads its answers and they say the same."""
    held_kib: int | None = None
    """Resident memory when all streams of a hold had begun."""
    cancel_cpu: float | None = None
    open_after_cancel: int | None = None
    """Connections that the server still had when the client said it had cancelled all."""
    first_ms: list[float] | None = None
    """Of each request of a timed job: from its start to its first token."""
    request_cpu_us: list[float] | None = None
    """CPU of the process during each request of a timed job that has one stream."""
    span: float | None = None
    """Seconds from the first token of all to the last, in a timed job."""


AHEAD: list[str] = []
"""Goes before every command; see `go_ahead`."""


def go_ahead() -> None:
    """Run servers and clients before everything else that wants their cores. Needs root."""
    AHEAD[:] = ["chrt", "--rr", "1"]


def pinned(core: int) -> list[str]:
    return [*AHEAD, "taskset", "--cpu-list", str(core % (os.cpu_count() or 1))]


@attrs.frozen
class Server:
    port: int
    ca: str | None

    def base(self, path: str) -> str:
        return f"{self._origin()}/{path}/v1"

    def statistics(self) -> dict[str, int]:
        """`open` connections now; `requests` and bytes of their bodies `received` so far."""
        found: dict[str, int] = json.loads(self._read("stats"))
        return found

    def text(self, tokens: int) -> str:
        """What an answer of so many tokens says."""
        return self._read(f"text-{tokens}").decode()

    def _read(self, path: str) -> bytes:
        trust = ssl.create_default_context(cafile=self.ca) if self.ca else None
        with urllib.request.urlopen(f"{self._origin()}/{path}", context=trust) as answer:
            body: bytes = answer.read()
            return body

    def _origin(self) -> str:
        return f"https://localhost:{self.port}" if self.ca else f"http://127.0.0.1:{self.port}"


@contextmanager
def server(*, secure: bool = False) -> Iterator[Server]:
    arguments = [str(CERTIFICATE), str(KEY)] if secure else []
    command = [*pinned(0), str(BUILD / "server"), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        try:
            port = int(process.stdout.readline())
            yield Server(port, str(CERTIFICATE) if secure else None)
        finally:
            process.terminate()


def resident_kib(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


def run(client: Client, job: Job, target: Server) -> Sample:
    """Start `client` on `job` and wait for its end.

    Raises:
        ClientFailedError: it did not end, or not well.
    """
    with tempfile.TemporaryDirectory() as folder:
        counted = Path(folder, "reads")
        preload = {"LD_PRELOAD": str(BUILD / "count_reads.so"), "COUNT_READS": str(counted)}
        with Path(folder, "errors").open("w+") as errors:
            started_at = monotonic()
            process = subprocess.Popen(
                [*pinned(1), *client.command(job)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **preload, "PYTHONDONTWRITEBYTECODE": "1"},
            )
            end = Timer(PATIENCE, process.kill)
            end.start()
            said = _listen(process, target)
            _, status, used = os.wait4(process.pid, 0)
            end.cancel()
            process.returncode = os.waitstatus_to_exitcode(status)
            wall = monotonic() - started_at
            errors.seek(0)
            if process.returncode != 0 or "tokens" not in said:
                last_words = errors.read().strip()[-300:]
                msg = f"{client.name} ended with {process.returncode}: {last_words}"
                raise ClientFailedError(msg)
        # A client that makes its system calls itself says how often it has read.
        said.setdefault("reads", int(counted.read_text()) if counted.exists() else None)
        return Sample(
            cpu=used.ru_utime + used.ru_stime,
            wall=wall,
            **said,
        )


def _listen(process: subprocess.Popen[str], target: Server) -> dict[str, Any]:
    """Read what the client says, and look at what has to be seen while it runs."""
    said: dict[str, Any] = {}
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            report = json.loads(line)
            match report["state"]:
                case "held":
                    said["held_kib"] = resident_kib(process.pid)
                case "cancelled":
                    said["cancel_cpu"] = report["cpu"]
                    said["open_after_cancel"] = target.statistics()["open"]
                case "done":
                    said.update({name: value for name, value in report.items() if name != "state"})
                case other:
                    msg = f"a client said {other!r}, which is not a state"
                    raise ValueError(msg)
    return said
