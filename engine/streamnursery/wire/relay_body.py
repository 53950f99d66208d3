"""The body of a relayed request: what the engine reads in it, and what it changes.

Rule 1: what is not changed stays as it was, byte for byte: the values of other fields too.
Rule 2: what cannot be read is sent all the same; whether it is right is the server's to say.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from streamnursery.values.policy import Priority, PriorityName
from streamnursery.values.request import ChatRequest, RequestHeaders

_PROMPTS = ("messages", "input", "contents", "prompt", "query", "documents")
"""Fields that hold what is asked, in the languages of OpenAI, Anthropic, Google and rerankers."""
_RULES = ("system", "instructions", "systemInstruction", "system_instruction")
_MOST_OUTPUT = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_NAMED = (*_PROMPTS, *_RULES, *_MOST_OUTPUT, "model", "n", "tools", "stream")


@attrs.frozen
class RelayBody:
    """A request's body as it was given."""

    data: bytes = attrs.field(repr=False)
    fields: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    """Of a JSON object; empty for anything else."""

    @classmethod
    def of(cls, data: bytes, content_type: str) -> "RelayBody":
        kind = content_type.partition(";")[0].strip().lower()
        if kind in ("", "application/json", "text/json") and data.lstrip()[:1] == b"{":
            try:
                value = msgspec.json.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                return cls(data)
            if isinstance(value, dict):
                return cls(data, value)
        return cls(data)

    @property
    def model(self) -> str | None:
        """As the body names it."""
        model = self.fields.get("model")
        return model if isinstance(model, str) else None

    def with_fields(self, changes: Mapping[str, object]) -> bytes:
        """The body with other values for top-level fields."""
        changed = {k: v for k, v in changes.items() if self.fields.get(k) != v}
        if not changed or not self.fields:
            return self.data
        raw = msgspec.json.decode(self.data, type=dict[str, msgspec.Raw])
        for name, value in changed.items():
            raw[name] = msgspec.Raw(msgspec.json.encode(value))
        return msgspec.json.encode(raw)

    def request(
        self,
        model: str,
        headers: RequestHeaders,
        tenant: str,
        priority: Priority | PriorityName | None,
    ) -> ChatRequest:
        """What limits, estimates, prices and decoders need to know of it."""
        fields = self.fields
        tools = fields.get("tools")
        return ChatRequest(
            model,
            _messages(fields),
            max_tokens=_most_output(fields),
            n=_positive(fields.get("n")),
            tools=tools if isinstance(tools, list) else None,
            extra={name: value for name, value in fields.items() if name not in _NAMED},
            headers=headers,
            tenant=tenant,
            priority=priority,
        )


def _messages(fields: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All that is said in it, as messages whose text the engine knows how to find."""
    found: list[Mapping[str, Any]] = []
    for name in (*_RULES, *_PROMPTS):
        if name in fields:
            found += _said(fields[name])
    return found


def _said(value: object) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        return [_message(value)]
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if all(isinstance(item, Mapping) for item in value):
            return [_message(item) for item in value]
        return [{"content": list(value)}]
    return [{"content": value}]


def _message(value: Mapping[str, Any]) -> Mapping[str, Any]:
    if "content" in value:
        return value
    if "parts" in value:  # Google's name for it
        return {"content": value["parts"]}
    return {"content": [value]}


def _most_output(fields: Mapping[str, Any]) -> int | None:
    for name in _MOST_OUTPUT:
        if name in fields:
            return _positive(fields[name])
    config = fields.get("generationConfig")
    return _positive(config.get("maxOutputTokens")) if isinstance(config, Mapping) else None


def _positive(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
