"""The rows of the comparison: one for each kind of work, and who takes part."""

from benchmarks.compare.kinds import Burst, First, Hold, Paced, Row, Start

ENGINE = ("engine", "engine again")
READING = ("engine, rests 2 ms", "engine, rests 5 ms", "engine, a task each")
BRIDGE = ("engine, asyncio", "engine, uvloop")
TUNED = ("aiohttp + orjson", "aiohttp + uvloop", "pyreqwest", "Node, plain", "Go", "Bun")
"""Each in its fastest idiom."""
FAST = (*ENGINE, *BRIDGE, *TUNED)
LIMITS = ("trio, receive only", "C receiver")
ALL = (*ENGINE, *BRIDGE, "AsyncOpenAI", "litellm", "httpx on trio", *TUNED)
NOT_LITELLM = tuple(name for name in ALL if name != "litellm")
COLD = (*ENGINE, "AsyncOpenAI", *TUNED)
HTTP2 = (*ENGINE, "httpx on trio", "pyreqwest", "Node, HTTP/2", "Go")
SCALED = ("engine", "aiohttp + uvloop", "Go", "trio, receive only")
"""Of the rows that show growth: they take long."""

BURSTS = (
    Burst("burst-1", "1 stream, answers at once", "token", (*NOT_LITELLM, *LIMITS), streams=1),
    Burst("burst-10", "10 streams, answers at once", "token", (*ALL, *LIMITS), streams=10),
    Burst(
        "burst-100",
        "100 streams, answers at once",
        "token",
        (*NOT_LITELLM, *LIMITS),
        streams=100,
    ),
    Burst("burst-1000", "1,000 streams, answers at once", "token", (*FAST, *LIMITS), streams=1000),
    Burst("burst-5000", "5,000 streams, answers at once", "token", (*FAST, *LIMITS), streams=5000),
    Burst(
        "packed-100",
        "100 streams, answers at once in HTTP chunks of 16 KiB",
        "token",
        (*FAST, *LIMITS),
        kind="packed",
    ),
    Burst(
        "http2-burst-100",
        "100 streams over HTTP/2 through nginx, answers at once",
        "token",
        HTTP2,
        http="2",
    ),
    Burst("tls-burst-100", "100 streams over TLS, answers at once", "token", FAST, secure=True),
)

STARTS = (
    Start("start", "one more stream of one token, 10 at a time", "stream", (*ALL, *LIMITS)),
    Start(
        "start-one-at-a-time",
        "one more stream of one token, one after the other",
        "stream",
        ("engine", "engine, ledger in a file", "aiohttp + uvloop", "Go"),
        streams=1,
        rounds=(50, 550),
    ),
    Start(
        "start-50-together",
        "one more stream of one token, 50 that are all there before one is answered",
        "stream",
        SCALED,
        streams=50,
        rounds=(10, 110),
        together=True,
    ),
    Start(
        "start-10000-together",
        "one more stream of one token, 10,000 that are all there before one is answered",
        "stream",
        SCALED,
        streams=10_000,
        rounds=(1, 3),
        together=True,
    ),
    Start(
        "start-new-connection",
        "one more stream of one token, 10 at a time, each on a connection of its own",
        "stream",
        COLD,
        fresh=True,
    ),
    First("first-request", "ten requests after opening, of which the first", "request", COLD),
)

PACED = (
    Paced("paced-20x50", "20 streams of 50 tokens/s", "token", (*ALL, *LIMITS), streams=20),
    Paced("paced-100x50", "100 streams of 50 tokens/s", "token", (*NOT_LITELLM, *READING, *LIMITS)),
    Paced(
        "paced-1000x25",
        "1,000 streams of 25 tokens/s",
        "token",
        (*FAST, *READING, *LIMITS),
        streams=1000,
        rate=25,
        each=(25, 100),
    ),
    Paced(
        "paced-1000x50",
        "1,000 streams of 50 tokens/s, more than one core can take",
        "token",
        (*FAST, *READING, *LIMITS),
        streams=1000,
        rate=50,
    ),
    Paced(
        "paced-1000x10",
        "1,000 streams of 10 tokens/s",
        "token",
        (*SCALED, *BRIDGE),
        streams=1000,
        rate=10,
        each=(20, 120),
        together=True,
    ),
    Paced(
        "paced-10000x1",
        "10,000 streams of 1 token/s",
        "token",
        SCALED,
        streams=10_000,
        rate=1,
        each=(2, 12),
        together=True,
    ),
    Paced("tls-paced-100x50", "100 streams of 50 tokens/s over TLS", "token", FAST, secure=True),
    Paced(
        "http2-paced-100x50",
        "100 streams of 50 tokens/s over HTTP/2, through nginx",
        "token",
        HTTP2,
        http="2",
    ),
)

HELD = (
    Hold(
        "hold-1000",
        "1,000 streams that wait, then are cancelled",
        "stream",
        ALL,
        varied=False,
    ),
    Hold(
        "hold-1000-prompts",
        "the same with prompts of 0.2 to 20 KB, 4.5 KB on average",
        "stream",
        FAST,
    ),
)

ROWS: dict[str, Row] = {row.name: row for row in (*BURSTS, *STARTS, *PACED, *HELD)}
