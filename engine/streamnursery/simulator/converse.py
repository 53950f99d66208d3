"""The answers of Amazon Bedrock's Converse API: messages of an event stream, or whole.

Rule 1: the words are those of the chat API: one reply, in other events.
Rule 2: a fault that spoils an event spoils its JSON; its frame and its checksums are right. The
        API has no comments and no end mark: faults that are about these do nothing.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from streamnursery.serving.steps import Step, batched
from streamnursery.simulator.chat import AnswerSpec, Events, first
from streamnursery.simulator.script import (
    BadJson,
    BadUtf8,
    InStreamError,
    NoEndMark,
    NoFinish,
    UsageLie,
)
from streamnursery.wire.bedrock_converse.server import ConverseWriter, Told, frame, mistake
from streamnursery.wire.openai_chat.server import Part

EVENT_STREAM = ("content-type", "application/vnd.amazon.eventstream")


def completion(sheet: AnswerSpec) -> bytes:
    """The body of an answer that is not streamed."""
    telling = ConverseWriter()
    choice = sheet.reply.choices[0]
    for part, content in choice.deltas():
        telling.token(part, content)
    return telling.whole(choice.finish, _usage(sheet) or {})


def events(sheet: AnswerSpec) -> Iterator[Step]:
    """The body of a streamed answer."""
    steps = _ConverseEvents(sheet).steps()
    return steps if sheet.gap else batched(steps)


def _usage(sheet: AnswerSpec) -> object:
    """As Amazon counts: the cached part of the input is none of `inputTokens`."""
    reported = sheet.reported_usage()
    if reported is None or first(sheet.script, UsageLie):
        return reported and msgspec.Raw(reported)
    reply = sheet.reply
    return {
        "inputTokens": reply.input_tokens - reply.cached_tokens,
        "outputTokens": reply.output_tokens,
        "totalTokens": reply.input_tokens + reply.output_tokens,
        "cacheReadInputTokens": reply.cached_tokens,
        "cacheWriteInputTokens": 0,
    }


class _ConverseEvents(Events):
    def __init__(self, sheet: AnswerSpec) -> None:
        super().__init__(sheet)
        self._told = ConverseWriter()
        self._ends: list[Told] = []
        """Of the last token: what ended and began blocks before it."""
        self._last: Told = "", b""
        self._piece = b""

    def _opening(self) -> Iterator[bytes]:
        yield _framed(self._told.opening())

    def _token(self, _index: int, part: Part, content: Any) -> bytes:
        piece = content[0]["function"]["arguments"] if part == "tool_calls" else content
        self._piece = msgspec.json.encode(piece)
        *self._ends, self._last = self._told.token(part, content)
        return _framed([*self._ends, self._last])

    def _spoiled(self, count: int, event: bytes) -> bytes:
        name, payload = self._last
        for fault in self._faults[count]:
            if isinstance(fault, BadJson):
                payload = payload[: len(payload) // 2]
            elif isinstance(fault, BadUtf8):
                payload = payload.replace(self._piece, b'"\xe2\x82"')
        changed = payload != self._last[1]
        return _framed([*self._ends, (name, payload)]) if changed else event

    def _closing(self) -> Iterator[bytes]:
        script, usage = self._sheet.script, _usage(self._sheet)
        silent = first(script, NoFinish)
        finish = None if silent else self._sheet.reply.choices[0].finish
        told = self._told.closing(finish)
        if first(script, NoEndMark):
            told = [one for one in told if one[0] != "messageStop"]
        elif not silent:
            told.append(self._told.counts({} if usage is None else usage))
        yield _framed(told)

    def _mistake(self, fault: InStreamError) -> bytes:
        return mistake(fault.code, fault.type, fault.message)

    def _comment(self) -> bytes:
        return b""

    def _event(self, data: bytes) -> bytes:
        return b"" if data == b"[DONE]" else data


def _framed(told: list[Told]) -> bytes:
    return b"".join(frame(name, payload) for name, payload in told)
