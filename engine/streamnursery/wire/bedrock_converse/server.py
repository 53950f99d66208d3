"""The Converse API from its server's side: requests read as questions of the chat API, refused
where Amazon refuses them, and answers written as its messages. As in `openai_chat.server`, nothing
is shared with the client's half.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from struct import pack
from typing import Any, NoReturn, TypeAlias
from zlib import crc32

import attrs
import msgspec

from streamnursery.wire.openai_chat.server import ApiError, ChatQuestion, Part, question_from

Told: TypeAlias = tuple[str, bytes]
"""The type of an event, and its payload."""
_encode = msgspec.json.encode
_FIELDS = frozenset([
    "additionalModelRequestFields",
    "additionalModelResponseFieldPaths",
    "guardrailConfig",
    "inferenceConfig",
    "messages",
    "outputConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "serviceTier",
    "system",
    "toolConfig",
])
_REASONS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens"}
_REASONS |= {"content_filter": "content_filtered"}
_EXCEPTIONS = {
    "rate_limit_error": "throttlingException",
    "overloaded": "serviceUnavailableException",
    "overloaded_error": "serviceUnavailableException",
    "invalid_request_error": "validationException",
}
_KINDS: dict[Part, str] = {
    "content": "text",
    "refusal": "text",
    "reasoning_content": "thought",
    "reasoning": "thought",
    "tool_calls": "call",
}


def error_body(error: ApiError) -> bytes:
    """An error in Amazon's shape."""
    return _encode({"message": str(error)})


def frame(kind: str, payload: bytes, *, message: str = "event") -> bytes:
    """One message of an event stream; `message` is "event" or "exception"."""
    told = ((f":{message}-type", kind), (":content-type", "application/json"))
    headers = b"".join(
        pack(">B", len(name)) + name.encode() + pack(">BH", 7, len(value)) + value.encode()
        for name, value in (*told, (":message-type", message))
    )
    lengths = pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = lengths + pack(">I", crc32(lengths)) + headers + payload
    return body + pack(">I", crc32(body))


def mistake(code: str | int | None, kind: str, message: str) -> bytes:
    """The message that ends a stream in an error."""
    name = _EXCEPTIONS.get(str(code)) or _EXCEPTIONS.get(kind, "internalServerException")
    return frame(name, _encode({"message": message}), message="exception")


def question_of_converse(body: Mapping[str, Any], model: str, *, stream: bool) -> ChatQuestion:
    """The question in a request body's object; the model stands in the path.

    Raises:
        ApiError: with status 400.
    """
    for name in body:
        if name not in _FIELDS:
            _refuse(f"extraneous key [{name}] is not permitted")
    messages = _checked(body.get("messages"))
    own = body.get("additionalModelRequestFields") or {}
    thinking = (own.get("thinking") or {}).get("type") == "enabled"
    _check_thoughts(messages, thinking=thinking)
    config, tools = body.get("inferenceConfig") or {}, body.get("toolConfig") or {}
    chat = {
        "model": model,
        "messages": [*_system(body.get("system")), *_messages(messages)],
        "stream": stream,
        "max_tokens": config.get("maxTokens"),
        "stop": config.get("stopSequences"),
        "tools": list(_tools(tools.get("tools"))),
        "tool_choice": _tool_choice(tools.get("toolChoice") or {}),
    }
    return attrs.evolve(question_from(chat), include_usage=True)


def _refuse(message: str) -> NoReturn:
    raise ApiError(400, message)


def _checked(messages: object) -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        _refuse("The messages field is empty. Add a message and try again.")
    before, calls = "", set[object]()
    for place, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant"):
            _refuse(f"messages.{place}.role must be user or assistant")
        if role == before:
            _refuse("A conversation must alternate between user and assistant roles.")
        if place == 0 and role != "user":
            _refuse("A conversation must start with a user message.")
        content = message.get("content")
        if not isinstance(content, list) or not content:
            _refuse(f"The content field in the Message object at messages.{place} is empty.")
        if any(block.get("text") == "" for block in content):
            _refuse(f"The text field in the ContentBlock object at messages.{place} is blank.")
        results = {b["toolResult"].get("toolUseId") for b in content if "toolResult" in b}
        if results != calls:
            _refuse(
                "Expected toolResult blocks for the toolUse blocks of the turn before, with their "
                "ids and no others."
            )
        calls = {b["toolUse"].get("toolUseId") for b in content if "toolUse" in b}
        before = role
    return messages


def _system(blocks: object) -> Iterator[dict[str, Any]]:
    if isinstance(blocks, list) and blocks:
        yield {"role": "system", "content": "".join(str(b.get("text", "")) for b in blocks)}


