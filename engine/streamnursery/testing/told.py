"""What a client said, against what the provider meant."""

from collections.abc import Sequence
from typing import Final, TypeAlias

from streamnursery.simulator import (
    BadUtf8,
    CloseDelimited,
    Comments,
    Crlf,
    NoUsage,
    Reasoning,
    Respond,
    Split,
)
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.log import RequestRecord
from streamnursery.testing.as_code import as_code

Told: TypeAlias = "str | BaseException | None"
"""The text of an answer, or what the client raised."""

PROMPT: Final = "Tell me about streams."
_SHOWN = 300
_HARMLESS = (CloseDelimited, Comments, Crlf, NoUsage, Reasoning, Respond, Split)
"""Under these an answer is whole by the standards."""


def text_problem(told: Told, records: Sequence[RequestRecord]) -> str | None:
    """None if the client said a whole answer, or rightly that it has none.

    Half a character that the provider sent may be read as U+FFFD. `records` are the requests that
    the client made; if none of them met a fault that does harm, an error is a finding as well.
    """
    refused = next((r for r in records if r.credential in ("wrong", "missing")), None)
    if refused is not None:
        return f"its key was {refused.credential}: nothing was tried of what the plan does"
    if isinstance(told, BaseException):
        return _needless(told, records)
    if not isinstance(told, str):
        return f"it returned {_shown(told)}, which is no text, and raised nothing"
    answers = [record for record in records if record.reply is not None]
    if any(_same(told, record) for record in answers):
        return None
    if not records:
        return f"it said a text and asked nothing: {_shown(told)}"
    return "\n".join([
        _guess(told, answers),
        f"meant: {_shown(answers[-1].intended()) if answers else 'no answer'}",
        f"said:  {_shown(told)}",
        *(f"request {record.number}: {_ending(record)}" for record in records[-5:]),
    ])


def _needless(error: BaseException, records: Sequence[RequestRecord]) -> str | None:
    """What is wrong with an error, if all that it was asked for was answered well."""
    if not records or not all(map(_answered_well, records)):
        return None
    meant = records[-1].intended()
    said = f"{type(error).__name__}: {str(error)[:_SHOWN]}"
    lines = ["it failed where nothing was wrong", f"meant: {_shown(meant)}"]
    return "\n".join([*lines, f"said:  {said}", f"request: {_ending(records[-1])}"])


def _answered_well(record: RequestRecord) -> bool:
    whole = record.reply is not None and bool(record.intended())
    return whole and record.status == 200 and all(map(_is_harmless, record.script))


def _is_harmless(fault: Fault) -> bool:
    return isinstance(fault, _HARMLESS)


def _same(told: str, record: RequestRecord) -> bool:
    meant = record.intended()
    unreadable = any(isinstance(fault, BadUtf8) for fault in record.script)
    return told == meant or (unreadable and _marked(told, meant))


def _marked(told: str, meant: str) -> bool:
    """Whether `told` is `meant` but for a stretch that is marked as unreadable."""
    before, mark, _ = told.partition("\ufffd")
    after = told.rpartition("\ufffd")[2]
    return bool(mark) and meant.startswith(before) and meant.endswith(after)


def _guess(told: str, answers: Sequence[RequestRecord]) -> str:
    meant = answers[-1].intended() if answers else ""
    if answers and meant.startswith(told):
        return "a part of an answer, said to be the whole"
    if answers and meant and told.count(meant) > 1:
        return "an answer, said more than once"
    return "a text that no provider meant"


def _shown(value: object) -> str:
    """Its beginning and its end, where it is long."""
    shown = repr(value)
    if len(shown) <= _SHOWN:
        return shown
    half = _SHOWN // 2
    return f"{shown[:half]} ... {shown[-half:]} ({len(shown):,} characters)"


def _ending(record: RequestRecord) -> str:
    """The trace of one request, as the provider saw it."""
    script = ", ".join(as_code(fault) for fault in record.script) or "no fault"
    end = "not ended"
    if record.ended_at is not None:
        end = f"ended {record.ending!r} after {record.ended_at - record.received_at:.3f} s"
    sent = f"{record.sent_tokens} tokens, {record.sent_bytes} bytes sent"
    return f"{script}; status {record.status}; {sent}; {end}"
