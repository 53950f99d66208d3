"""One event of an Anthropic Messages stream: bytes to a typed value.

Events and fields: `RawMessageStreamEvent` of Anthropic's API. New events, blocks and deltas may be
added at any time, and clients have to skip those that they do not know (the API's versioning
policy).
"""

from typing import Any, Literal, TypeAlias

import msgspec

from streamnursery.wire.json_text import parse


class TextPiece(msgspec.Struct, gc=False, tag_field="type", tag="text_delta"):
    text: str


class ThinkingPiece(msgspec.Struct, gc=False, tag_field="type", tag="thinking_delta"):
    thinking: str


class JsonPiece(msgspec.Struct, gc=False, tag_field="type", tag="input_json_delta"):
    partial_json: str


class BlockDelta(msgspec.Struct, gc=False):
    """A delta of one of the three kinds that most events are. Its types are the check."""

    type: Literal["content_block_delta"]
    index: int
    delta: TextPiece | ThinkingPiece | JsonPiece


Object: TypeAlias = dict[str, Any]


class Event(msgspec.Struct, gc=False):
    """Any event."""

    type: str = ""
    index: int | None = None
    message: Object | None = None
    content_block: Object | None = None
    delta: Object | None = None
    usage: Object | None = None
    error: Any = None


decode_delta = msgspec.json.Decoder(BlockDelta).decode
decode = msgspec.json.Decoder(Event).decode
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the fast way raises where the patient one should look."""


def decode_event(data: bytes) -> Event:
    """The event, by whichever way reads it.

    Raises:
        ValueError: no JSON object.
        RecursionError: content nested as deeply as JSON may be.
    """
    try:
        return decode(data)
    except DECODE_ERRORS:
        return _decode_patiently(data)


def _decode_patiently(data: bytes) -> Event:
    value = parse(data)
    if not isinstance(value, dict):
        msg = "no JSON object"
        raise ValueError(msg)
    index, kind = value.get("index"), value.get("type")
    objects = {
        name: found
        for name in ("message", "content_block", "delta", "usage")
        if isinstance(found := value.get(name), dict)
    }
    return Event(
        type=kind if isinstance(kind, str) else "",
        index=index if isinstance(index, int) and not isinstance(index, bool) else None,
        error=value.get("error"),
        **objects,
    )
