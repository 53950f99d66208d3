"""Calls of functions in a Gemini answer: whole in one part, or put together from pieces.

Rule 1: a call without `willContinue` is whole. One with it goes on in the parts that follow, until
        one without it, the next call with a name, or the end of the candidate.
Rule 2: what has no id gets one, from the response's own id, so that it differs from turn to turn.
Rule 3: the arguments of a call in pieces are delivered once they are whole: the pieces are places
        of an object and no text.
"""

import json
from typing import Any

from streamnursery.values.events import StreamEvent, ToolCallDelta
from streamnursery.values.opaque import OpaquePart
from streamnursery.wire.gemini.json_path import set_at
from streamnursery.wire.json_text import as_raw, clean, finite
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS

MADE = "gemini-"
"""How the ids begin that were made here; they are not sent back."""
_VALUES = ("stringValue", "numberValue", "boolValue")


class GeminiCalls:
    """The calls of one candidate."""

    __slots__ = ("_index", "_next", "_open", "_response")

    def __init__(self, index: int, response: str) -> None:
        self._index = index
        self._response = response
        self._next = 0
        self._open: dict[str, Any] | None = None
        """The arguments so far of the last call, while it goes on."""

    def take(self, call: dict[str, Any], signature: str | None) -> list[StreamEvent]:
        """The events of one part.

        Raises:
            OverflowError: more than `MAX_TOOL_CALLS` calls.
            ValueError: a piece belongs nowhere among the arguments.
        """
        events: list[StreamEvent] = []
        name, goes_on = call.get("name"), call.get("willContinue") is True
        if isinstance(name, str) and name:
            events += self.end()
            events += self._begin(call, clean(name), signature)
        if self._open is None:
            return events
        if isinstance(call.get("args"), dict):
            self._open.update(call["args"])
        pieces = call.get("partialArgs")
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict) and isinstance(piece.get("jsonPath"), str):
                value = next((piece[kind] for kind in _VALUES if kind in piece), None)
                set_at(self._open, piece["jsonPath"], value)
        return events if goes_on else [*events, *self.end()]

    def end(self) -> list[StreamEvent]:
        """The last call, if it was going on, goes on no more: its arguments."""
        arguments, self._open = self._open, None
        if arguments is None:
            return []
        text = clean(json.dumps(finite(arguments), ensure_ascii=False))
        return [ToolCallDelta(self._next - 1, arguments=text, index=self._index)]

    def _begin(self, call: dict[str, Any], name: str, signature: str | None) -> list[StreamEvent]:
        if self._next >= MAX_TOOL_CALLS:
            raise OverflowError
        place, self._next, self._open = self._next, self._next + 1, {}
        given = call.get("id")
        made = f"{MADE}{self._response or 'call'}-{self._index}-{place}"
        call_id = clean(given) if isinstance(given, str) and given else made
        events: list[StreamEvent] = [ToolCallDelta(place, call_id, name, index=self._index)]
        if signature is not None:
            part = OpaquePart(self._index, "thoughtSignature", as_raw(signature), place)
            events.append(part)
        return events
