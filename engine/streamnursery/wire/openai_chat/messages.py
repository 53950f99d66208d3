"""Messages as they are sent: without the engine's own key, with what it says was this dialect's."""

from collections.abc import Mapping, Sequence
from typing import Any

from streamnursery.values.request import Message
from streamnursery.values.returned import KEY, ReturnedPart, returned

RETURNED = frozenset({"extra_content", "reasoning_details", "reasoning_opaque", "thinking_blocks"})
"""Opaque parts of a message that its server wants back: Google, OpenRouter, GitHub Copilot and
LiteLLM. Those of a tool call all come back."""


def sent_messages(
    messages: Sequence[Message], dialect: str, reasoning_field: str = ""
) -> Sequence[Message]:
    """`messages` for the body of a request; they themselves where none has parts to return.
    `reasoning_field`: where the server wants the reasoning of earlier answers; empty: nowhere."""
    if not any(KEY in message for message in messages):
        return messages
    return [_sent(m, dialect, reasoning_field) if KEY in m else m for m in messages]


def _sent(message: Message, dialect: str, reasoning_field: str) -> dict[str, Any]:
    held = returned(message, dialect)
    plain = {name: value for name, value in message.items() if name != KEY}
    if reasoning_field and held.reasoning:
        plain.setdefault(reasoning_field, held.reasoning)
    for part in held.parts:
        if part.tool is not None:
            plain["tool_calls"] = _with_part(plain.get("tool_calls"), part, part.tool)
        elif part.kind in RETURNED:
            plain[part.kind] = _joined(plain.get(part.kind), part.data)
    return plain


def _joined(known: object, more: object) -> object:
    """Lists that came in pieces are one."""
    return [*known, *more] if isinstance(known, list) and isinstance(more, list) else more


def _with_part(calls: object, part: ReturnedPart, place: int) -> object:
    if not isinstance(calls, Sequence) or isinstance(calls, str) or place >= len(calls):
        return calls
    found = list(calls)
    if isinstance(found[place], Mapping):
        found[place] = {**found[place], part.kind: part.data}
    return found
