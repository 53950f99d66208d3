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

from streamnursery.serving.steps import End, How, Send, Step, batched
from streamnursery.simulator.chat import AnswerSpec, first
from streamnursery.simulator.script import (
    InStreamError,
    NoEndMark,
    NoFinish,
    Script,
    UsageLie,
)
from streamnursery.simulator.told_events import ToldEvents
from streamnursery.wire.openai_chat.server import ApiError
from streamnursery.wire.openai_responses.server import Messages, ResponseWriter

MAX_KEPT = 10_000
_encode = msgspec.json.encode


@attrs.define
class Kept:
    """A response that can be asked for again."""

    sheet: AnswerSpec
    cancelled_at: float | None = None

    @property
    def messages(self) -> Messages:
        """The conversation up to and with its answer."""
        choice = self.sheet.reply.choices[0]
        return [*self.sheet.question.messages, {"role": "assistant", "content": choice.text}]

    @property
    def done_at(self) -> float:
        """When its last token is made."""
        sheet = self.sheet
        return sheet.first_at + max(0, sheet.reply.output_tokens - 1) * sheet.gap


class Memory:
    """The responses of a provider, the last `MAX_KEPT` of them."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def keep(self, kept: Kept) -> None:
        self._kept[kept.sheet.id] = kept
        if len(self._kept) > MAX_KEPT:
            del self._kept[next(iter(self._kept))]

    def get(self, response_id: str) -> Kept:
        """Raises `ApiError` 404 for an unknown one."""
        kept = self._kept.get(response_id)
        if kept is None:
            msg = f"Response with id '{response_id[:80]}' not found."
            raise ApiError(404, msg, code="not_found")
        return kept

    def earlier(self, response_id: str) -> Messages | None:
        kept = self._kept.get(response_id)
        return None if kept is None else kept.messages


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
    steps = _StreamedEvents(kept, sheet, behind).steps()
    return steps if sheet.gap else batched(steps)


class _StreamedEvents(ToldEvents[ResponseWriter]):
    """As server-sent events, with their names."""

    def __init__(self, kept: Kept, sheet: AnswerSpec, behind: int) -> None:
        super().__init__(sheet, writer(sheet))
        self._kept = kept
        self._skip = behind + 1

    def steps(self) -> Iterator[Step]:
        for step in super().steps():
            cancelled_at = self._kept.cancelled_at
            if isinstance(step, Send) and cancelled_at is not None and step.at > cancelled_at:
                yield Send(self._event(self._told.cancelled()))
                yield End(How.KEEP, "cancelled")
                return
            if not isinstance(step, Send) or step.data:
                yield step

    def _closing(self) -> Iterator[bytes]:
        yield self._framed(closing(self._sheet, self._told))

    def _mistake(self, fault: InStreamError) -> bytes:
        return self._told.mistake(fault.code, fault.message)

    def _framed(self, told: list[bytes]) -> bytes:
        """Those of the events that the client has not had."""
        had = min(self._skip, len(told))
        self._skip -= had
        return super()._framed(told[had:])
