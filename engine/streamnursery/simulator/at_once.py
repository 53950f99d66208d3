"""Faults of an answer that does not stream: what is counted in tokens strikes at their share of it.

Rule 1: token `at` of `tokens` stands at the same share of the body, and nothing strikes after the
        last one; what is counted in bytes is done where any answer is broken off (`exchange`).
Rule 2: a body of known length cannot end early and be complete: `Cut(how="end")` is a FIN here.
"""

from collections.abc import Iterator
from math import inf

import msgspec

from streamnursery.serving.steps import JSON, End, Headers, How, Send, Step, Wait, whole
from streamnursery.simulator.cuts import drip, ending, split
from streamnursery.simulator.script import (
    BadJson,
    BadUtf8,
    Cut,
    Drip,
    InStreamError,
    Reset,
    Script,
    Split,
    Stall,
)

_STRIKING = (Stall, InStreamError, BadJson, BadUtf8, Cut, Reset)


def at_once(
    script: Script, body: bytes, headers: Headers, *, at: float, tokens: int
) -> Iterator[Step]:
    """A whole answer of so many tokens, with the faults of `script`."""
    pairs = (*headers, JSON)
    faults = sorted(
        (fault for fault in script if isinstance(fault, _STRIKING) and fault.at <= tokens),
        key=lambda fault: fault.at,
    )
    faults = [f for f in faults if not (isinstance(f, Cut | Reset) and f.unit == "bytes")]
    mistake = next((fault for fault in faults if isinstance(fault, InStreamError)), None)
    if mistake is not None:  # a provider that fails while it makes an answer has none to give
        error = {"message": mistake.message, "type": mistake.type, "code": mistake.code}
        body, faults = msgspec.json.encode({"error": error}), []
    places = [len(body) * fault.at // (tokens + 1) for fault in faults]
    for fault, place in zip(faults, places, strict=True):
        if isinstance(fault, BadJson | BadUtf8):
            wrong = b"\xff" if isinstance(fault, BadUtf8) else b"\x01"
            body = body[:place] + wrong + body[place + 1 :]
    (answer, end) = whole(500 if mistake is not None else 200, body, pairs, at=at)
    assert isinstance(answer, Send)
    start = len(answer.data) - len(body)
    steps = _struck(answer, end, [(start + p, f) for p, f in zip(places, faults, strict=True)])
    for shape in script:
        if isinstance(shape, Split):
            steps = split(steps, shape.sizes)
        elif isinstance(shape, Drip):
            steps = drip(steps, shape.bytes, shape.every)
    return steps


def _struck(answer: Send, end: Step, faults: list[tuple[int, object]]) -> Iterator[Step]:
    sent = 0
    for place, fault in faults:
        if isinstance(fault, Stall | Cut | Reset):
            if place > sent:
                yield Send(answer.data[sent:place], answer.at)
                sent = place
            if isinstance(fault, Stall):
                yield Wait(inf if fault.seconds is None else fault.seconds)
                continue
            cut = isinstance(fault, Cut)
            yield from ending(End(How.CUT, "cut") if cut else End(How.RESET, "reset"))
            return
    yield Send(answer.data[sent:], answer.at)
    yield end
