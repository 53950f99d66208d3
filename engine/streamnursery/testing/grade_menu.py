"""What a client is confronted with when it is graded, and what a good one does."""

from enum import Enum
from typing import TYPE_CHECKING

import attrs

from streamnursery.simulator import (
    BadJson,
    BadUtf8,
    CloseDelimited,
    Comments,
    Crlf,
    Cut,
    Delay,
    Drip,
    Garbage,
    HangAfterDone,
    InStreamError,
    NoEndMark,
    NoFinish,
    NoUsage,
    Plan,
    Reasoning,
    Redirect,
    Reset,
    Respond,
    Rule,
    Split,
    Stall,
    Status,
    UsageLie,
    When,
)

if TYPE_CHECKING:
    from streamnursery.simulator.script import Script

LIMIT = 75.0
"""More than the minute that many clients allow between two tokens."""
_FLOOD_LIMIT = 3.0
"""What goes on for ever, as fast as it is read, would fill the memory of the machine."""


class Want(Enum):
    """The best that can be done."""

    ANSWER = "the whole answer"
    ERROR = "a typed error"
    LEAVE = "the provider stops"


class CaseGroup(Enum):
    """What a case asks for."""

    TRUTH = "truth"
    """The text that was meant, or an error."""
    PATIENCE = "patience"
    """An end to silence, and none to a slow answer."""
    RETRIES = "retries"
    """Another try where it helps, and none where it cannot."""
    CANCEL = "cancel"
    """A client that leaves, and a provider that stops."""


@attrs.frozen
class Case:
    """One situation."""

    name: str
    plan: Plan
    want: Want
    leave_after: int | None = None
    """Pieces after which the client stops reading."""
    limit: float = LIMIT
    """Seconds after which it is called a hang."""
    group: CaseGroup = CaseGroup.TRUTH
    proof_of: tuple[str, ...] = ()
    """The APIs, by the names of their clients, in which this takes away what proves that an answer
    is whole: there a client may not call it so."""

    def want_of(self, client: str) -> Want:
        """The best that `client` can do."""
        return Want.ERROR if client.endswith(self.proof_of or ("\0",)) else self.want


def _always(name: str, want: Want, *script: object, group: CaseGroup = CaseGroup.TRUTH) -> Case:
    return Case(name, Plan.always(*script), want, group=group)  # type: ignore[arg-type]


def _first(name: str, *script: object, group: CaseGroup = CaseGroup.RETRIES) -> Case:
    """Only the first request meets it: a client that tries again has its answer."""
    faults: Script = script  # type: ignore[assignment]
    return Case(name, Plan((Rule(faults, When(requests=(1,))),)), Want.ANSWER, group=group)


_LONG = Respond(40)
_SLOW = Delay(first_token=20.0)
_PATIENCE, _RETRIES = CaseGroup.PATIENCE, CaseGroup.RETRIES

MENU: tuple[Case, ...] = (
    _always("nothing special", Want.ANSWER),
    _always("lines end in CR LF", Want.ANSWER, Crlf()),
    _always("comments between events", Want.ANSWER, Comments(3)),
    _always("a few bytes at a time", Want.ANSWER, Drip(7, 0.0005)),
    _always("odd segments", Want.ANSWER, Split((1, 2, 3, 5, 7))),
    _always("line separators in the text", Want.ANSWER, Respond(text="a\u2028b\u0085c\x0bd e")),
    _always("thinking before the text", Want.ANSWER, Reasoning(20)),
    _always("closed at the end, no length", Want.ANSWER, CloseDelimited()),
    attrs.evolve(_always("no [DONE]", Want.ANSWER, NoEndMark()), proof_of=("anthropic", "google")),
    attrs.evolve(
        _always("[DONE] without finish_reason", Want.ANSWER, NoFinish()), proof_of=("google",)
    ),
    _always("no usage", Want.ANSWER, NoUsage()),
    _always("usage of -1", Want.ANSWER, UsageLie({"prompt_tokens": -1, "completion_tokens": -1})),
    _always("cut after 5 tokens", Want.ERROR, _LONG, Cut(5)),
    _always("a clean end after 5 tokens", Want.ERROR, _LONG, Cut(5, how="end")),
    _always("closed after 5 tokens, no length", Want.ERROR, _LONG, CloseDelimited(), Cut(5)),
    _always("reset after 5 tokens", Want.ERROR, _LONG, Reset(5)),
    _always("error in a 200, after 5 tokens", Want.ERROR, _LONG, InStreamError(5)),
    _always("error and [DONE], after 5 tokens", Want.ERROR, _LONG, InStreamError(5, done=True)),
    _always("broken JSON after 5 tokens", Want.ERROR, _LONG, BadJson(5)),
    _always("half a character after 5 tokens", Want.ERROR, _LONG, BadUtf8(5)),
    _always("a page of HTML", Want.ERROR, Garbage("html")),
    _always("an empty 200", Want.ERROR, Garbage("empty")),
    attrs.evolve(
        _always("open after [DONE]", Want.ANSWER, HangAfterDone(None), group=_PATIENCE),
        proof_of=("google",),
    ),
    _always("20 s until the first token", Want.ANSWER, _SLOW, group=_PATIENCE),
    _always("silence after 5 tokens", Want.ERROR, _LONG, Stall(5), group=_PATIENCE),
    _always("pings alone after 5 tokens", Want.ERROR, _LONG, Stall(5, pings=1.0), group=_PATIENCE),
    _first("pings alone, the first time", Stall(0, pings=1.0), group=_PATIENCE),
    Case(
        "an endless line",
        Plan.always(Garbage("endless_line")),
        Want.ERROR,
        limit=_FLOOD_LIMIT,
        group=_PATIENCE,
    ),
    _first("503 once", Status(503)),
    _first("429 once, Retry-After 1", Status(429, retry_after=1)),
    _first("reset before the first token", Reset(0)),
    _first("cut before the first token", Cut(0)),
    _first("error in a 200, before the first token", InStreamError(0, type="server_error")),
    _always("503 for ever", Want.ERROR, Status(503), group=_RETRIES),
    _always(
        "quota spent (429)", Want.ERROR, Status(429, error="insufficient_quota"), group=_RETRIES
    ),
    _always(
        "redirect elsewhere",
        Want.ERROR,
        Redirect("http://127.0.0.1:9/v1/chat/completions"),
        group=_RETRIES,
    ),
    Case(
        "left after 3 pieces",
        Plan.always(_LONG, Stall(20)),
        Want.LEAVE,
        leave_after=3,
        group=CaseGroup.CANCEL,
    ),
)
