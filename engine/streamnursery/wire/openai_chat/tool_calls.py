"""Which tool call a piece of one belongs to.

Rule 1: an index says it, until a piece at it brings another id and a name: that opens a new call,
        since some servers (Ollama) give every call of a turn the index 0. What follows at the
        index belongs to the call that was opened last there.
Rule 2: without an index the id says it; an id not seen before opens the next call.
Rule 3: without either, the place in the chunk's list says it. The name stands in every piece for
        some servers, so only another name opens the next call.
Rule 4: id and name are given on once per call, with the first piece that has them.
"""

import attrs

from streamnursery.values.events import ToolCallDelta
from streamnursery.values.opaque import OpaquePart
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

    __slots__ = ("_by_id", "_by_index", "_by_place", "_calls", "_next")

    def __init__(self) -> None:
        self._calls: dict[int, _PendingCall] = {}
        self._by_id: dict[str, int] = {}
        self._by_index: dict[int, int] = {}
        self._by_place: dict[int, int] = {}
        self._next = 0

    def take(self, piece: ToolPiece, place: int, choice: int) -> list[ToolCallDelta | OpaquePart]:
        """The events for `piece`, `place`-th of its chunk.

        Raises:
            OverflowError: more than `MAX_TOOL_CALLS` calls.
        """
        delta = self.piece(piece, place, choice)
        index = self._by_place[place]
        found: list[ToolCallDelta | OpaquePart] = [] if delta is None else [delta]
        found += [OpaquePart(choice, kind, data, index) for kind, data in piece.opaque or ()]
        return found

    def piece(self, piece: ToolPiece, place: int, choice: int) -> ToolCallDelta | None:
        """The call that `piece` continues, as an event; None if it says nothing new.

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

    def _indexed(self, piece: ToolPiece, at: int, name: str | None) -> int:
        """The call of an index, or a new one."""
        index = self._by_index.get(at)
        if index is None:
            index = at if at not in self._calls else self._next
        elif piece.id and name:
            known = self._calls[index].id
            if known and piece.id != known:
                index = self._next
        self._by_index[at] = index
        return index

    def _index(self, piece: ToolPiece, name: str | None, place: int) -> int:
        if piece.index is not None:
            index = self._indexed(piece, piece.index, name)
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
