"""The Messages API from its server's side: requests read as questions of the chat API, refused
where Anthropic refuses them, and answers written as its events. As in `openai_chat.server`, nothing
is shared with the client's half.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import attrs
import msgspec

from streamnursery.wire.anthropic_messages.signatures import check_thinking, signature
from streamnursery.wire.openai_chat.server import ApiError, ChatQuestion, Part, question_from

_encode = msgspec.json.encode
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_FIELDS = frozenset([
    "model",
    "max_tokens",
    "messages",
    "system",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "tools",
    "tool_choice",
    "thinking",
    "metadata",
    "service_tier",
    "output_config",
    "container",
    "context_management",
    "mcp_servers",
    "speed",
    "cache_control",
    "inference_geo",
])
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_REASONS |= {"content_filter": "refusal"}


def error_body(error: ApiError) -> bytes:
    """An error in Anthropic's shape."""
    kind, code = error.error["type"] or "", error.error["code"]
    # The chat API's own word for most errors says nothing here.
    words = [word for word in (code, kind) if word != _TYPES[400]]
    told = next((word for word in words if word in _TYPES.values()), None)
    fallback = "invalid_request_error" if error.status < 500 else "api_error"
    fallback = _TYPES.get(error.status, fallback)
    shown: dict[str, Any] = {"type": told or fallback, "message": str(error)}
    if code is not None and code not in _TYPES.values() and error.status in (402, 429):
        shown["details"] = {"error_code": code}
    return _encode({"type": "error", "error": shown, "request_id": None})


def question_of_messages(body: Mapping[str, Any]) -> ChatQuestion:
    """The question in a request body's object.

    Raises:
        ApiError: with status 400.
    """
    for name in body:
        if name not in _FIELDS:
            _refuse(f"{name}: Extra inputs are not permitted")
    most = body.get("max_tokens")
    if not isinstance(most, int) or isinstance(most, bool) or most < 1:
        _refuse("max_tokens: Field required" if most is None else "max_tokens: Input should be > 0")
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or budget < 1024:
            _refuse("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
        if budget >= most:
            _refuse("`max_tokens` must be greater than `thinking.budget_tokens`")
    given = body.get("messages")
    if not isinstance(given, list) or not given:
        _refuse("messages: at least one message is required")
    check_thinking(given, enabled=thinking.get("type") == "enabled")
    _check_results(given)
    chat = {
        "model": body.get("model"),
        "messages": [*_system(body.get("system")), *_messages(given)],
        "stream": body.get("stream"),
        "max_tokens": most,
        "stop": body.get("stop_sequences"),
        "tools": [_tool(tool) for tool in body.get("tools") or () if isinstance(tool, dict)],
        "tool_choice": _tool_choice(body.get("tool_choice")),
    }
    return attrs.evolve(question_from(chat), include_usage=True)


def _refuse(message: str) -> NoReturn:
    raise ApiError(400, message)


def _check_results(messages: list[Any]) -> None:
    """Every call is followed at once by its result."""
    asked: list[str] = []
    for place, message in enumerate(messages):
        blocks = _blocks(message, place)
        answered = {b.get("tool_use_id") for b in blocks if b.get("type") == "tool_result"}
        missing = [call for call in asked if call not in answered]
        if missing:
            _refuse(
                f"messages.{place - 1}: `tool_use` ids were found without `tool_result` blocks "
                f"immediately after: {', '.join(missing)}."
            )
        extra = [str(call) for call in answered if call not in asked]
        if extra:
            _refuse(f"messages.{place}: unexpected `tool_use_id` in `tool_result`: {extra[0]}")
        asked = [str(b.get("id")) for b in blocks if b.get("type") == "tool_use"]
    if asked:
        _refuse(f"messages.{len(messages) - 1}: `tool_use` ids without `tool_result`: {asked[0]}")


def _blocks(message: object, place: int) -> list[dict[str, Any]]:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("user", "assistant"):
        _refuse(f"messages.{place}.role: Input should be 'user' or 'assistant'")
    assert isinstance(message, dict)
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        _refuse(f"messages.{place}.content: Input should be a valid string or list")
    for block in content:
        if block.get("type") == "text" and not block.get("text"):
            _refuse("messages: text content blocks must be non-empty")
        if block.get("type") == "tool_use" and not isinstance(block.get("input"), dict):
            _refuse(f"messages.{place}.content: tool_use.input: Input should be a valid dictionary")
    return list(content)


def _system(system: object) -> Iterator[dict[str, Any]]:
    if system:
        yield {"role": "system", "content": system}


def _messages(given: list[Any]) -> Iterator[dict[str, Any]]:
    for place, message in enumerate(given):
        blocks = _blocks(message, place)
        texts = [block["text"] for block in blocks if block.get("type") == "text"]
        if message["role"] == "assistant":
            yield _assistant(blocks, texts)
            continue
        results = [block for block in blocks if block.get("type") == "tool_result"]
        for block in results:
            content = block.get("content", "")
            yield {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content}
        rest = [block for block in blocks if block not in results]
        if rest:
            only = len(rest) == 1 and rest[0].keys() == {"type", "text"}
            yield {"role": "user", "content": texts[0] if only else rest}


def _assistant(blocks: list[dict[str, Any]], texts: list[str]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) or None}
    calls = [
        {
            "id": block.get("id"),
            "type": "function",
            "function": {
                "name": block.get("name"),
                "arguments": _encode(block.get("input")).decode(),
            },
        }
        for block in blocks
        if block.get("type") == "tool_use"
    ]
    return message | ({"tool_calls": calls} if calls else {})


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "input_schema" not in tool:
        return tool
    function = {"name": tool.get("name"), "parameters": tool["input_schema"]}
    return {"type": "function", "function": function}


