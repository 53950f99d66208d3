"""One chunk of an OpenAI chat stream: bytes to a typed value, by the fast way or the patient one.

Fields and their types: `ChatCompletionChunk` of the OpenAI API. Only what the engine needs is
decoded, everything else is skipped. A chunk that does not fit the types - a list as content, an
index as float, bytes that are not UTF-8, a lone surrogate - is read again as plain JSON and
brought into shape, so that both ways give the same `Chunk` to interpret.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from streamnursery.wire.json_text import as_raw, clean, parse
from streamnursery.wire.sse_stream import MAX_TOOL_CALLS

MAX_CHOICES = 1024
"""The API's own bound of `n` is 128."""

_ChoiceIndex: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=MAX_CHOICES)]
_ToolIndex: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=MAX_TOOL_CALLS)]


INERT = frozenset({
    "created",
    "finish_reason",
    "id",
    "index",
    "model",
    "name",
    "object",
    "obfuscation",
    "padding",
    "role",
    "status",
    "stop_reason",
    "tool_call_id",
    "type",
})
"""Names beside the content, in a delta or a piece of a tool call, that say nothing of the answer.
The structs below have those that are common, so that the fast way meets no unknown one."""
REASONING = ("reasoning_text", "thinking", "thought", "thoughts", "reasoning_summary")
"""Where servers put reasoning that OpenAI's clients have no name for: GitHub Copilot, Ollama."""
_NOTHING = msgspec.Raw()


