"""Ollama's chat API from its server's side: requests read as questions of the chat API, and answers
written as its lines. As in `openai_chat.server`, nothing is shared with the client's half.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import msgspec

from streamnursery.wire.openai_chat.server import ApiError, ChatQuestion, Part, question_from

_encode = msgspec.json.encode
_FIELDS = frozenset([
    "format",
    "keep_alive",
    "logprobs",
    "messages",
    "model",
    "options",
    "stream",
    "think",
    "tools",
    "top_logprobs",
])
_THOUGHTS = frozenset({"reasoning", "reasoning_content"})


def error_body(error: ApiError) -> bytes:
    """An error in Ollama's shape."""
    return _encode({"error": str(error)})


def question_of_chat(body: Mapping[str, Any]) -> ChatQuestion:
    """The question in a request body's object.

    Raises:
        ApiError: with status 400.
    """
    for name in body:
        if name not in _FIELDS:
            raise ApiError(400, f"unknown field {name!r}")  # Ollama overlooks it; a client errs
    options = body.get("options") or {}
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise ApiError(400, "messages must be a list")
    chat = {
        "model": body.get("model"),
        "messages": list(_messages(messages)),
        "stream": body.get("stream") is not False,
        "max_tokens": options.get("num_predict"),
        "seed": options.get("seed"),
        "stop": options.get("stop"),
        "tools": body.get("tools"),
    }
    return attrs.evolve(question_from(chat), include_usage=True)


def _messages(messages: list[Any]) -> Iterator[dict[str, Any]]:
    for place, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("content", ""), str):
            raise ApiError(400, f"messages[{place}].content must be text")
        told = {"role": message.get("role"), "content": message.get("content")}
        calls = message.get("tool_calls")
        if calls:
            told["tool_calls"] = [
                _call(call, f"{place}-{number}") for number, call in enumerate(calls)
            ]
        if message.get("role") == "tool":
            told["tool_call_id"] = str(message.get("tool_name"))
        yield told


def _call(call: Mapping[str, Any], call_id: str) -> dict[str, Any]:
    function = call.get("function") or {}
    if not isinstance(function.get("arguments"), dict):
        raise ApiError(400, "the arguments of a tool call must be an object")
    arguments = _encode(function["arguments"]).decode()
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": function.get("name"), "arguments": arguments},
    }


class OllamaWriter:
    """One answer, line by line. A call is sent when it is whole."""

    def __init__(self, model: str, created: str) -> None:
        self._head = {"model": model, "created_at": created}
        self._name = ""
        self._pieces: list[str] = []
        self._whole: dict[str, Any] = {"role": "assistant", "content": ""}

    def token(self, part: Part, content: Any) -> list[bytes]:
        """The lines of a token; none for a piece of a call."""
        if part == "tool_calls":
            function = content[0]["function"]
            if "id" not in content[0]:
                self._pieces.append(function["arguments"])
                return []
            told = self.end_call()
            self._name = function["name"]
            return told
        name = "thinking" if part in _THOUGHTS else "content"
        self._whole[name] = self._whole.get(name, "") + content
        return [self._line({"role": "assistant", "content": "", name: content})]

    def end_call(self) -> list[bytes]:
        name, self._name = self._name, ""
        text, self._pieces = "".join(self._pieces), []
        if not name:
            return []
        call = {"function": {"name": name, "arguments": _object(text)}}
        self._whole.setdefault("tool_calls", []).append(call)
        return [self._line({"role": "assistant", "content": "", "tool_calls": [call]})]

    def closing(self, finish: str | None, counts: Mapping[str, Any]) -> list[bytes]:
        """The last line; without `finish`, the reason in the words of the chat API, none but what
        was open."""
        told = self.end_call()
        if finish is None:
            return told
        message = {"role": "assistant", "content": ""}
        return [*told, _encode(self._last(finish, counts, message))]

    def whole(self, finish: str, counts: Mapping[str, Any]) -> bytes:
        """An answer that is not streamed."""
        self.end_call()
        return _encode(self._last(finish, counts, self._whole))

    def _last(
        self, finish: str, counts: Mapping[str, Any], message: Mapping[str, Any]
    ) -> dict[str, Any]:
        reason = "length" if finish == "length" else "stop"
        times = {"total_duration": 10**9, "load_duration": 10**6}
        end = {"message": message, "done": True, "done_reason": reason}
        return {**self._head, **end, **times, **counts}

    def _line(self, message: Mapping[str, Any]) -> bytes:
        return _encode({**self._head, "message": message, "done": False})


def _object(text: str) -> Any:
    """The arguments of a call; those that broke off are sent as text."""
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {"text": text}
    return value if isinstance(value, dict) else {"value": value}
