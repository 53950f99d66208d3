"""The event stream of a chat completion with its faults, and the object of one that is not
streamed.

Token k is due at `first_at + k * gap`, whenever the ones before it could be sent: a
model does not slow down because its client reads slowly. Stalls move all that follows.
"""

from collections import defaultdict
from collections.abc import Iterator
from math import inf
from typing import Any, TypeVar

import attrs
import msgspec

from streamnursery.serving.steps import End, How, Send, Step, Wait, batched
from streamnursery.simulator.cuts import ending
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.question import Question
from streamnursery.simulator.reply import Reply, ReplyChoice
from streamnursery.simulator.script import (
    BadJson,
    BadUtf8,
    Comments,
    Crlf,
    Cut,
    HangAfterDone,
    InStreamError,
    NoEndMark,
    NoFinish,
    NoUsage,
    Reset,
    Script,
    Stall,
    UsageLie,
)
from streamnursery.wire.openai_chat.server import ChatCall, ChatWriter, Part, message

F = TypeVar("F", bound=Fault)
_encode = msgspec.json.encode


def first(script: Script, kind: type[F]) -> F | None:
    """The first fault of this kind."""
    return next((fault for fault in script if isinstance(fault, kind)), None)


@attrs.frozen
class AnswerSpec:
    """Everything that an answer is made from."""

    id: str
    """Of the completion."""
    created: int
    question: Question
    reply: Reply
    script: Script
    head_at: float
    first_at: float
    gap: float
    """Seconds between tokens; 0: all at once."""

    @property
    def writer(self) -> ChatWriter:
        question = self.question
        return ChatWriter(self.id, self.created, question.model, question.include_usage)

    @property
    def usage(self) -> dict[str, Any]:
        """The truth about tokens, as OpenAI reports it."""
        reply = self.reply
        return {
            "prompt_tokens": reply.input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": reply.input_tokens + reply.output_tokens,
            "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
            "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
        }

    def reported_usage(self) -> bytes | None:
        """The JSON of `usage` as it is sent, if it is."""
        lie = first(self.script, UsageLie)
        if lie is not None:
            return lie.usage.encode() if isinstance(lie.usage, str) else _encode(lie.usage)
        wanted = self.question.include_usage or not self.question.stream
        return None if not wanted or first(self.script, NoUsage) else _encode(self.usage)


def completion(sheet: AnswerSpec) -> bytes:
    """The body of an answer that is not streamed."""
    open_ended = first(sheet.script, NoFinish)
    choices = [(_message(c), None if open_ended else c.finish) for c in sheet.reply.choices]
    return sheet.writer.completion(choices, sheet.reported_usage())


def _message(choice: ReplyChoice) -> dict[str, Any]:
    said = "".join(choice.reasoning)
    reasoning: dict[str, str] = {choice.reasoning_field: said} if said else {}
    calls = [ChatCall(call.id, call.function, call.arguments) for call in choice.calls]
    return message(choice.text, refused=choice.refused, reasoning=reasoning, calls=calls)


def events(sheet: AnswerSpec) -> Iterator[Step]:
    """The body of a streamed answer: one send per event, or large ones where nothing is paced."""
    steps = Events(sheet).steps()
    return steps if sheet.gap else batched(steps)


