"""Messages as they are sent: without the engine's own key, with what it says was this dialect's."""

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from streamnursery.values.request import Message
from streamnursery.values.returned import KEY, ReturnedPart, returned

_SHORT = re.compile(r"[A-Za-z0-9]{9}")
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyz"
RETURNED = frozenset({"extra_content", "reasoning_details", "reasoning_opaque", "thinking_blocks"})
"""Opaque parts of a message that its server wants back: Google, OpenRouter, GitHub Copilot and
LiteLLM. Those of a tool call all come back."""


def sent_messages(
    messages: Sequence[Message], dialect: str, reasoning_field: str = ""
) -> Sequence[Message]:
    """`messages` for the body of a request; they themselves where none has parts to return.
    `reasoning_field`: where the server wants the reasoning of earlier answers; empty: nowhere."""
    for message in messages:
        if KEY in message:
            break
    else:
        return messages
    return [_sent(m, dialect, reasoning_field) if KEY in m else m for m in messages]


def with_short_ids(messages: Sequence[Message]) -> Sequence[Message]:
    """`messages` with the ids of tool calls in nine letters and digits, which is all that Mistral
    takes: those of other providers are longer. An id that fits stays as it is."""
    if not any("tool_calls" in m or "tool_call_id" in m for m in messages):
        return messages
    return [_with_short_ids(message) for message in messages]


def _with_short_ids(message: Message) -> Message:
    found = dict(message)
    if isinstance(found.get("tool_call_id"), str):
        found["tool_call_id"] = _short(found["tool_call_id"])
    calls = found.get("tool_calls")
    if isinstance(calls, Sequence) and not isinstance(calls, str):
        found["tool_calls"] = [
            {**call, "id": _short(call["id"])}
            if isinstance(call, Mapping) and isinstance(call.get("id"), str)
            else call
            for call in calls
        ]
    return found


def _short(call_id: str) -> str:
    if _SHORT.fullmatch(call_id):
        return call_id
    digest = int.from_bytes(blake2b(call_id.encode("utf-8", "replace"), digest_size=8).digest())
    letters = [_LETTERS[digest // 36**place % 36] for place in range(9)]
    return "".join(letters)


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
