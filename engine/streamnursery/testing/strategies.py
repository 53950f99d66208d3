"""Hypothesis strategies for everything that meets an engine.

    @simulate(traffic=traffic())
    async def test_nothing_is_lost(world, traffic):
        await traffic.run(world)

What they make is small, and it shrinks towards the ordinary: a generous deadline, a default
limit, no fault. What is left of a failing example is what it takes to fail.
"""

from itertools import pairwise

from hypothesis import strategies as st

from streamnursery.simulator import (
    BadJson,
    BadUtf8,
    BlackHole,
    CallTool,
    CloseDelimited,
    CloseIdle,
    Comments,
    Crlf,
    Cut,
    CutUpload,
    Delay,
    Drip,
    Garbage,
    Goaway,
    HangAfterDone,
    InStreamError,
    NoEndMark,
    NoFinish,
    NoUsage,
    Overload,
    PingSilence,
    Plan,
    RateLimit,
    Reasoning,
    Redirect,
    Refuse,
    RefuseConnect,
    Reset,
    ResetStream,
    ResolveFail,
    Respond,
    Restate,
    Rule,
    Settings,
    SlowTls,
    Socket,
    Split,
    Stall,
    Status,
    UsageLie,
    When,
    WindowStall,
)
from streamnursery.simulator.fault import Fault, NetworkFault
from streamnursery.simulator.script import GARBAGE, Script
from streamnursery.simulator.script_http2 import ERROR_CODES
from streamnursery.testing.load import MODELS, Arrival, LimitChange, Traffic
from streamnursery.testing.simulation import mark_plans
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.policy import Patience, Priority, Retries
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import EngineConfig

_places = st.integers(0, 12)
_seconds = st.sampled_from((0.0, 0.01, 1.0, 30.0, 90.0))
_WORDS = st.text("abc é\u2028東🌊", min_size=1, max_size=12)
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