def _messages(messages: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for message in messages:
        content = message["content"]
        text = "".join(block["text"] for block in content if "text" in block)
        calls = [block["toolUse"] for block in content if "toolUse" in block]
        results = [block["toolResult"] for block in content if "toolResult" in block]
        for result in results:
            told = _encode(result.get("content")).decode()
            yield {"role": "tool", "tool_call_id": result.get("toolUseId"), "content": told}
        if calls:
            yield {
                "role": "assistant",
                "content": text or None,
                "tool_calls": [
                    {
                        "id": call.get("toolUseId"),
                        "type": "function",
                        "function": {
                            "name": call.get("name"),
                            "arguments": _encode(call.get("input") or {}).decode(),
                        },
                    }
                    for call in calls
                ],
            }
        elif len(results) < len(content):
            yield {"role": message["role"], "content": text}


def _tools(tools: object) -> Iterator[dict[str, Any]]:
    for tool in tools if isinstance(tools, list) else ():
        spec = tool.get("toolSpec") if isinstance(tool, dict) else None
        if isinstance(spec, dict):
            schema = (spec.get("inputSchema") or {}).get("json")
            yield {"type": "function", "function": {"name": spec["name"], "parameters": schema}}


def _tool_choice(choice: Mapping[str, Any]) -> object:
    if "any" in choice:
        return "required"
    named = choice.get("tool")
    return {"type": "function", "function": {"name": named["name"]}} if named else None


# Thoughts. --------------------------------------------------------------------------------------


def sign(text: str) -> str:
    """The signature of a thought; here a digest of its text, which a client can get wrong."""
    digest = blake2b(text.encode("utf-8", "replace"), key=b"streamnursery-sim", digest_size=24)
    return b64encode(digest.digest()).decode()


def _check_thoughts(messages: list[dict[str, Any]], *, thinking: bool) -> None:
    """Every thought has its signature, and while the model thinks, a turn that calls tools begins
    with one."""
    for place, message in enumerate(messages):
        thoughts = [b["reasoningContent"] for b in message["content"] if "reasoningContent" in b]
        for thought in thoughts:
            told = thought.get("reasoningText") or {}
            if told.get("signature") != sign(str(told.get("text", ""))):
                _refuse(f"messages.{place}: Invalid `signature` in `thinking` block")
        calls = any("toolUse" in block for block in message["content"])
        if thinking and calls and "reasoningContent" not in message["content"][0]:
            _refuse(
                f"messages.{place}.content.0.type: Expected `thinking` or `redacted_thinking`, but "
                "found another block"
            )


# Answers. ---------------------------------------------------------------------------------------


class ConverseWriter:
    """One answer, event by event."""

    def __init__(self) -> None:
        self._content: list[dict[str, Any]] = []
        self._kind = ""
        """Of the block that is open."""
        self._pieces: list[str] = []

    def opening(self) -> list[Told]:
        return [_told("messageStart", role="assistant")]

    def token(self, part: Part, content: Any) -> list[Told]:
        """The events of a token; the last one has it, those before it end and begin blocks."""
        told: list[Told] = []
        kind = _KINDS[part]
        opens_call = part == "tool_calls" and "id" in content[0]
        if self._kind != kind or opens_call:
            told += self._end_block()
            self._kind = kind
            self._content.append({})
        place = {"contentBlockIndex": len(self._content) - 1}
        if opens_call:
            call = {"toolUseId": content[0]["id"], "name": content[0]["function"]["name"]}
            self._content[-1]["toolUse"] = call
            return [*told, _told("contentBlockStart", start={"toolUse": call}, **place)]
        piece = content[0]["function"]["arguments"] if part == "tool_calls" else content
        self._pieces.append(piece)
        delta: dict[str, Any] = {"text": piece}
        if kind == "call":
            delta = {"toolUse": {"input": piece}}
        elif kind == "thought":
            delta = {"reasoningContent": delta}
        return [*told, _told("contentBlockDelta", delta=delta, **place)]

    def closing(self, finish: str | None) -> list[Told]:
        """The end of the last block, and of the message: none without `finish`, the reason in the
        words of the chat API."""
        told = self._end_block()
        if finish is None:
            return told
        return [*told, _told("messageStop", stopReason=_REASONS.get(finish, "end_turn"))]

    def counts(self, usage: object) -> Told:
        """The last message; `usage` is the API's, or `msgspec.Raw`."""
        return _told("metadata", usage=usage, metrics={"latencyMs": 100})

    def whole(self, finish: str, usage: object) -> bytes:
        """An answer that is not streamed."""
        self._end_block()
        return _encode({
            "output": {"message": {"role": "assistant", "content": self._content}},
            "stopReason": _REASONS.get(finish, "end_turn"),
            "usage": usage,
            "metrics": {"latencyMs": 100},
        })

    def _end_block(self) -> list[Told]:
        kind, self._kind = self._kind, ""
        text, self._pieces = "".join(self._pieces), []
        if not kind:
            return []
        block, told = self._content[-1], []
        place = {"contentBlockIndex": len(self._content) - 1}
        if kind == "text":
            block["text"] = text
        elif kind == "call":
            block["toolUse"] = {**block["toolUse"], "input": _object(text)}
        else:
            signature = sign(text)
            block["reasoningContent"] = {"reasoningText": {"text": text, "signature": signature}}
            delta = {"reasoningContent": {"signature": signature}}
            told.append(_told("contentBlockDelta", delta=delta, **place))
        return [*told, _told("contentBlockStop", **place)]


def _told(kind: str, **fields: Any) -> Told:
    return kind, _encode({**fields, "p": "abcdef"})  # Amazon fills up its messages


def _object(text: str) -> Any:
    """The arguments of a call; those that broke off are sent as text."""
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {"text": text}
    return value if isinstance(value, dict) else {"value": value}
