"""The answers of the Responses API: JSON events, streamed or whole.

Rule 1: the words are those of the chat API: one reply, told in other events.
Rule 2: events are numbered from 0 in the order of telling, whoever frames them: server-sent
        events over HTTP, messages of a WebSocket.
Rule 3: an answer asked for with `background` can be told again from any number on, at the pace
        at which it is made, until `MAX_KEPT` others have been asked for.
"""

from collections.abc import Iterator
from typing import Any

import attrs
import msgspec

from streamnursery.serving.steps import End, How, Send, Step, batched
from streamnursery.simulator.chat import AnswerSpec, Events, first
from streamnursery.simulator.question import ApiError
from streamnursery.simulator.reply import Part, ReplyChoice
from streamnursery.simulator.responses_question import Messages
from streamnursery.simulator.script import (
    BadJson,
    BadUtf8,
    InStreamError,
    NoEndMark,
    NoFinish,
    Script,
    UsageLie,
)

MAX_KEPT = 10_000
_encode = msgspec.json.encode
_KINDS: dict[Part, str] = {
    "content": "message",
    "refusal": "message",
    "reasoning_content": "reasoning",
    "reasoning": "reasoning",
    "tool_calls": "function_call",
}
_SPOKEN: dict[Part, tuple[str, str, str]] = {
    "content": ("output_text", "text", "response.output_text"),
    "refusal": ("refusal", "refusal", "response.refusal"),
    "reasoning_content": ("reasoning_text", "text", "response.reasoning_text"),
    "reasoning": ("reasoning_text", "text", "response.reasoning_text"),
}
"""Of each part of a reply: the part's type, its field, and the stem of its events."""


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
        """Raises `ApiError` 404 for one that nobody knows."""
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
    telling = Telling(kept.sheet)
    if kept.cancelled_at is not None:
        telling.cancelled()
    elif now >= kept.done_at or not kept.sheet.question.background:
        for part, content in telling.choice.deltas():
            telling.token(part, content)
        telling.closing()
    return _encode(telling.response)


def events(kept: Kept, script: Script, behind: int = -1) -> Iterator[Step]:
    """The body of a streamed answer, with the faults of `script`, from the event that comes
    behind number `behind` on."""
    sheet = attrs.evolve(kept.sheet, script=script)
    steps = _StreamedEvents(kept, sheet, behind).steps()
    return steps if sheet.gap else batched(steps)


@attrs.define
class _Item:
    """A piece of output as it is told."""

    index: int
    part: Part
    content: dict[str, Any]
    """The item in its finished form."""
    pieces: list[str] = attrs.field(factory=list)


