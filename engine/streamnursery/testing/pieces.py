"""What a provider said and what a consumer was handed, piece by piece, in one form for all APIs.

Rule 1: a piece is a delta of the provider's reply, in its API's form: the chat API in the same
        deltas, the others in their own events.
Rule 2: an API without refusals has them as text. The Messages API has a call without arguments
        as `{}`; the Gemini API and Ollama's have the arguments of a call at once, and no ids.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from streamnursery.simulator import BadUtf8
from streamnursery.simulator.log import RequestRecord
from streamnursery.values.events import (
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
)
from streamnursery.values.opaque import OpaquePart

Piece: TypeAlias = tuple[int, str, object]
"""Choice, kind and content of one delta."""
_KINDS: dict[type, str] = {TextDelta: "text", ReasoningDelta: "reasoning", RefusalDelta: "refusal"}
_PARTS = {
    "content": "text",
    "refusal": "refusal",
    "reasoning": "reasoning",
    "reasoning_content": "reasoning",
}
_OPENAI = ("/chat/completions", "/responses")
"""The APIs that distinguish a refusal from text."""


def heard_pieces(events: Iterable[StreamEvent]) -> Iterator[Piece]:
    for event in events:
        if isinstance(event, ToolCallDelta):
            content = (event.tool_index, event.id, event.name, event.arguments)
            yield event.index, "tool", content
        elif isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
            yield event.index, _KINDS[type(event)], event.text


def deltas_of(request: RequestRecord) -> int:
    return request.reply.output_tokens if request.reply else 0


def opaque_parts(events: Iterable[StreamEvent]) -> int:
    return sum(type(event) is OpaquePart for event in events)


def tells_calls_at_once(request: RequestRecord) -> bool:
    """It has calls in an API that sends each of them in one piece."""
    calls = request.reply is not None and any(c.calls for c in request.reply.choices)
    return _has_whole_calls(request) and calls


def _has_whole_calls(request: RequestRecord) -> bool:
    return request.path.endswith(("GenerateContent", "/api/chat"))


def said_pieces(request: RequestRecord) -> list[Piece]:
    if request.reply is None:
        return []
    openai = request.path.endswith(_OPENAI)
    # In the chat API half a character in place of a tool call is one that was never sent.
    chat = request.path.endswith(_OPENAI[0])
    unsaid = {fault.at for fault in request.script if isinstance(fault, BadUtf8) and chat}
    said = [
        _piece(index, part if openai or part != "refusal" else "content", content)
        for place, (index, part, content) in enumerate(request.reply.deltas())
        if part != "tool_calls" or place not in unsaid
    ]
    if _has_whole_calls(request):
        return list(_with_whole_calls(said))
    for place in _bare_calls(request, said):
        said.insert(place, (0, "tool", (_tool_index(said[place - 1]), None, None, "{}")))
    return said


def _bare_calls(request: RequestRecord, said: Sequence[Piece]) -> list[int]:
    """Places behind the calls that were broken off before their arguments, last one first: in the
    Messages API a call without arguments has none, and they are `{}`."""
    if not request.path.endswith("/messages"):
        return []
    following = [*said[1:], None]
    return [
        place + 1
        for place, (piece, after) in reversed(list(enumerate(zip(said, following, strict=True))))
        if piece[1] == "tool"
        and (after is None or after[1] != "tool" or _tool_index(after) != _tool_index(piece))
        and _opens(piece)
    ]


def _with_whole_calls(said: Sequence[Piece]) -> Iterator[Piece]:
    """Each call in two pieces: its name, and its arguments."""
    arguments: list[str] = []
    for piece, after in zip(said, [*said[1:], None], strict=True):
        content = piece[2]
        if not isinstance(content, tuple):
            yield piece
            continue
        if content[1] is not None:
            yield piece[0], "tool", (content[0], None, content[2], "")
            arguments = []
        arguments.append(content[3])
        if after is None or after[1] != "tool" or _tool_index(after) != content[0]:
            whole = arguments_of("".join(arguments))
            yield piece[0], "tool", (content[0], None, None, whole)


def arguments_of(text: str) -> str:
    """In the form in which they can be compared."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        value = {"text": text}
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def as_heard(pieces: Iterable[Piece], request: RequestRecord) -> Iterator[Piece]:
    """`pieces` of a consumer as they compare with what `request` said."""
    for piece in pieces:
        content = piece[2]
        if _has_whole_calls(request) and isinstance(content, tuple):
            told = content[3] if content[1] is not None else arguments_of(content[3])
            yield piece[0], piece[1], (content[0], None, content[2], told)
        else:
            yield piece


def _tool_index(piece: Piece) -> int:
    content = piece[2]
    assert isinstance(content, tuple)
    index: int = content[0]
    return index


def _opens(piece: Piece) -> bool:
    content = piece[2]
    return isinstance(content, tuple) and content[1] is not None and not content[3]


def _piece(index: int, part: str, content: object) -> Piece:
    if not isinstance(content, list):
        return index, _PARTS[part], content
    call = content[0]
    function = call["function"]
    told = (call["index"], call.get("id"), function.get("name"), function["arguments"])
    return index, "tool", told


def spoiled(piece: Piece, place: int, request: RequestRecord) -> bool:
    """Half a character arrives as the character for that."""
    spoils = any(isinstance(fault, BadUtf8) and fault.at == place for fault in request.script)
    content = piece[2]
    said = content[3] if isinstance(content, tuple) else content
    return spoils and isinstance(said, str) and not said.strip("\ufffd")
