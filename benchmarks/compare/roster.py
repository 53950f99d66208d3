"""Who is compared, and how each of them is started."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import attrs

HERE = Path(__file__).parent
BUILD = HERE / "build"
CERTIFICATE = BUILD / "certificate.pem"
KEY = BUILD / "key.pem"


@attrs.frozen
class Job:
    """What a client is asked to do; clients/job.py says what each field means."""

    base: str
    streams: int
    rounds: int = 1
    stamped: bool = False
    hold: bool = False
    ca: str | None = None
    http: str = "1.1"
    model: str = "bench"
    timed: bool = False
    fresh: bool = False


@attrs.frozen
class Client:
    name: str
    command: Callable[[Job], list[str]]
    microseconds: float
    """Roughly what a token costs in a burst: it sets how often the work is repeated."""
    packages: tuple[str, ...] = ()
    python: str | None = None
    tls: bool = True
    note: str = ""


def _python(script: str, python: str, *more: str) -> Callable[[Job], list[str]]:
    path = str(HERE / "clients" / script)
    return lambda job: [python, path, json.dumps(attrs.asdict(job)), *more]


def _node(job: Job) -> list[str]:
    return ["node", str(HERE / "clients" / "node_plain.mjs"), json.dumps(attrs.asdict(job))]


def _receiver(job: Job) -> list[str]:
    url = urlsplit(job.base)
    numbers = (job.streams, job.rounds, int(job.stamped), int(job.hold))
    return [str(BUILD / "receiver"), str(url.port), url.path, *map(str, numbers)]


PEERS = str(BUILD / "peers" / "bin" / "python")
LITELLM = str(BUILD / "litellm" / "bin" / "python")

_ENGINE = ("trio", "httptools", "msgspec", "attrs", "httpx")

CLIENTS = {
    client.name: client
    for client in (
        Client("engine", _python("engine_stream.py", sys.executable), 3, _ENGINE, sys.executable),
        Client(
            "engine again",
            _python("engine_stream.py", sys.executable),
            3,
            note="the same once more: how far it is from `engine` is the noise of the run",
        ),
        Client(
            "engine, rests 2 ms",
            _python("engine_stream.py", sys.executable, "0.002"),
            3,
            note="with max_added_latency = 0.002",
        ),
        Client(
            "engine, rests 5 ms",
            _python("engine_stream.py", sys.executable, "0.005"),
            3,
            note="with max_added_latency = 0.005",
        ),
        Client(
            "engine, a task each",
            _python("engine_stream.py", sys.executable, "task-each"),
            3,
            note="a reader per connection instead of the pump: what systems without epoll get",
        ),
        Client(
            "AsyncOpenAI",
            _python("openai_async.py", PEERS),
            110,
            ("openai", "httpx", "httpx2", "pydantic"),
            PEERS,
        ),
        Client("litellm", _python("litellm_async.py", LITELLM), 450, ("litellm",), LITELLM),
        Client(
            "aiohttp + orjson", _python("aiohttp_orjson.py", PEERS), 4, ("aiohttp", "orjson"), PEERS
        ),
        Client("httpx on trio", _python("httpx_trio.py", sys.executable), 15),
        Client("Node, plain", _node, 4),
        Client(
            "trio, receive only",
            _python("receive_only_trio.py", sys.executable),
            0.2,
            tls=False,
            note="does not parse: a limit for anything on trio",
        ),
        Client(
            "C receiver", _receiver, 0.2, tls=False, note="does not parse: a limit for anything"
        ),
    )
}
