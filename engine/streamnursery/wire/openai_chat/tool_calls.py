"""Which tool call a piece of one belongs to.

Rule 1: an index says it; nothing overrules it.
Rule 2: without an index the id says it; an id not seen before opens the next call.
Rule 3: without either, the place in the chunk's list says it. The name stands in every piece for
        some servers, so only another name opens the next call.
Rule 4: id and name are given on once per call, with the first piece that has them.
"""

import attrs

from streamnursery.values.events import ToolCallDelta
from streamnursery.wire.openai_chat.chunk import Function, ToolPiece
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS

_LEGACY = "function_call"
"""Stands for the id of the one call that `function_call` can make."""


@attrs.define
class _PendingCall:
    id: str | None = None
    name: str | None = None


class ToolCalls:
    """The tool calls of one choice."""

    __slots__ = ("_by_id", "_by_place", "_calls", "_next")

    def __init__(self) -> None:
        self._calls: dict[int, _PendingCall] = {}
        self._by_id: dict[str, int] = {}
        self._by_place: dict[int, int] = {}
        self._next = 0

    def piece(self, piece: ToolPiece, place: int, choice: int) -> ToolCallDelta | None:
        """The event for `piece`, `place`-th of its chunk; None if it says nothing new.

        Raises:
            OverflowError: more than `MAX_TOOL_CALLS` calls.
        """
        function = piece.function or Function()
        index = self._index(piece, function.name, place)
        call = self._calls.get(index)
        if call is None:
            call = self._calls[index] = _PendingCall()
            self._next = max(self._next, index + 1)
        new_id = piece.id if piece.id and not call.id else None
        new_name = function.name if function.name and not call.name else None
        call.id = call.id or new_id
        call.name = call.name or new_name
        if call.id:
            self._by_id.setdefault(call.id, index)
        if not (new_id or new_name or function.arguments):
            return None
        return ToolCallDelta(index, new_id, new_name, function.arguments or "", choice)

    def legacy(self, function: Function, choice: int) -> ToolCallDelta | None:
        """The event for a piece of the superseded `function_call`, which has no id."""
        index = self._by_id.setdefault(_LEGACY, self._next)
        return self.piece(ToolPiece(index, None, function), 0, choice)

    def _index(self, piece: ToolPiece, name: str | None, place: int) -> int:
        if piece.index is not None:
            index = piece.index
        elif piece.id:
            index = self._by_id.setdefault(piece.id, self._next)
        else:
            index = self._by_place.get(place, self._next)
            known = self._calls.get(index)
            if known is not None and name and known.name and name != known.name:
                index = self._next
        if index >= MAX_TOOL_CALLS or place >= MAX_TOOL_CALLS:
            raise OverflowError
        self._by_place[place] = index
        return index
