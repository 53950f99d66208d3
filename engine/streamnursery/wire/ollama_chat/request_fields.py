"""A `ChatRequest` in the words of Ollama's chat API.

Settings of the model stand in `options`. What this API has no word for (`n`, `user`) is refused,
never dropped. `extra` is merged last and wins (`keep_alive`); its `options` are merged field by
field (`num_ctx`).
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamnursery.values.request import ChatRequest, Message
from streamnursery.values.returned import returned
from streamnursery.wire.chat_messages import UnsayableError, calls_of, inline_data, parts_of

DIALECT = "ollama"
_EFFORTS: Mapping[str, object] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
}
"""Models that know no levels take any of them for yes."""


def request_fields(request: ChatRequest, model: str) -> dict[str, object] | str:
    """The fields of a request body, or what is wrong with the request."""
    stop = request.stop
    options: dict[str, object] = {
        "num_predict": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": [stop] if isinstance(stop, str) else stop,
    }
    try:
        _refuse_unknown(request)
        fields: dict[str, object] = {
            "model": model,
            "messages": list(_messages(request.messages)),
            "tools": _tools(request),
            "think": _think(request.reasoning_effort),
            "format": _format(request.response_format),
        }
    except UnsayableError as flaw:
        return str(flaw)
    extra = dict(request.extra)
    if isinstance(more := extra.pop("options", None), Mapping):
        options |= more
    options = {name: value for name, value in options.items() if value is not None}
    fields["options"] = options or None
    return {name: value for name, value in fields.items() if value is not None} | extra


def _refuse_unknown(request: ChatRequest) -> None:
    unknown = ["n > 1"] if (request.n or 1) > 1 else []
    unknown += [name for name in ("user", "metadata") if getattr(request, name) is not None]
    if request.tool_choice not in (None, "auto", "none"):
        unknown.append("tool_choice but auto and none")
    if unknown:
        msg = (
            f"Ollama's chat API has no {' and no '.join(unknown)}; leave it out, or use an "
            "endpoint of another dialect"
        )
        raise UnsayableError(msg)


def _messages(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    names: dict[str, str] = {}
    for place, message in enumerate(messages):
        role = message["role"]
        if role not in ("system", "developer", "user", "assistant", "tool"):
            msg = (
                f"messages[{place}]: Ollama's chat API has no role {role!r:.40}; send system, "
                "user, assistant or tool"
            )
            raise UnsayableError(msg)
        told = _said(message, place)
        told["role"] = "system" if role == "developer" else role
        if role == "assistant":
            if reasoning := returned(message, DIALECT).reasoning:
                told["thinking"] = reasoning
            if calls := list(_calls(message, place, names)):
                told["tool_calls"] = calls
        elif role == "tool" and (name := names.get(str(message.get("tool_call_id")))):
            told["tool_name"] = name
        yield told


def _said(message: Message, place: int) -> dict[str, Any]:
    texts: list[str] = []
    images: list[str] = []
    for part in parts_of(message.get("content"), place):
        match part.get("type"):
            case "text" | "refusal" as kind:
                texts.append(str(part.get(kind) or ""))
            case "image_url":
                image = part.get("image_url")
                url = image.get("url") if isinstance(image, Mapping) else image
                inline = inline_data(url, place) if isinstance(url, str) else None
                if inline is None:
                    msg = f"messages[{place}]: Ollama fetches no image; give 'data:...;base64,...'"
                    raise UnsayableError(msg)
                images.append(inline[1])
            case kind:
                msg = f"messages[{place}]: Ollama's chat API has no part of type {kind!r:.40}"
                raise UnsayableError(msg)
    said: dict[str, Any] = {"content": "".join(texts)}
    return {**said, "images": images} if images else said


def _calls(message: Message, place: int, names: dict[str, str]) -> Iterator[dict[str, Any]]:
    for call_id, name, arguments in calls_of(message, place, "chat API of Ollama"):
        if isinstance(call_id, str) and isinstance(name, str):
            names[call_id] = name
        yield {"function": {"name": name, "arguments": arguments}}


def _tools(request: ChatRequest) -> object:
    if request.tools is None or request.tool_choice == "none":
        return None
    return request.tools


def _think(effort: str | None) -> object:
    if effort is None:
        return None
    if effort not in _EFFORTS:
        msg = f"reasoning_effort {effort!r:.40} is none of {', '.join(_EFFORTS)}"
        raise UnsayableError(msg)
    return _EFFORTS[effort]


def _format(asked: Mapping[str, Any] | None) -> object:
    kind = None if asked is None else asked.get("type")
    if asked is None or kind == "text":
        return None
    if kind == "json_object":
        return "json"
    inner = asked.get("json_schema", asked)
    if kind == "json_schema" and isinstance(inner, Mapping) and "schema" in inner:
        return inner["schema"]
    msg = "response_format must be text, json_object or json_schema with its schema"
    raise UnsayableError(msg)