def _tool_choice(choice: object) -> object:
    match choice:
        case {"type": "any"}:
            return "required"
        case {"type": "tool", "name": str(name)}:
            return {"type": "function", "function": {"name": name}}
        case _:
            return None


class MessageWriter:
    """One message, event by event."""

    def __init__(self, id: str, model: str, usage: Mapping[str, Any]) -> None:  # noqa: A002
        """`usage` is that of the start."""
        self.message: dict[str, Any] = {
            "id": id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": dict(usage),
        }
        self._refused = False
        self._open: dict[str, Any] | None = None
        self._pieces: list[str] = []

    def opening(self) -> list[bytes]:
        return [_event("message_start", message=self.message), _event("ping")]

    def token(self, part: Part, content: Any) -> list[bytes]:
        """The events of a token, those that begin its block and end the one before among them."""
        kinds: dict[Part, str] = {"reasoning_content": "thinking", "reasoning": "thinking"}
        kind = "tool_use" if part == "tool_calls" else kinds.get(part, "text")
        self._refused = self._refused or part == "refusal"
        opens_call = kind == "tool_use" and "id" in content[0]
        told: list[bytes] = []
        if self._open is None or self._open["type"] != kind or opens_call:
            told += self._end_block()
            told.append(self._begin_block(kind, content))
        if opens_call:
            return told
        piece = content[0]["function"]["arguments"] if kind == "tool_use" else content
        self._pieces.append(piece)
        names = {"tool_use": ("input_json_delta", "partial_json"), "text": ("text_delta", "text")}
        name, field = names.get(kind, ("thinking_delta", "thinking"))
        return [*told, self._delta({"type": name, field: piece})]

    def closing(self, finish: str | None, usage: object, *, stops: bool = True) -> list[bytes]:
        """The end of the last block and of the message: no `message_delta` without `finish`, the
        reason in the words of the chat API; no `message_stop` unless it `stops`."""
        told = self._end_block()
        if finish is not None:
            reason = "refusal" if self._refused else _REASONS.get(finish, finish)
            self.message["stop_reason"] = reason
            delta = {"stop_reason": reason, "stop_sequence": None}
            counts = {} if usage is None else {"usage": usage}
            told.append(_event("message_delta", delta=delta, **counts))
        return [*told, _event("message_stop")] if stops else told

    def _begin_block(self, kind: str, content: Any) -> bytes:
        block: dict[str, Any] = {"type": kind}
        match kind:
            case "tool_use":
                call = content[0]
                block |= {"id": call["id"], "name": call["function"]["name"], "input": {}}
            case "thinking":
                block |= {"thinking": "", "signature": ""}
            case _:
                block |= {"text": ""}
        event = _event("content_block_start", index=self._index, content_block=block)
        self._open, self._pieces = block, []
        return event

    def _end_block(self) -> list[bytes]:
        block, self._open = self._open, None
        if block is None:
            return []
        whole, told = "".join(self._pieces), []
        if block["type"] == "tool_use":
            block["input"] = _object(whole)
        elif block["type"] == "thinking":
            block["thinking"], block["signature"] = whole, signature(whole)
            told.append(self._delta({"type": "signature_delta", "signature": block["signature"]}))
        else:
            block["text"] = whole
        told.append(_event("content_block_stop", index=self._index))
        self.message["content"].append(block)
        return told

    @property
    def _index(self) -> int:
        return len(self.message["content"])

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)


def mistake(kind: str, message: str) -> bytes:
    """The event of an error inside a stream."""
    told = kind if kind in _TYPES.values() else "api_error"
    return _event("error", error={"type": told, "message": message})


def _object(text: str) -> object:
    """What was said of a call's input; a call that broke off has the text."""
    try:
        return msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {"text": text}


def _event(kind: str, **fields: Any) -> bytes:
    return _encode({"type": kind, **fields})