class Telling:
    """One response, event by event."""

    def __init__(self, sheet: AnswerSpec) -> None:
        self._sheet = sheet
        self._number = 0
        self._item: _Item | None = None
        self._output: list[dict[str, Any]] = []
        self.response: dict[str, Any] = {
            "id": sheet.id,
            "object": "response",
            "created_at": sheet.created,
            "status": "in_progress",
            "background": sheet.question.background,
            "error": None,
            "incomplete_details": None,
            "model": sheet.question.asked_model,
            "output": [],
            "usage": None,
        }

    @property
    def choice(self) -> ReplyChoice:
        return self._sheet.reply.choices[0]

    def opening(self) -> list[bytes]:
        kinds = ["created", *(["queued"] if self._sheet.question.background else []), "in_progress"]
        return [self._event(f"response.{kind}", response=self.response) for kind in kinds]

    def token(self, part: Part, content: Any) -> list[bytes]:
        """The events of a token, those that open its item and end the one before among them."""
        told: list[bytes] = []
        opens_call = part == "tool_calls" and "id" in content[0]
        if self._item is None or self._item.part != part or opens_call:
            told += self._end_item()
            told += self._begin_item(part, content)
        if not opens_call:
            told.append(self._piece(part, content))
        return told

    def closing(self) -> list[bytes]:
        """The end of the last item, and of the response."""
        told = self._end_item()
        script = self._sheet.script
        if first(script, NoFinish) or first(script, NoEndMark):
            return told
        return [*told, self._end(self.choice.finish)]

    def mistake(self, fault: InStreamError) -> bytes:
        return self._event("error", code=fault.code, message=fault.message, param=None)

    def cancelled(self) -> bytes:
        """The last event of a response that its client has cancelled."""
        self.response |= {"status": "cancelled", "output": self._output}
        return self._event("response.cancelled", response=self.response)

    def _end(self, finish: str) -> bytes:
        reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
        status, details = "completed", None
        if finish in reasons:
            status, details = "incomplete", {"reason": reasons[finish]}
        self.response |= {"status": status, "incomplete_details": details, "output": self._output}
        self.response["usage"] = self._usage()
        return self._event(f"response.{status}", response=self.response)

    def _usage(self) -> object:
        reported = self._sheet.reported_usage()
        if reported is None or first(self._sheet.script, UsageLie):
            return reported and msgspec.Raw(reported)
        reply = self._sheet.reply
        return {
            "input_tokens": reply.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": reply.output_tokens,
            "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
            "total_tokens": reply.input_tokens + reply.output_tokens,
        }

    def _begin_item(self, part: Part, content: Any) -> list[bytes]:
        index, kind = len(self._output), _KINDS[part]
        stem = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        item: dict[str, Any] = {"id": f"{stem}_{self._sheet.id}_{index}", "type": kind}
        if kind == "function_call":
            call = content[0]
            item |= {"call_id": call["id"], "name": call["function"]["name"], "arguments": ""}
        else:
            item |= {"content": []} | ({"role": "assistant"} if kind == "message" else {})
        self._item = _Item(index, part, {**item, "status": "in_progress"})
        self._output.append(self._item.content)
        added = self._event(
            "response.output_item.added", output_index=index, item=self._item.content
        )
        if kind == "function_call":
            return [added]
        return [added, self._part_event("added", self._item, "")]

    def _piece(self, part: Part, content: Any) -> bytes:
        item = self._item
        assert item is not None
        piece = content[0]["function"]["arguments"] if part == "tool_calls" else content
        item.pieces.append(piece)
        where = {"item_id": item.content["id"], "output_index": item.index}
        if part == "tool_calls":
            return self._event("response.function_call_arguments.delta", **where, delta=piece)
        return self._event(f"{_SPOKEN[part][2]}.delta", **where, content_index=0, delta=piece)

    def _end_item(self) -> list[bytes]:
        item, self._item = self._item, None
        if item is None:
            return []
        whole = "".join(item.pieces)
        where = {"item_id": item.content["id"], "output_index": item.index}
        if item.part == "tool_calls":
            item.content["arguments"] = whole
            told = [self._event("response.function_call_arguments.done", **where, arguments=whole)]
        else:
            kind, field, stem = _SPOKEN[item.part]
            item.content["content"] = [{"type": kind, field: whole}]
            done = {**where, "content_index": 0, field: whole}
            told = [self._event(f"{stem}.done", **done), self._part_event("done", item, whole)]
        item.content["status"] = "completed"
        what = "response.output_item.done"
        return [*told, self._event(what, output_index=item.index, item=item.content)]

    def _part_event(self, what: str, item: _Item, text: str) -> bytes:
        kind, field, _ = _SPOKEN[item.part]
        return self._event(
            f"response.content_part.{what}",
            item_id=item.content["id"],
            output_index=item.index,
            content_index=0,
            part={"type": kind, field: text},
        )

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return _encode(event)


class _StreamedEvents(Events):
    """As server-sent events, with their names."""

    def __init__(self, kept: Kept, sheet: AnswerSpec, behind: int) -> None:
        super().__init__(sheet)
        self._kept = kept
        self._telling = Telling(sheet)
        self._skip = behind + 1
        self._last = b""
        self._delta = b""

    def steps(self) -> Iterator[Step]:
        for step in super().steps():
            cancelled_at = self._kept.cancelled_at
            if isinstance(step, Send) and cancelled_at is not None and step.at > cancelled_at:
                yield Send(self._event(self._telling.cancelled()))
                yield End(How.KEEP, "cancelled")
                return
            if not isinstance(step, Send) or step.data:
                yield step

    def _opening(self) -> Iterator[bytes]:
        yield self._framed(self._telling.opening())

    def _closing(self) -> Iterator[bytes]:
        yield self._framed(self._telling.closing())

    def _token(self, _index: int, part: Part, content: Any) -> bytes:
        piece = content[0]["function"]["arguments"] if part == "tool_calls" else content
        self._delta = b'"delta":' + _encode(piece)
        return self._framed(self._telling.token(part, content))

    def _mistake(self, fault: InStreamError) -> bytes:
        return self._telling.mistake(fault)

    def _spoiled(self, count: int, event: bytes) -> bytes:
        """Only the token's own event, and not those that open its item."""
        if not any(isinstance(fault, BadJson | BadUtf8) for fault in self._faults[count]):
            return event
        before = event[: len(event) - len(self._last)]
        return before + super()._spoiled(count, self._last)

    def _with_bad_utf8(self, event: bytes) -> bytes:
        return event.replace(self._delta, b'"delta":"\xe2\x82"', 1)

    def _framed(self, told: list[bytes]) -> bytes:
        """Those of the events that the client has not had."""
        had = min(self._skip, len(told))
        self._skip -= had
        framed = [self._event(data) for data in told[had:]]
        self._last = framed[-1] if framed else b""
        return b"".join(framed)

    def _event(self, data: bytes) -> bytes:
        kind = data.partition(b'"type":"')[2].partition(b'"')[0]
        comments = self._before.removesuffix(b"data: ")
        name = b"event: " + kind + self._newline if kind else b""
        return comments + name + b"data: " + data + self._after
