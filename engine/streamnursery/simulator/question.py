"""What a client asks of a simulated provider, read as strictly as a real one reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import msgspec

from streamnursery.simulator.grammar import ScriptError, split_model
from streamnursery.simulator.script import Script
from streamnursery.values.request import ChatRequest

MAX_CHOICES = 128
MAX_OUTPUT = 100_000
"""Tokens of one choice; more are cut off."""


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


@attrs.frozen
class Question:
    """A chat completion request that passed all checks."""

    model: str
    """Without the `sim/` before and the query behind it."""
    asked_model: str
    """As the client wrote it; answers repeat it."""
    script: Script
    """From the model's query."""
    messages: Sequence[Mapping[str, Any]] = attrs.field(repr=False)
    stream: bool = False
    include_usage: bool = False
    n: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tools: Sequence[Mapping[str, Any]] = attrs.field(default=(), repr=False)
    tool_choice: object = None
    background: bool = False
    """Responses API: made to its end whether or not the client stays."""
    store: bool = True

    @property
    def prefix(self) -> str:
        """The text to go on with: that of a last message which is the assistant's."""
        last = self.messages[-1]
        content = last.get("content")
        return content if last["role"] == "assistant" and isinstance(content, str) else ""


def read_question(body: bytes) -> Question:
    """The question in a request body.

    Raises:
        ApiError: with status 400.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise ApiError(400, "The request body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise ApiError(400, "The request body must be a JSON object.")
    return question_from(value)


def question_of(request: ChatRequest | Mapping[str, Any]) -> Question:
    """The same question as the engine would ask it, or from a request body's object."""
    if not isinstance(request, ChatRequest):
        return question_from(request)
    names = ("model", "messages", "max_tokens", "stop", "seed", "n", "tools", "tool_choice")
    fields = {name: getattr(request, name) for name in names}
    plain = msgspec.to_builtins({**fields, **request.extra, "stream": True})
    return question_from({name: value for name, value in plain.items() if value is not None})


def question_from(body: Mapping[str, Any]) -> Question:
    asked = _get(body, "model", str, "")
    if not asked.strip():
        raise ApiError(400, "you must provide a model parameter", param="model")
    try:
        model, script = split_model(asked)
    except ScriptError as error:
        raise ApiError(400, str(error), param="model", code="invalid_script") from None
    options = _get(body, "stream_options", dict, {})
    return Question(
        model=model,
        asked_model=asked,
        script=script,
        messages=_messages(body),
        stream=_get(body, "stream", bool, False),
        include_usage=_get(options, "include_usage", bool, False),
        n=_whole(body, "n", MAX_CHOICES) or 1,
        max_tokens=_whole(body, "max_completion_tokens") or _whole(body, "max_tokens"),
        stop=_stop(body),
        seed=_get(body, "seed", int, None),
        tools=_objects(body, "tools"),
        tool_choice=body.get("tool_choice"),
    )


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
