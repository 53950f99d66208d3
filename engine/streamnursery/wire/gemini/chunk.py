"""One record of a Gemini stream: bytes to a value, by the fast way or the patient one.

Fields: `GenerateContentResponse` of Google's API. The fast way knows a record whose first candidate
has one part of text or of thoughts and nothing else, as most have; any other is read as plain JSON.
"""

from typing import Any, Literal, TypeAlias

import msgspec

from streamnursery.wire.json_text import parse

NO_USAGE = msgspec.Raw()


class _TextPart(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str
    thought: bool = False


class _TextContent(msgspec.Struct, gc=False):
    parts: tuple[_TextPart]


class _TextCandidate(msgspec.Struct, gc=False):
    content: _TextContent
    index: Literal[0] = 0
    finish_reason: None = msgspec.field(default=None, name="finishReason")
    citations: None = msgspec.field(default=None, name="citationMetadata")
    grounding: None = msgspec.field(default=None, name="groundingMetadata")
    urls: None = msgspec.field(default=None, name="urlContextMetadata")
    logprobs: None = msgspec.field(default=None, name="logprobsResult")


class TextChunk(msgspec.Struct, gc=False):
    """Its types are the check: what decodes needs no look at the other fields."""

    candidates: tuple[_TextCandidate]
    usage: msgspec.Raw = msgspec.field(default=NO_USAGE, name="usageMetadata")
    feedback: None = msgspec.field(default=None, name="promptFeedback")
    error: None = None


Object: TypeAlias = dict[str, Any]

decode_text = msgspec.json.Decoder(TextChunk).decode
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the fast way raises where the patient one should look."""


def decode(data: bytes) -> Object:
    """The record.

    Raises:
        ValueError: no JSON object, or nested too deeply.
    """
    value = parse(data)
    if not isinstance(value, dict):
        msg = "no JSON object"
        raise ValueError(msg)
    return value
