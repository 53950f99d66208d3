"""The answers of Ollama's own chat API: a JSON object a line, or one.

Rule 1: the words are those of the chat API: one reply, in other lines.
Rule 2: the API has no comments, no names of errors and no mark but `done`: faults about these do
        nothing more than it can say.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from streamnursery.serving.steps import Step, batched
from streamnursery.simulator.chat import AnswerSpec, Events, first
from streamnursery.simulator.script import InStreamError, NoEndMark, NoFinish, NoUsage
from streamnursery.wire.ollama_chat.server import OllamaWriter
from streamnursery.wire.openai_chat.server import Part

LINES = ("content-type", "application/x-ndjson")


def completion(sheet: AnswerSpec) -> bytes:
    """The body of an answer that is not streamed."""
    telling, choice = _writer(sheet), sheet.reply.choices[0]
    for part, content in choice.deltas():
        telling.token(part, content)
    return telling.whole(choice.finish, _counts(sheet))


def events(sheet: AnswerSpec) -> Iterator[Step]:
    """The body of a streamed answer."""
    steps = _OllamaEvents(sheet).steps()
    return steps if sheet.gap else batched(steps)


def _writer(sheet: AnswerSpec) -> OllamaWriter:
    created = datetime.fromtimestamp(sheet.created, UTC).isoformat().replace("+00:00", "Z")
    return OllamaWriter(sheet.question.model, created)


def _counts(sheet: AnswerSpec) -> dict[str, Any]:
    if first(sheet.script, NoUsage):
        return {}
    reply = sheet.reply
    return {"prompt_eval_count": reply.input_tokens, "eval_count": reply.output_tokens}


class _OllamaEvents(Events):
    def __init__(self, sheet: AnswerSpec) -> None:
        super().__init__(sheet)
        self._told = _writer(sheet)
        self._after = self._newline
        self._piece = b""

    def _opening(self) -> Iterator[bytes]:
        return iter(())

    def _token(self, _index: int, part: Part, content: Any) -> bytes:
        piece = content[0]["function"]["arguments"] if part == "tool_calls" else content
        self._piece = msgspec.json.encode(piece)
        return b"".join(self._event(data) for data in self._told.token(part, content))

    def _spoiled(self, count: int, event: bytes) -> bytes:
        """A piece of a call is not a line, and cannot be spoiled."""
        return super()._spoiled(count, event) if event else event

    def _with_bad_utf8(self, event: bytes) -> bytes:
        before, found, after = event.rpartition(self._piece)
        return before + b'"\xe2\x82"' + after if found else event

    def _closing(self) -> Iterator[bytes]:
        sheet = self._sheet
        silent = first(sheet.script, NoFinish) or first(sheet.script, NoEndMark)
        finish = None if silent else sheet.reply.choices[0].finish
        for data in self._told.closing(finish, _counts(sheet)):
            yield self._event(data)

    def _mistake(self, fault: InStreamError) -> bytes:
        return msgspec.json.encode({"error": fault.message})

    def _comment(self) -> bytes:
        return b""

    def _event(self, data: bytes) -> bytes:
        return b"" if data == b"[DONE]" else data + self._newline
