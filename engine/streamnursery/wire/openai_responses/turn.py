"""One answer of the Responses API, event by event, however its bytes travelled.

Rule 1: nothing is raised. A failure is kept, after the events before it; nothing follows it.
Rule 2: complete is what `evidence.OPENAI_RESPONSES` calls complete: the response's own last event,
        `response.completed` or `response.incomplete` (`response.done` of the realtime API).
Rule 3: what was sent in pieces is taken from the pieces. What only came whole - in a `done` event,
        a finished item, the finished response - is taken from there, once.
Rule 4: an event number that was seen already is old news: a resumed stream may repeat itself.
        Only servers that count are held to it; many send no numbers, or one number for all.
Rule 5: all output is choice 0. Only calls of the caller's own tools are tool calls; what the
        provider runs itself - searches, code, MCP - is its own affair.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from streamnursery.values.errors import EngineError, TooLargeError, TruncatedStreamError
from streamnursery.values.events import (
    ChoiceFinished,
    Finished,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.opaque import OpaquePart
from streamnursery.wire.dialect import Cursor
from streamnursery.wire.error_answers import error_in_stream, is_error
from streamnursery.wire.evidence import OPENAI_RESPONSES, Sign, complete
from streamnursery.wire.finish_kinds import OPENAI_RESPONSES_KINDS, finish_kind
from streamnursery.wire.json_text import as_raw, objects, read_json, text_of
from streamnursery.wire.openai_responses.error_event import stream_error
from streamnursery.wire.openai_responses.fields import key_of, plain
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS
from streamnursery.wire.token_counts import read_usage

if TYPE_CHECKING:
    from streamnursery.values.usage import Usage
    from streamnursery.wire.openai_responses.event import Event, TextPiece

MAX_PARTS = 65_536
"""Pieces of output - texts, refusals, thoughts - of one answer."""

Said: TypeAlias = type[TextDelta] | type[ReasoningDelta] | type[RefusalDelta]
Told: TypeAlias = Said | type[OpaquePart]

_SAID: dict[str, Said] = {
    "response.output_text": TextDelta,
    "response.text": TextDelta,  # realtime, before its release
    "response.output_audio_transcript": TextDelta,  # realtime: what the voice says
    "response.audio_transcript": TextDelta,
    "response.refusal": RefusalDelta,
    "response.reasoning_text": ReasoningDelta,
    "response.reasoning": ReasoningDelta,  # before it had its name
    "response.reasoning_summary_text": ReasoningDelta,
    "response.reasoning_summary": ReasoningDelta,
}
_ARGUMENTS = frozenset({"response.function_call_arguments", "response.custom_tool_call_input"})
_CALLS = frozenset({"function_call", "custom_tool_call"})
_READ = frozenset({"message", "reasoning", "output_text", *_CALLS})
"""Items whose content has a type here; any other is handed on whole."""
_PARTS: dict[str, Said] = {
    "output_text": TextDelta,
    "text": TextDelta,
    "refusal": RefusalDelta,
    "reasoning_text": ReasoningDelta,
    "summary_text": ReasoningDelta,
}
_ENDS = frozenset({
    "response.completed",
    "response.incomplete",
    "response.failed",
    "response.cancelled",
    "response.done",
})
_PATH_WORD = re.compile(r"[A-Za-z0-9_-]{1,200}")
_WELL = frozenset({"completed", "incomplete"})


class _ToolItem:
    """A tool call as far as it has come."""

    __slots__ = ("has_arguments", "id", "index", "name")

    def __init__(self, index: int) -> None:
        self.index = index
        self.id: str | None = None
        self.name: str | None = None
        self.has_arguments = False


class ResponsesTurn:
    """Turns the events of one response into stream events."""

    __slots__ = (
        "_after",
        "_calls",
        "_counts",
        "_kept",
        "_keys",
        "_places",
        "_said",
        "_usage",
        "done",
        "failure",
        "number",
        "response_id",
        "response_model",
        "trailing",
    )

    def __init__(self) -> None:
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.number: int | None = None
        """`sequence_number` of the last event: a resumed stream starts after it."""
        self._after: int | None = None
        """Number of the last event before a break; the answer goes on behind it."""
        self._counts = False
        """The last event had a higher number than the one before it."""
        self._calls: dict[object, _ToolItem] = {}
        self._said: set[tuple[Told, object]] = set()
        """Which outputs have said something, of which kind."""
        self._keys: dict[str, object] = {}
        """Which output a name belongs to: the last event need not count as the others did."""
        self._places: set[tuple[str, object, object]] = set()
        """Which parts of them."""
        self._usage: Usage | None = None
        self._kept = False
        """It is made in the background: its stream can be read on after a break."""

    @property
    def cursor(self) -> Cursor | None:
        """Only a response that is made in the background is kept, and only one whose events are
        numbered can be read on."""
        if not self._kept or self.number is None:
            return None
        if self.response_id is None or not _PATH_WORD.fullmatch(self.response_id):
            return None  # it would become a part of a path
        return Cursor(self.response_id, self.number)

    def go_on(self) -> None:
        """Take up the answer again behind the last event, after its stream had broken off."""
        self.failure = None
        self._after = self.number

    def take_text(self, piece: TextPiece, events: list[StreamEvent]) -> None:
        """As `take_event`, for the event that most events are."""
        if self._is_old(piece.sequence_number) or not piece.delta:
            return
        place = ("response.output_text", piece.output_index, piece.content_index)
        if place not in self._places:
            self._open(place, TextDelta)
        events.append(TextDelta(piece.delta))

    def take_event(
        self, event: Event, data: bytes, events: list[StreamEvent], name: str = ""
    ) -> None:
        """Add what `event` says. `data` is the event as it came, `name` its type where the event
        itself does not say it."""
        kind = event.type if isinstance(event.type, str) else name
        if kind == "error" or (event.error and not kind.startswith("response.")):
            self.failure = stream_error(data)
            return
        if not kind.startswith("response."):
            if is_error(value := read_json(data)):
                self.failure = error_in_stream(value, data)
            return
        if self._is_old(event.sequence_number):
            return
        subject, _, what = kind.rpartition(".")
        if isinstance(event.response, dict):
            self._take_response(kind, event.response, data, events)
        elif subject in _SAID:
            self._take_said(subject, what, event, events)
        elif subject in _ARGUMENTS:
            self._take_arguments(what, event, events)
        elif subject == "response.output_item" and isinstance(event.item, dict):
            self._take_item(what, event, events)

    def _is_old(self, number: object) -> bool:
        """Whether an event with this number was taken before."""
        if not isinstance(number, int) or isinstance(number, bool):
            return False
        last = self.number
        if last is not None and number <= last:
            known = self._after is not None and number <= self._after
            return known or (self._counts and number == last)
        self._counts = last is not None
        self.number = number
        return False

    # Text. ------------------------------------------------------------------------------------

    def _take_said(self, subject: str, what: str, event: Event, events: list[StreamEvent]) -> None:
        said, key = _SAID[subject], key_of(event)
        inner = event.summary_index if event.content_index is None else event.content_index
        place = (subject, key, plain(inner))
        if what == "delta":
            text = text_of(event.delta)
        elif what == "done" and not self._was_said(place, said):
            text = text_of(event.text) or text_of(event.refusal) or text_of(event.transcript)
        else:
            return
        if text:
            self._open(place, said)
            events.append(said(text))

    def _was_said(self, place: tuple[str, object, object], said: Said) -> bool:
        """In pieces. Some servers number the parts of an output in some of its events only."""
        subject, key, inner = place
        if inner is None:
            return (said, key) in self._said
        return place in self._places or (subject, key, None) in self._places

    def _open(self, place: tuple[str, object, object], said: Said) -> None:
        self._places.add(place)
        self._said.add((said, place[1]))
        if len(self._places) > MAX_PARTS:
            self.failure = _too_many("pieces of output", MAX_PARTS)

    # Items. -----------------------------------------------------------------------------------

    def _take_item(self, what: str, event: Event, events: list[StreamEvent]) -> None:
        item = event.item
        key = key_of(event)
        if key is None:
            key = text_of(item.get("id"))
        self._keys[text_of(item.get("id"))] = key
        if item.get("type") in _CALLS:
            self._take_call(key, what, item, events)
        elif what == "done":
            self._take_whole(key, item, events)
            self._take_opaque(key, item, events)

    def _take_whole(self, key: object, item: dict[str, Any], events: list[StreamEvent]) -> None:
        """A finished item: of each kind that it said nothing of in pieces, all that it has."""
        texts: dict[Said, str] = {}
        for part in [*objects(item.get("summary")), *objects(item.get("content"))]:
            said = _PARTS.get(text_of(part.get("type")))
            text = text_of(part.get("text")) or text_of(part.get("refusal"))
            if said is not None and text and (said, key) not in self._said:
                texts[said] = texts.get(said, "") + text
        for said, text in texts.items():
            self._said.add((said, key))
            events.append(said(text))

    def _take_opaque(self, key: object, item: dict[str, Any], events: list[StreamEvent]) -> None:
        """What is handed on unread: images, searches, the encrypted reasoning that the next request
        has to repeat."""
        kind = text_of(item.get("type"))
        if (kind in _READ and not item.get("encrypted_content")) or (OpaquePart, key) in self._said:
            return
        self._said.add((OpaquePart, key))
        events.append(OpaquePart(0, kind or "item", as_raw(item)))

    def _take_call(
        self, key: object, what: str, item: dict[str, Any], events: list[StreamEvent]
    ) -> None:
        call = self._call(key)
        if call is None:
            return
        new_id = None if call.id else text_of(item.get("call_id")) or text_of(item.get("id"))
        new_name = None if call.name else text_of(item.get("name")) or None
        call.id, call.name = call.id or new_id, call.name or new_name
        arguments = ""
        if what == "done" and not call.has_arguments:
            arguments = text_of(item.get("arguments")) or text_of(item.get("input"))
            call.has_arguments = bool(arguments)
        if new_id or new_name or arguments:
            events.append(ToolCallDelta(call.index, new_id or None, new_name, arguments))

    def _take_arguments(self, what: str, event: Event, events: list[StreamEvent]) -> None:
        call = self._call(key_of(event))
        if call is None:
            return
        if what == "delta":
            arguments = text_of(event.delta)
        elif call.has_arguments:
            return
        else:
            arguments = text_of(event.arguments) or text_of(event.input)
        if arguments:
            call.has_arguments = True
            events.append(ToolCallDelta(call.index, arguments=arguments))

    def _call(self, key: object) -> _ToolItem | None:
        call = self._calls.get(key)
        if call is None:
            if len(self._calls) >= MAX_TOOL_CALLS:
                self.failure = _too_many("tool calls", MAX_TOOL_CALLS)
                return None
            call = self._calls[key] = _ToolItem(len(self._calls))
        return call

    # The response itself. ---------------------------------------------------------------------

    def _take_response(
        self, kind: str, response: dict[str, Any], data: bytes, events: list[StreamEvent]
    ) -> None:
        self.response_id = self.response_id or text_of(response.get("id")) or None
        self.response_model = self.response_model or text_of(response.get("model")) or None
        self._kept = self._kept or response.get("background") is True
        if kind not in _ENDS:
            return
        status = text_of(response.get("status")) or kind.rpartition(".")[2]
        error = _error_of(response)
        if error or status == "failed":
            self._take_usage(response.get("usage"), events)
            # The event holds the whole response; its error may stand far behind.
            told = {"error": error or {"code": "server_error"}}
            self.failure = error_in_stream(
                told,
                json.dumps(told, ensure_ascii=False).encode("utf-8", "replace") if error else data,
            )
        elif status in _WELL:
            self._take_output(response, events)
            self._take_usage(response.get("usage"), events)
            self._finish(_reason(status, response), events)
        else:
            self._take_usage(response.get("usage"), events)
            msg = f"the provider ended the response as {_shown(status)}: the answer is not whole"
            self.failure = TruncatedStreamError(msg, status=200, retryable=False)

    def _take_output(self, response: dict[str, Any], events: list[StreamEvent]) -> None:
        """The output that only the last event holds: all of it from servers that only pretend to
        stream, an item or a part of one from others."""
        known = {key for _, key in self._said} | self._calls.keys()
        by_name = any(isinstance(key, str) for key in known)
        if None in known:
            return  # an event that names no output may have been of any
        for index, item in enumerate(objects(response.get("output"))):
            name = text_of(item.get("id"))
            key: object = self._keys.get(name, name if name in known else index)
            if by_name and not name:
                continue  # it may be one of those that were named
            if item.get("type") in _CALLS:
                self._take_call(key, "done", item, events)
            else:
                self._take_whole(key, item, events)
                self._take_opaque(key, item, events)

    def _take_usage(self, raw: object, events: list[StreamEvent]) -> None:
        usage = read_usage(raw) if isinstance(raw, dict) else None
        if usage is not None and usage != self._usage:
            self._usage = usage
            events.append(UsageReport(usage))

    def _finish(self, reason: str, events: list[StreamEvent]) -> None:
        if self.failure is None and complete(OPENAI_RESPONSES, {Sign.END_MARK}):
            self.done = True
            calls, refused = bool(self._calls), any(said is RefusalDelta for said, _ in self._said)
            kind = finish_kind(OPENAI_RESPONSES_KINDS, reason, calls=calls, refused=refused)
            events += [ChoiceFinished(0, reason), Finished(reason, kind)]


def _error_of(response: dict[str, Any]) -> object:
    """What a response says went wrong; the realtime API says it in `status_details`."""
    details = response.get("status_details")
    inner = details.get("error") if isinstance(details, dict) else None
    return response.get("error") or inner


def _reason(status: str, response: dict[str, Any]) -> str:
    """Why the answer ended: the provider's own word."""
    for name in ("incomplete_details", "status_details"):
        details = response.get(name)
        if isinstance(details, dict) and status == "incomplete":
            return text_of(details.get("reason")) or status
    return status


def _too_many(what: str, bound: int) -> TooLargeError:
    msg = f"the stream has more than {bound:,} {what}: no model answers like that"
    return TooLargeError(msg, status=200)


def _shown(status: str) -> str:
    return status if status in {"cancelled", "in_progress", "queued"} else "something else"
