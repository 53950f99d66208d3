"""One event of an interaction: bytes to a value, whatever the fields' types turn out to be.

Events and fields: `InteractionSSEEvent` of Google's Gen AI SDK, version 3.6. Only what the engine
needs is decoded; an event of an unknown type says nothing.
"""

from typing import Any, Literal

import msgspec

from streamnursery.wire.json_text import parse


class Event(msgspec.Struct, gc=False):
    """Fields are read where they are used, by `text_of` and the like."""

    event_type: Any = None
    event_id: Any = None
    index: Any = None
    step: Any = None
    delta: Any = None
    interaction: Any = None
    usage: Any = None
    status: Any = None
    error: Any = None


class TextPart(msgspec.Struct, gc=False):
    type: Literal["text"]
    text: str


class TextPiece(msgspec.Struct, gc=False):
    """A piece of the answer's text, as most events are. Its types are the check."""

    event_type: Literal["step.delta"]
    index: int
    delta: TextPart
    event_id: str | None = None


decode_text = msgspec.json.Decoder(TextPiece).decode
_decode = msgspec.json.Decoder(Event).decode
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the fast way raises where the patient one should look."""


def decode_event(data: bytes) -> Event:
    """The event, by whichever way reads it.

    Raises:
        ValueError: no JSON object.
        RecursionError: content nested as deeply as JSON may be.
    """
    try:
        return _decode(data)
    except DECODE_ERRORS:
        value = parse(data)
    if not isinstance(value, dict):
        msg = "no JSON object"
        raise ValueError(msg)
    return Event(**{name: value.get(name) for name in Event.__struct_fields__})
