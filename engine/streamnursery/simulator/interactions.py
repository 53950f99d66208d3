"""The answers of Google's Interactions API: JSON events, streamed or whole.

The words are those of the chat API: one reply, in other events, each with an `event_id` from which
a stream of an answer that is made in the background can be read on.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import attrs
import msgspec

from streamnursery.serving.steps import Step, batched
from streamnursery.simulator.chat import AnswerSpec, first
from streamnursery.simulator.kept import Kept, KeptEvents
from streamnursery.simulator.script import InStreamError, NoEndMark, NoFinish, Script, UsageLie
from streamnursery.wire.gemini_interactions.server import InteractionWriter


def completion(kept: Kept, now: float) -> bytes:
    """The interaction as an object, as far as it has been made by `now`."""
    sheet = kept.sheet
    telling = _writer(sheet)
    if kept.cancelled_at is not None:
        telling.cancelled()
    elif now >= kept.done_at or not sheet.question.background:
        for part, content in sheet.reply.choices[0].deltas():
            telling.token(part, content)
        telling.closing(sheet.reply.choices[0].finish, _usage(sheet))
    return telling.whole()


def events(kept: Kept, script: Script, behind: int = -1) -> Iterator[Step]:
    """The body of a streamed answer, with the faults of `script`, from the event that comes
    behind number `behind` on."""
    sheet = attrs.evolve(kept.sheet, script=script)
    steps = _InteractionEvents(kept, sheet, _writer(sheet), behind).steps()
    return steps if sheet.gap else batched(steps)


def number_of(event_id: str) -> int:
    """-1, before all of them, for one that is not ours."""
    digits = event_id.removeprefix("e")
    return int(digits) if digits.isdecimal() else -1


def _writer(sheet: AnswerSpec) -> InteractionWriter:
    created = datetime.fromtimestamp(sheet.created, UTC).isoformat().replace("+00:00", "Z")
    return InteractionWriter(sheet.id, created, sheet.question)


def _usage(sheet: AnswerSpec) -> object:
    reported = sheet.reported_usage()
    if reported is None or first(sheet.script, UsageLie):
        return reported and msgspec.Raw(reported)
    reply = sheet.reply
    return {
        "total_input_tokens": reply.input_tokens,
        "total_cached_tokens": reply.cached_tokens,
        "total_output_tokens": reply.output_tokens - reply.reasoning_tokens,
        "total_thought_tokens": reply.reasoning_tokens,
        "total_tokens": reply.input_tokens + reply.output_tokens,
    }


class _InteractionEvents(KeptEvents[InteractionWriter]):
    """As server-sent events, named by their `event_type`."""

    marker = b'"event_type":"'

    def _closing(self) -> Iterator[bytes]:
        sheet = self._sheet
        silent = first(sheet.script, NoFinish) or first(sheet.script, NoEndMark)
        finish = None if silent else sheet.reply.choices[0].finish
        yield self._framed(self._told.closing(finish, _usage(sheet)))

    def _mistake(self, fault: InStreamError) -> bytes:
        return self._told.mistake(fault.code or fault.type, fault.message)
