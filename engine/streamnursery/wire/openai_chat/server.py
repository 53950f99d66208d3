"""The chat completions API from its server's side: requests read, answers and errors written.

Rule 1: nothing here is shared with `client` or what that is made of, so that a server can be a
        witness of how the client reads.
Rule 2: a token costs one join of bytes: all that is equal in the chunks of one choice is
        encoded once (`ChatWriter.frame`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import attrs
import msgspec

MAX_CHOICES = 128
Part: TypeAlias = Literal["content", "refusal", "reasoning_content", "reasoning", "tool_calls"]
"""The fields of a delta that hold output."""
ANY_OBJECT: Mapping[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "minLength": 40}, "score": {"type": "integer"}},
}
"""What is said where a JSON object is asked for, and no schema is given."""
_encode = msgspec.json.encode


class ApiError(Exception):
    """An answer with an error status, in OpenAI's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        kind: str = "invalid_request_error",
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers
        self.error = {"message": message, "type": kind, "param": param, "code": code}

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"error": self.error})


@attrs.frozen(kw_only=True)
class ChatQuestion:
    """A request that passed all checks."""

    model: str
    """As the client wrote it; answers repeat it."""
    messages: Sequence[Mapping[str, Any]] = attrs.field(repr=False)
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: Sequence[Mapping[str, Any]] = attrs.field(default=(), repr=False)
    tool_choice: object = None
    json_schema: Mapping[str, Any] | None = attrs.field(default=None, repr=False)
    """Of the answer, where JSON is asked for; `ANY_OBJECT` where any object will do."""
    background: bool = False
    """Responses API: made to its end whether or not the client stays."""
    seals: bool = False
    """Responses API: reasoning is given sealed as well, so that it can come back."""
    store: bool = True


def json_object(body: bytes) -> dict[str, Any]:
    """Raises `ApiError` 400 for anything else."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise ApiError(400, "The request body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise ApiError(400, "The request body must be a JSON object.")
    return value


def question_from(body: Mapping[str, Any]) -> ChatQuestion:
    """The question in a request body's object.

    Raises:
        ApiError: with status 400.
    """
    model = _get(body, "model", str, "")
    if not model.strip():
        raise ApiError(400, "you must provide a model parameter", param="model")
    options = _get(body, "stream_options", dict, {})
    return ChatQuestion(
        model=model,
        messages=_messages(body),
        stream=_get(body, "stream", bool, False),
        include_usage=_get(options, "include_usage", bool, False),
        n=_whole(body, "n", MAX_CHOICES) or 1,
        max_tokens=_whole(body, "max_completion_tokens") or _whole(body, "max_tokens"),
        stop=_stop(body),
        seed=_get(body, "seed", int, None),
        tools=_objects(body, "tools"),
        tool_choice=body.get("tool_choice"),
        json_schema=json_schema(body.get("response_format"), "response_format"),
    )


def json_schema(asked: object, param: str) -> Mapping[str, Any] | None:
    """The schema of the answer that a `response_format` asks for; None for text.

    Raises:
        ApiError: with status 400.
    """
    kind = asked.get("type") if isinstance(asked, dict) else None
    if asked is None or kind == "text":
        return None
    if kind == "json_object":
        return ANY_OBJECT
    # The Responses API has the schema beside its name, the chat API one level below.
    given = asked.get("json_schema", asked) if isinstance(asked, dict) else None
    schema = given.get("schema") if isinstance(given, dict) else None
    if kind != "json_schema" or not isinstance(schema, dict):
        what = "'text', 'json_object', or 'json_schema' with a schema"
        raise ApiError(400, f"Invalid value for '{param}': expected type {what}.", param=param)
    return schema


def _get(body: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        what = {str: "a string", bool: "a boolean", int: "an integer", dict: "an object"}[kind]
        raise ApiError(400, f"Invalid type for '{name}': expected {what}.", param=name)
    return value


def _whole(body: Mapping[str, Any], name: str, most: int | None = None) -> int | None:
    value: int | None = _get(body, name, int, None)
    if value is not None and (value < 1 or (most is not None and value > most)):
        end = f" and at most {most}" if most is not None else ""
        msg = f"Invalid value for '{name}': it must be at least 1{end}."
        raise ApiError(400, msg, param=name)
    return value


def _stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("stop")
    stops = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(s, str) and s for s in stops):
        msg = "Invalid value for 'stop': expected a string or a list of strings, none empty."
        raise ApiError(400, msg, param="stop")
    return tuple(stops)


def _objects(body: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    value = body.get(name)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        msg = f"Invalid type for '{name}': expected a list of objects."
        raise ApiError(400, msg, param=name)
    return value


def _messages(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages = _objects(body, "messages")
    if not messages:
        raise ApiError(400, "'messages' must have at least one message.", param="messages")
    for i, message in enumerate(messages):
        if not isinstance(message.get("role"), str):
            raise ApiError(400, f"'messages[{i}]' needs a role.", param=f"messages[{i}].role")
    return messages


@attrs.frozen
class ChatCall:
    """A tool call of an answer."""

    id: str
    function: str
    arguments: str


def message(
    text: str,
    *,
    refused: bool = False,
    reasoning: Mapping[str, str] | None = None,
    calls: Sequence[ChatCall] = (),
) -> dict[str, Any]:
    """The message of a whole answer. `reasoning` has the name of its field."""
    made: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused or calls else text,
        "refusal": text if refused else None,
        **(reasoning or {}),
    }
    if calls:
        made["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function, "arguments": call.arguments},
            }
            for call in calls
        ]
    return made


@attrs.frozen
class ChatWriter:
    """The JSON of one answer."""

    id: str
    created: int
    model: str
    announces_usage: bool = False
    """Chunks hold `"usage": null` before the one that reports it."""

    def chunk(self, index: int, delta: Mapping[str, Any], finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "finish_reason": finish}
        return self._chunk(_encode([choice]), b"null" if self.announces_usage else None)

    def frame(self, index: int, part: Part) -> tuple[bytes, bytes]:
        """What comes before and after the JSON of a delta's content, in its chunk."""
        before, _, after = self.chunk(index, {part: "\x00"}).partition(_encode("\x00"))
        return before, after

    def usage(self, usage: bytes) -> bytes:
        """The chunk that reports it."""
        return self._chunk(b"[]", usage)

    def _chunk(self, choices: bytes, usage: bytes | None) -> bytes:
        text = self._head("chat.completion.chunk") + choices
        return text + (b"}" if usage is None else b',"usage":%b}' % usage)

    def _head(self, kind: str) -> bytes:
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.model}
        return _encode(head)[:-1] + b',"choices":'

    def completion(
        self, choices: Sequence[tuple[Mapping[str, Any], str | None]], usage: bytes | None
    ) -> bytes:
        """A whole answer: messages with their finish reasons."""
        shown = [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
            for index, (message, finish) in enumerate(choices)
        ]
        text = self._head("chat.completion") + _encode(shown)
        return text + (b"}" if usage is None else b',"usage":%b}' % usage)
