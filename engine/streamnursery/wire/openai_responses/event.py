"""One event of a Responses answer: bytes to a value, whatever the fields' types turn out to be.

Events and fields: `ResponseStreamEvent` of the OpenAI API, and the realtime API's where it says
the same in other words. Only what the engine needs is decoded; an event of a type that nobody
knows here is one that says nothing.
"""

from typing import Any, Literal

import msgspec

from streamnursery.wire.json_text import parse


class Event(msgspec.Struct, gc=False):
    """Fields are read where they are used, by `text_of` and the like."""

    type: Any = None
    sequence_number: Any = None
    output_index: Any = None
    content_index: Any = None
    summary_index: Any = None
    item_id: Any = None
    stream_id: Any = None
    """The lane of a WebSocket that the event belongs to."""
    delta: Any = None
    text: Any = None
    transcript: Any = None
    refusal: Any = None
    arguments: Any = None
    input: Any = None
    item: Any = None
    response: Any = None
    error: Any = None


class TextPiece(msgspec.Struct, gc=False):
    """A piece of the answer's text, as most events are. Its types are the check."""

    type: Literal["response.output_text.delta"]
    delta: str
    output_index: int
    content_index: int
    sequence_number: int | None = None


decode_text = msgspec.json.Decoder(TextPiece).decode
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
    return Event(**{name: value.get(name) for name in Event.__struct_fields__})