def requests(models: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[ChatRequest]:
    """Valid requests of at most 12 tokens, for the models of a simulated provider."""
    return st.builds(
        ChatRequest,
        model=st.sampled_from(MODELS) if models is None else models,
        messages=st.builds(lambda text: [{"role": "user", "content": text}], _WORDS),
        max_tokens=st.integers(1, 12),
        temperature=st.none() | st.floats(0, 2),
        stop=st.none() | _WORDS,
        seed=st.none() | st.integers(0, 9),
        n=st.none() | st.integers(1, 3),
        tools=st.none() | st.just([_TOOL]),
        tool_choice=st.none() | st.just("required"),
        priority=st.none() | st.sampled_from(Priority),
    )


def configs() -> st.SearchStrategy[EngineConfig]:
    """Configurations without endpoints, which a world puts in: limits, buffers and policies."""
    return st.builds(
        EngineConfig,
        max_streams=st.sampled_from((1000, 6, 2, 1)),
        max_queued=st.sampled_from((10_000, 4, 1)),
        default_max_streams=st.sampled_from((10, 3, 2, 1)),
        patience=st.builds(
            Patience,
            connect=st.sampled_from((30.0, 0.5)),
            first_byte=st.sampled_from((60.0, 2.0)),
            first_token=st.sampled_from((60.0, 2.0)),
            idle=st.sampled_from((60.0, 2.0)),
            total=st.sampled_from(("auto", 20.0, None)),
        ),
        retries=st.builds(
            Retries, attempts=st.sampled_from((5, 2, 1)), base=st.sampled_from((1.0, 0.01))
        ),
        buffer_events=st.sampled_from((1024, 3, 1)),
        buffer_bytes=st.sampled_from((256 * 1024, 600, 1)),
        max_buffered_bytes=st.sampled_from((2**28, 4000, 1)),
        max_idle_connections=st.sampled_from((100, 1, 0)),
        http2=st.sampled_from((Http2Settings(), Http2Settings(max_streams=1, max_connections=2))),
    )


def faults() -> st.SearchStrategy[Fault]:
    """One fault of any kind; those that never end are bounded by the engine, not here."""
    return st.one_of(
        st.builds(Cut, _places, how=st.sampled_from(("fin", "end"))),
        st.builds(Cut, st.integers(0, 4000), unit=st.just("bytes")),
        st.builds(Reset, _places),
        st.builds(Reset, st.integers(0, 4000), unit=st.just("bytes")),
        st.builds(CutUpload, st.integers(0, 200)),
        st.builds(InStreamError, _places, done=st.booleans()),
        st.builds(Stall, _places, st.none() | _seconds, pings=st.none() | st.just(3.0)),
        st.builds(Delay, st.none() | _seconds, st.none() | _seconds),
        st.builds(HangAfterDone, st.none() | _seconds),
        st.builds(Drip, st.integers(1, 50), st.sampled_from((0.0, 0.01, 0.5))),
        st.builds(Split, st.lists(st.integers(1, 40), min_size=1, max_size=3)),
        st.builds(Status, st.sampled_from((400, 401, 404, 408, 413, 429, 500, 503, 529))),
        st.builds(Status, st.just(429), st.sampled_from((0, 2, 3600, "soon", -1, "1e400"))),
        st.builds(Garbage, st.sampled_from(GARBAGE)),
        st.builds(BadJson, _places) | st.builds(BadUtf8, _places),
        st.builds(UsageLie, st.sampled_from(({}, {"completion_tokens": -5}, "1e400", '"none"'))),
        st.builds(Respond, tokens=st.integers(0, 12)) | st.builds(Reasoning, st.integers(1, 5)),
        st.builds(RateLimit, rpm=st.integers(1, 60)) | st.builds(Overload, st.integers(0, 3)),
        st.builds(CloseIdle, _seconds) | st.builds(Comments, st.integers(1, 3)),
        st.sampled_from((Crlf(), NoEndMark(), NoFinish())),
        st.sampled_from((NoUsage(), CloseDelimited(), Refuse(), Restate(), Socket())),
        st.sampled_from((CallTool(), Redirect("http://elsewhere.test/"))),
        st.builds(ResetStream, st.sampled_from(tuple(ERROR_CODES)), st.none() | _places),
        st.builds(Goaway, st.none() | st.integers(0, 9)) | st.builds(Settings, st.integers(0, 3)),
        st.sampled_from((WindowStall(), PingSilence())),
        st.sampled_from((RefuseConnect(), BlackHole(), ResolveFail(), SlowTls(1.0), SlowTls())),
    )


def fault_scripts(max_size: int = 3) -> st.SearchStrategy[Script]:
    """What one request may meet: no faults of the network, which come before any request."""
    within = faults().filter(lambda fault: not isinstance(fault, NetworkFault))
    return st.lists(within, max_size=max_size).map(tuple)


def plans(max_rules: int = 6) -> st.SearchStrategy[Plan]:
    """What one provider does to its requests and connections, by their numbers. In `@simulate`
    each kind of fault comes alone first."""
    numbers = st.lists(st.integers(1, 12), min_size=1, max_size=4, unique=True)
    when = st.just(When()) | st.builds(When, requests=numbers) | st.builds(When, until=_seconds)
    script = st.lists(faults(), min_size=1, max_size=2).map(tuple)
    rules = st.lists(st.builds(Rule, script, when), max_size=max_rules).map(tuple)
    return mark_plans(st.builds(Plan, rules))


def arrivals() -> st.SearchStrategy[Arrival]:
    """One request and its consumer, who may be slow, leave, or be cancelled."""
    return st.builds(
        Arrival,
        at=st.sampled_from((0.0, 0.0, 0.5, 5.0)),
        request=requests(),
        timeout=st.sampled_from((200.0, 5.0, 0.2, 0.0)),
        pause=st.sampled_from((0.0, 0.0, 0.1, 50.0)),
        leaves_after=st.none() | st.integers(1, 12),
        cancelled_after=st.none() | st.floats(0, 6),
    )


def traffic(max_arrivals: int = 8) -> st.SearchStrategy[Traffic]:
    """Arrivals, cancels at random moments, slow consumers, limit changes, faults, a config.

    Every stream has a deadline, so that all traffic ends.
    """
    changes = st.builds(
        LimitChange,
        at=st.sampled_from((0.0, 0.3, 4.0)),
        model=st.sampled_from((None, *MODELS)),
        max_streams=st.integers(0, 4),
    )
    return st.builds(
        Traffic,
        arrivals=st.lists(arrivals(), min_size=1, max_size=max_arrivals).map(tuple),
        limit_changes=st.lists(changes, max_size=4).map(tuple),
        plan=plans(),
        config=configs(),
    )


def chunkings(data: bytes, max_cuts: int = 20) -> st.SearchStrategy[list[bytes]]:
    """The ways to cut `data` into pieces, none of them empty."""
    if len(data) < 2:
        return st.just([data] if data else [])
    cuts = st.sets(st.integers(1, len(data) - 1), max_size=max_cuts)

    def cut(places: set[int]) -> list[bytes]:
        edges = [0, *sorted(places), len(data)]
        return [data[a:b] for a, b in pairwise(edges)]

    return cuts.map(cut)
