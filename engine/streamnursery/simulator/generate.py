"""The answers of Google's Gemini API: records, streamed or whole.

Rule 1: the words are those of the chat API: one reply, in other records.
Rule 2: a call is sent at once, with its last piece: the pieces before it are sent as nothing.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from streamnursery.serving.steps import Step, batched
from streamnursery.simulator.chat import AnswerSpec, Events, first
from streamnursery.simulator.script import InStreamError, NoEndMark, NoFinish, NoUsage, UsageLie
from streamnursery.wire.gemini.server import GenerateWriter, error_value
from streamnursery.wire.openai_chat.server import Part

_STATUSES = {"rate_limit_error": 429, "overloaded": 503, "overloaded_error": 503}


def completion(sheet: AnswerSpec) -> bytes:
    """The body of an answer that is not streamed."""
    telling, candidates = _writer(sheet), []
    for index, choice in enumerate(sheet.reply.choices):
        records: list[bytes] = []
        for part, content in choice.deltas():
            records += telling.token(index, part, content)
        records += telling.closing(index, choice.finish, None)
        found = [msgspec.json.decode(record)["candidates"][0] for record in records]
        parts = [part for one in found for part in one["content"]["parts"]]
        candidates.append({**found[-1], "content": {"parts": parts, "role": "model"}})
    return telling.whole(candidates, _usage(sheet, telling))


def events(sheet: AnswerSpec) -> Iterator[Step]:
    """The body of a streamed answer."""
    steps = _GenerateEvents(sheet).steps()
    return steps if sheet.gap else batched(steps)


def _writer(sheet: AnswerSpec) -> GenerateWriter:
    reply = sheet.reply
    return GenerateWriter(
        sheet.id, sheet.question.model, reply.input_tokens, cached_tokens=reply.cached_tokens
    )


def _usage(sheet: AnswerSpec, telling: GenerateWriter) -> object:
    """The last counts."""
    reported = sheet.reported_usage()
    if first(sheet.script, UsageLie):
        return reported and msgspec.Raw(reported)
    return {} if first(sheet.script, NoUsage) else telling.counts()


class _GenerateEvents(Events):
    """As server-sent events without names or an end mark."""

    def __init__(self, sheet: AnswerSpec) -> None:
        super().__init__(sheet)
        self._told = _writer(sheet)
        self._piece = b""

    def _opening(self) -> Iterator[bytes]:
        return iter(())

    def _token(self, index: int, part: Part, content: Any) -> bytes:
        piece = content[0]["function"]["arguments"] if part == "tool_calls" else content
        self._piece = msgspec.json.encode(piece)
        return b"".join(self._event(data) for data in self._told.token(index, part, content))

    def _spoiled(self, count: int, event: bytes) -> bytes:
        """A piece of a call is not a record, and cannot be spoiled."""
        return super()._spoiled(count, event) if event else event

    def _with_bad_utf8(self, event: bytes) -> bytes:
        before, found, after = event.rpartition(self._piece)
        return before + b'"\xe2\x82"' + after if found else event

    def _closing(self) -> Iterator[bytes]:
        sheet, telling = self._sheet, self._told
        silent = first(sheet.script, NoFinish) or first(sheet.script, NoEndMark)
        for index, choice in enumerate(sheet.reply.choices):
            finish = None if silent else choice.finish
            for data in telling.closing(index, finish, _usage(sheet, telling)):
                yield self._event(data)

    def _mistake(self, fault: InStreamError) -> bytes:
        status = _STATUSES.get(str(fault.code), _STATUSES.get(fault.type, 500))
        return msgspec.json.encode(error_value(status, fault.message))