class Events:
    """The steps of a streamed answer with its faults; other APIs override what they word
    otherwise."""

    def __init__(self, sheet: AnswerSpec) -> None:
        self._sheet = sheet
        self._writer = sheet.writer
        self._newline = b"\r\n" if first(sheet.script, Crlf) else b"\n"
        comments = first(sheet.script, Comments)
        self._before = self._comment() * (comments.n if comments else 0) + b"data: "
        self._after = self._newline * 2
        # A bare CR ends a line too: the last LF is not needed to know the event.
        self._early = len(self._newline) - 1
        self._shift = 0.0
        self._frame = b"", b""
        """Of the last token."""
        self._frames: dict[tuple[int, Part], tuple[bytes, bytes]] = {}
        self._faults: defaultdict[int, list[Fault]] = defaultdict(list)
        for fault in sheet.script:
            if isinstance(fault, Stall | InStreamError | BadJson | BadUtf8) or (
                isinstance(fault, Cut | Reset) and fault.unit == "tokens"
            ):
                self._faults[fault.at].append(fault)

    def steps(self) -> Iterator[Step]:
        sheet = self._sheet
        for event in self._opening():
            yield Send(event, sheet.head_at)
        count = 0
        for index, part, content in sheet.reply.deltas():
            at = sheet.first_at + count * sheet.gap
            event = self._token(index, part, content)
            if count in self._faults:
                event = self._spoiled(count, event)
                for step in self._happening(count, at):
                    yield step
                    if isinstance(step, End):
                        return
            yield Send(event, at + self._shift, (len(event) - self._early,))
            count += 1
        for step in self._happening(count, sheet.first_at + count * sheet.gap):
            yield step
            if isinstance(step, End):
                return
        at = sheet.first_at + max(0, count - 1) * sheet.gap + self._shift
        for event in self._closing():
            yield Send(event, at)
        hang = first(sheet.script, HangAfterDone)
        if hang is not None:
            yield Wait(inf if hang.seconds is None else hang.seconds)
        yield End(How.KEEP)

    def _opening(self) -> Iterator[bytes]:
        for index in range(len(self._sheet.reply.choices)):
            yield self._event(self._writer.chunk(index, {"role": "assistant", "content": ""}))

    def _closing(self) -> Iterator[bytes]:
        sheet = self._sheet
        if not first(sheet.script, NoFinish):
            for index, choice in enumerate(sheet.reply.choices):
                yield self._event(self._writer.chunk(index, {}, choice.finish))
        usage = sheet.reported_usage()
        if usage is not None:
            yield self._event(self._writer.usage(usage))
        if not first(sheet.script, NoEndMark):
            yield self._event(b"[DONE]")

    # Faults. --------------------------------------------------------------------------------

    def _spoiled(self, count: int, event: bytes) -> bytes:
        for fault in self._faults[count]:
            if isinstance(fault, BadJson):
                start = event.index(b"{")
                half = start + (len(event) - start) // 2
                event = event[:half] + self._after
            elif isinstance(fault, BadUtf8):
                event = self._with_bad_utf8(event)
        return event

    def _with_bad_utf8(self, _event: bytes) -> bytes:
        before, after = self._frame
        return before + b'"\xe2\x82"' + after

    def _happening(self, count: int, at: float) -> Iterator[Step]:
        """What comes before token `count`; after an `End` there is no more."""
        for fault in self._faults.get(count, ()):
            if isinstance(fault, Stall):
                yield from self._stall(fault)
            elif isinstance(fault, InStreamError):
                yield from self._error(fault, at + self._shift)
            elif isinstance(fault, Cut):
                how = How.KEEP if fault.how == "end" else How.CUT
                yield from ending(End(how, "cut"))
            elif isinstance(fault, Reset):
                yield from ending(End(How.RESET, "reset"))

    def _stall(self, fault: Stall) -> Iterator[Step]:
        left = inf if fault.seconds is None else fault.seconds
        self._shift += left
        while fault.pings and left > fault.pings:
            yield Wait(fault.pings)
            yield Send(self._comment())
            left -= fault.pings
        yield Wait(left)

    def _error(self, fault: InStreamError, at: float) -> Iterator[Step]:
        yield Send(self._event(self._mistake(fault)), at)
        if fault.done:
            yield Send(self._event(b"[DONE]"), at)
        yield End(How.KEEP, "in-stream error")

    def _mistake(self, fault: InStreamError) -> bytes:
        error = {"message": fault.message, "type": fault.type, "param": None, "code": fault.code}
        if fault.shape == "openrouter":
            chunk = self._writer.chunk(0, {"content": ""}, "error")
            return b'%b,"error":%b}' % (chunk[:-1], _encode(error))
        return _encode({"error": error})

    # Bytes. ---------------------------------------------------------------------------------

    def _comment(self) -> bytes:
        return b": keep-alive" + self._newline * 2

    def _event(self, data: bytes) -> bytes:
        return self._before + data + self._after

    def _token(self, index: int, part: Part, content: Any) -> bytes:
        frame = self._frames.get((index, part))
        if frame is None:
            before, after = self._writer.frame(index, part)
            frame = self._frames[index, part] = self._before + before, after + self._after
        self._frame = frame
        return frame[0] + _encode(content) + frame[1]