class Function(msgspec.Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


Opaque: TypeAlias = list[tuple[str, msgspec.Raw]]
"""Unknown fields, by name: content all the same."""


class ToolPiece(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    index: _ToolIndex | None = None
    id: str | None = None
    function: Function | None = None
    type: msgspec.Raw = _NOTHING
    opaque: Opaque | None = None


class Detail(msgspec.Struct, gc=False):
    """An entry of `reasoning_details` (OpenRouter)."""

    text: str | None = None
    summary: str | None = None


class Delta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A field that is not among these makes the decoding fail: the patient way looks at it."""

    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Detail] | None = None
    """Three places for one thing; servers fill several with the same text, so the first that
    says something counts."""
    refusal: str | None = None
    tool_calls: list[ToolPiece] | None = None
    function_call: Function | None = None
    """Superseded by `tool_calls`; still sent by old servers."""
    role: msgspec.Raw = _NOTHING
    name: msgspec.Raw = _NOTHING
    obfuscation: msgspec.Raw = _NOTHING
    opaque: Opaque | None = None


class ChunkChoice(msgspec.Struct, gc=False):
    index: _ChoiceIndex | None = None
    """None: its position counts."""
    delta: Delta | None = None
    message: Delta | None = None
    """Instead of a delta: the whole answer at once, from servers that only seem to stream."""
    finish_reason: str | None = None
    error: Any = None
    usage: dict[str, Any] | None = None
    """Moonshot's place for it."""
    logprobs: msgspec.Raw = _NOTHING


class Chunk(msgspec.Struct, gc=False):
    choices: list[ChunkChoice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None
    x_groq: dict[str, Any] | None = None


class NamedChunk(Chunk, gc=False):
    """Decoded until the stream's id and model are known: they cost a tenth of a microsecond."""

    id: str | None = None
    model: str | None = None


class _PlainDelta(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    content: str
    role: msgspec.Raw = _NOTHING
    name: None = None
    obfuscation: msgspec.Raw = _NOTHING
    reasoning_content: None = None
    reasoning: None = None
    reasoning_details: None = None
    refusal: None = None
    tool_calls: None = None
    function_call: None = None


class _PlainChoice(msgspec.Struct, gc=False):
    delta: _PlainDelta
    index: Literal[0] = 0
    finish_reason: None = None
    error: None = None
    usage: None = None


class TextChunk(msgspec.Struct, gc=False):
    """A chunk that is a piece of choice 0's text and nothing else, as most are. Its types are
    the check: what decodes needs no look at the other fields."""

    choices: tuple[_PlainChoice]
    usage: None = None
    error: None = None
    x_groq: None = None


_DELTA_NAMES = frozenset(Delta.__struct_fields__) - {"opaque"} | INERT | frozenset(REASONING)
_PIECE_NAMES = frozenset(ToolPiece.__struct_fields__) - {"opaque"} | INERT

decode_text = msgspec.json.Decoder(TextChunk).decode
decode = msgspec.json.Decoder(Chunk).decode
decode_named = msgspec.json.Decoder(NamedChunk).decode
DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What the fast way raises where the patient one should look."""


def decode_patiently(data: bytes) -> NamedChunk:
    """The chunk, or the ends of it that can be read.

    Raises:
        ValueError: no JSON object, an index out of bounds, or choices that are not a list.
        RecursionError: content nested as deeply as JSON may be.
    """
    value = parse(data)
    if not isinstance(value, dict):
        msg = "no JSON object"
        raise ValueError(msg)
    return NamedChunk(
        choices=[_choice(c) for c in _objects(_listed(value.get("choices")))],
        usage=_object(value.get("usage")),
        error=value.get("error"),
        x_groq=_object(value.get("x_groq")),
        id=_text(value.get("id")),
        model=_text(value.get("model")),
    )


def _choice(raw: Mapping[str, Any]) -> ChunkChoice:
    delta, message = _object(raw.get("delta")), _object(raw.get("message"))
    return ChunkChoice(
        index=_index(raw.get("index"), MAX_CHOICES),
        delta=None if delta is None else _delta(delta),
        message=None if message is None else _delta(message),
        finish_reason=_text(raw.get("finish_reason")),
        error=raw.get("error"),
        usage=_object(raw.get("usage")),
        logprobs=as_raw(raw["logprobs"]) if raw.get("logprobs") else _NOTHING,
    )


def _delta(raw: Mapping[str, Any]) -> Delta:
    content, thoughts = _parts(raw.get("content"))
    function_call = _object(raw.get("function_call"))
    thoughts = thoughts or next(filter(None, (_parts(raw.get(n))[0] for n in REASONING)), "")
    return Delta(
        content=content,
        reasoning_content=_parts(raw.get("reasoning_content"))[0] or thoughts,
        reasoning=_parts(raw.get("reasoning"))[0],
        reasoning_details=[
            Detail(_text(d.get("text")), _text(d.get("summary")))
            for d in _objects(raw.get("reasoning_details"))
        ],
        refusal=_piece(raw.get("refusal")),
        tool_calls=[_tool(t) for t in _objects(_one_or_more(raw.get("tool_calls")))],
        function_call=None if function_call is None else _function(function_call),
        opaque=[*_opaque(raw, _DELTA_NAMES), *_silent(raw.get("content"))],
    )


def _opaque(raw: Mapping[str, Any], known: frozenset[str]) -> Opaque:
    """What `raw` says under unknown names; numbers and flags say nothing."""
    return [
        (name, as_raw(value))
        for name, value in raw.items()
        if name not in known and isinstance(value, str | list | dict) and value
    ]


def _silent(content: object) -> Opaque:
    """The parts of a content that have neither text nor reasoning: images, references."""
    parts = content if isinstance(content, list) else [content]
    return [
        ("content", as_raw(part))
        for part in parts
        if isinstance(part, dict) and not any(_parts(part))
    ]


def _parts(content: object) -> tuple[str, str]:
    """Text and reasoning of a content: a string, a number, a part, or a list of them.

    A part's text stands under `text`; Mistral's reasoning is a part with `thinking`, itself a
    list of parts.
    """
    if isinstance(content, str | int | float):
        return _piece(content) or "", ""
    if isinstance(content, Mapping):
        return _parts(content.get("text"))[0], _parts(content.get("thinking"))[0]
    if isinstance(content, list):
        pairs = [_parts(part) for part in content]
        return "".join(text for text, _ in pairs), "".join(thought for _, thought in pairs)
    return "", ""


def _tool(raw: Mapping[str, Any]) -> ToolPiece:
    function = _object(raw.get("function"))
    return ToolPiece(
        index=_index(raw.get("index"), MAX_TOOL_CALLS),
        id=_text(raw.get("id")),
        function=None if function is None else _function(function),
        opaque=_opaque(raw, _PIECE_NAMES),
    )


def _function(raw: Mapping[str, Any]) -> Function:
    arguments = raw.get("arguments")
    if isinstance(arguments, dict | list):
        # Some servers send the arguments parsed; callers are promised text.
        arguments = json.dumps(arguments, ensure_ascii=False, separators=(",", ":"))
    return Function(name=_text(raw.get("name")), arguments=_piece(arguments))


def _index(value: object, bound: int) -> int | None:
    """A whole number below `bound`, as int or float; None if it is anything but a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 0 <= value < bound or value != int(value):
        msg = f"an index is not between 0 and {bound - 1}"
        raise ValueError(msg)
    return int(value)


def _text(value: object) -> str | None:
    text = _piece(value)
    return text if text is None else clean(text)


def _piece(value: object) -> str | None:
    """As it came, halves of surrogate pairs included: the other one may be in the next chunk."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _listed(value: object) -> object:
    """Choices; anything in their place that is not a list may be an answer that we cannot read."""
    if value and not isinstance(value, list):
        msg = "choices are no list"
        raise ValueError(msg)
    return value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, dict) else value


def _object(value: object) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _objects(value: object) -> Iterator[dict[str, Any]]:
    return (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))
