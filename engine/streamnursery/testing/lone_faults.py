"""Plans with one kind of fault each: what `@simulate` tries first, the worst first.

Rule 1: every kind of the grammar stands in `LONE` at least once, and `LONE` has at most 60 plans.
Rule 2: kinds that only HTTP/2 has come with that version; all others with HTTP/1.1, where an end of
        the connection can look like the end of an answer.
Rule 3: `every_position` puts each kind that has a place at the first token, in the middle, at the
        last one and after it.
"""

from collections.abc import Iterator

import attrs

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
from streamnursery.values.http import HttpVersion

HARD_TEXT = 'naïve 🌊 東京\u2028one "quoted" \\ line\nand\u0085 another: data: x'
"""Two to four bytes a character, and what some call the end of a line."""
_TOKENS = 9
"""Of an answer in `every_position`."""
_ONLY_HTTP2 = (ResetStream, Goaway, Settings, WindowStall, PingSilence)


@attrs.frozen
class LoneFault:
    """One fault, at times with another that makes it show."""

    script: tuple[Fault, ...]
    first_only: bool = False
    """The second request is answered well: a client that asks again has its answer."""

    @property
    def plan(self) -> Plan:
        when = When(requests=(1,)) if self.first_only else When()
        return Plan((Rule(self.script, when),))

    @property
    def http(self) -> HttpVersion:
        return "h2c" if isinstance(self.script[-1], _ONLY_HTTP2) else "auto"


_SCRIPTS: tuple[tuple[Fault, ...], ...] = (
    (Cut(3, how="end"),),
    (CloseDelimited(), Cut(3)),
    (InStreamError(3),),
    (InStreamError(3, done=True),),
    (Cut(3),),
    (Reset(3),),
    (Stall(3),),
    (Stall(3, pings=3.0),),
    (Respond(text=HARD_TEXT), Split((1,))),
    (BadJson(3),),
    (BadUtf8(3),),
    (Crlf(),),
    (Comments(2),),
    (Respond(text=HARD_TEXT),),
    (Drip(7, 0.01),),
    (Status(503),),
    (Status(429, retry_after=2),),
    (Status(400),),
    (Status(500, body="<html>Bad gateway</html>"),),
    (InStreamError(0),),
    (Cut(0, how="end"),),
    (NoFinish(),),
    (NoEndMark(),),
    (NoUsage(),),
    (UsageLie({"completion_tokens": -5}),),
    (CloseDelimited(),),
    (HangAfterDone(),),
    (Reasoning(5),),
    (Refuse(),),
    (CallTool("look", '{"at": "sky"}'),),
    (Respond(tokens=1),),
    (Garbage("html"),),
    (Garbage("json_error"),),
    (Garbage("empty"),),
    (Garbage("no_content"),),
    (Garbage("gzip"),),
    (Garbage("not_http"),),
    (Garbage("endless_comment"),),
    (Redirect("http://elsewhere.test/"),),
    (RateLimit(rpm=1),),
    (Overload(0),),
    (CutUpload(),),
    (CloseIdle(),),
    (Delay(30.0, 1.0),),
    (RefuseConnect(),),
    (BlackHole(),),
    (ResolveFail(),),
    (SlowTls(1.0),),
    (Restate(),),
    (Socket(),),
    (ResetStream(at=3),),
    (Goaway(),),
    (Settings(1),),
    (WindowStall(),),
    (PingSilence(),),
)
_FIRST_ONLY: tuple[tuple[Fault, ...], ...] = (
    (Reset(3),),
    (Cut(3),),
    (Stall(3),),
    (InStreamError(3),),
    (Status(503),),
)
"""What a client that asks again may go on from as if nothing had been said."""
LONE: tuple[LoneFault, ...] = (
    *map(LoneFault, _SCRIPTS[:8]),
    *(LoneFault(script, first_only=True) for script in _FIRST_ONLY),
    *map(LoneFault, _SCRIPTS[8:]),
)


def lone_plans() -> list[Plan]:
    """A plan for each kind of fault, alone, that a loopback server can show to a client of
    HTTP/1.1: `pytest.mark.parametrize("plan", lone_plans())`."""
    shown = (one for one in LONE if one.http == "auto")
    return [one.plan for one in shown if not isinstance(one.script[-1], NetworkFault)]


def every_position() -> Iterator[LoneFault]:
    """All of `LONE`; and of each kind that has a place one at every position of a short answer."""
    yield from LONE
    length = Respond(_TOKENS)
    for at in (0, _TOKENS // 2, _TOKENS - 1, _TOKENS):
        placed: tuple[Fault, ...] = (
            *(
                Cut(at, how="end"),
                Cut(at),
                Reset(at),
                InStreamError(at),
                InStreamError(at, done=True),
            ),
            *(Stall(at, 2.0), Stall(at), Stall(at, pings=3.0), BadJson(at), BadUtf8(at)),
            *(Socket("duplicate", at=at), ResetStream(at=at)),
        )
        yield LoneFault((length, CloseDelimited(), Cut(at)))
        for fault in placed:
            yield LoneFault((length, fault))
