"""The answers of the Responses API: JSON events, streamed or whole.

Rule 1: the words are those of the chat API: one reply, in other events.
Rule 2: events are numbered from 0 in their order, however they are framed: server-sent
        events over HTTP, messages of a WebSocket.
Rule 3: an answer asked for with `background` can be sent again from any number on, at the pace
        at which it is made, until `MAX_KEPT` others have been asked for.
"""

from collections.abc import Iterator

import attrs
import msgspec

from streamnursery.serving.steps import Step, batched
from streamnursery.simulator.chat import AnswerSpec, first
from streamnursery.simulator.kept import Kept, KeptEvents
from streamnursery.simulator.script import (
    InStreamError,
    NoEndMark,
    NoFinish,
    Script,
    UsageLie,
)
from streamnursery.wire.openai_responses.server import ResponseWriter

_encode = msgspec.json.encode


def completion(kept: Kept, now: float) -> bytes:
    """The response as an object, as far as it has been made by `now`."""
    sheet = kept.sheet
    telling = writer(sheet)
    if kept.cancelled_at is not None:
        telling.cancelled()
    elif now >= kept.done_at or not sheet.question.background:
        for part, content in sheet.reply.choices[0].deltas():
            telling.token(part, content)
        closing(sheet, telling)
    return _encode(telling.response)


def writer(sheet: AnswerSpec) -> ResponseWriter:
    return ResponseWriter(sheet.id, sheet.created, sheet.question)


def closing(sheet: AnswerSpec, telling: ResponseWriter) -> list[bytes]:
    """The last events, as far as the script lets them be said."""
    silent = first(sheet.script, NoFinish) or first(sheet.script, NoEndMark)
    return telling.closing(None if silent else sheet.reply.choices[0].finish, _usage(sheet))


def _usage(sheet: AnswerSpec) -> object:
    reported = sheet.reported_usage()
    if reported is None or first(sheet.script, UsageLie):
        return reported and msgspec.Raw(reported)
    reply = sheet.reply
    return {
        "input_tokens": reply.input_tokens,
        "input_tokens_details": {"cached_tokens": reply.cached_tokens},
        "output_tokens": reply.output_tokens,
        "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }


def events(kept: Kept, script: Script, behind: int = -1) -> Iterator[Step]:
    """The body of a streamed answer, with the faults of `script`, from the event that comes
    behind number `behind` on."""
    sheet = attrs.evolve(kept.sheet, script=script)
    steps = _ResponseEvents(kept, sheet, writer(sheet), behind).steps()
    return steps if sheet.gap else batched(steps)


class _ResponseEvents(KeptEvents[ResponseWriter]):
    """As server-sent events, with their names."""

    def _closing(self) -> Iterator[bytes]:
        yield self._framed(closing(self._sheet, self._told))

    def _mistake(self, fault: InStreamError) -> bytes:
        return self._told.mistake(fault.code, fault.message)
