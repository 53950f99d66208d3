"""The assistant message to append, with what only its own dialect can send back.

A signature of the model's thoughts, an encrypted item or the block of a server's tool has to come
back as it was, at its place, or the provider refuses the next turn. They stand under one key of the
message, `KEY`, as plain JSON, so that a conversation can be stored:

    {"dialect": "anthropic-messages", "reasoning": "...", "parts": [
        {"kind": "thinking", "data": {...}, "text": 0, "reasoning": 120, "tool_calls": 0},
        {"kind": "extra_content", "data": {...}, "tool": 0}]}

The numbers say how many characters of the text and of the reasoning, and how many tool calls, come
before the part. Who wrote the message may have changed it: a place beyond its end is its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

if TYPE_CHECKING:
    from streamnursery.values.opaque import OpaquePart
    from streamnursery.values.partial import Choice, ToolCall

KEY = "streamnursery"
"""Of a message; never sent to a provider."""


@attrs.frozen
class ReturnedPart:
    """One opaque part of a message."""

    kind: str
    data: Any
    """JSON, as Python's values."""
    text: int = 0
    """Characters of the message's text before it."""
    reasoning: int = 0
    """Characters of the reasoning before it."""
    tool_calls: int = 0
    """Tool calls before it."""
    tool: int | None = None
    """The place of the tool call that it belongs to, if it belongs to one."""


@attrs.frozen
class Returned:
    """What a message has under `KEY`."""

    dialect: str
    reasoning: str = ""
    parts: tuple[ReturnedPart, ...] = ()


NOTHING = Returned("")


def assistant_message(choice: Choice, dialect: str | None) -> dict[str, Any]:
    """`choice` as a message in the OpenAI shape; `dialect` is that of the answer."""
    message: dict[str, Any] = {"role": "assistant", "content": choice.text or None}
    if choice.refusal:
        message["refusal"] = choice.refusal
    if choice.tool_calls:
        message["tool_calls"] = [_call(i, call) for i, call in enumerate(choice.tool_calls)]
    parts = [*_parts_of_calls(choice), *_parts(choice)]
    if dialect is not None and (parts or choice.reasoning):
        message[KEY] = {"dialect": dialect, "reasoning": choice.reasoning, "parts": parts}
    return message


def _call(place: int, call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id or f"call_{place}",
        "type": "function",
        "function": {"name": call.name or "", "arguments": call.arguments},
    }


def _parts(choice: Choice) -> Iterator[dict[str, Any]]:
    for part, place in zip(choice.opaque, choice.places, strict=False):
        yield _plain(part) | attrs.asdict(place)


def _parts_of_calls(choice: Choice) -> Iterator[dict[str, Any]]:
    for place, call in enumerate(choice.tool_calls):
        for part in call.opaque:
            yield _plain(part) | {"tool": place}


def _plain(part: OpaquePart) -> dict[str, Any]:
    return {"kind": part.kind, "data": msgspec.json.decode(part.data)}


def returned(message: Mapping[str, Any], dialect: str) -> Returned:
    """What `message` holds for `dialect`; nothing of what another dialect put there."""
    found = _all(message)
    return found if found.dialect == dialect else NOTHING


def foreign_kinds(messages: Sequence[Mapping[str, Any]], dialect: str) -> tuple[str, ...]:
    """The kinds of parts of `messages` that `dialect` cannot send, each once."""
    kinds = {
        part.kind: None
        for message in messages
        if KEY in message
        for found in [_all(message)]
        if found.dialect != dialect
        for part in found.parts
    }
    return tuple(kinds)


def _all(message: Mapping[str, Any]) -> Returned:
    """Read leniently: it may have been stored and written by other programs."""
    held = message.get(KEY)
    if not isinstance(held, Mapping) or not isinstance(held.get("dialect"), str):
        return NOTHING
    parts, reasoning = held.get("parts"), held.get("reasoning")
    return Returned(
        held["dialect"],
        reasoning if isinstance(reasoning, str) else "",
        tuple(
            ReturnedPart(
                part["kind"],
                part.get("data"),
                _count(part.get("text")),
                _count(part.get("reasoning")),
                _count(part.get("tool_calls")),
                _count(part["tool"]) if "tool" in part else None,
            )
            for part in (parts if isinstance(parts, Sequence) else ())
            if isinstance(part, Mapping) and isinstance(part.get("kind"), str)
        ),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
