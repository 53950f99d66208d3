"""A `ChatRequest` in the words of the Interactions API.

What the chat shape can say and this API can say too is translated; what it has no word for (`n`,
`user`) is refused, never dropped. `extra` is merged last and wins; its `generation_config` is
merged field by field.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from streamnursery.values.request import ChatRequest
from streamnursery.wire.chat_messages import UnsayableError
from streamnursery.wire.gemini_interactions.content import instruction_and_steps

_LEVELS = {"none": "minimal", "minimal": "minimal", "low": "low", "medium": "medium"}
_LEVELS |= {"high": "high", "xhigh": "xhigh"}
"""`reasoning_effort`: models behind this API have no way not to think."""
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}
_JSON = "application/json"


def request_fields(request: ChatRequest, model: str) -> dict[str, object] | str:
    """The fields of a request body, or what is wrong with the request."""
    try:
        system, steps = instruction_and_steps(request.messages)
        _refuse_unknown(request)
        config: dict[str, object] = {
            "max_output_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop_sequences": [request.stop] if isinstance(request.stop, str) else request.stop,
            "seed": request.seed,
            "tool_choice": _tool_choice(request.tool_choice),
            **_thinking(request.reasoning_effort),
        }
        answer_format = _format(request.response_format)
    except UnsayableError as flaw:
        return str(flaw)
    extra = dict(request.extra)
    if isinstance(more := extra.pop("generation_config", None), Mapping):
        config |= more
    config = {name: value for name, value in config.items() if value is not None}
    fields: dict[str, object] = {
        "model": model,
        "input": steps,
        "system_instruction": system or None,
        "generation_config": config or None,
        "tools": None if request.tools is None else list(_tools(request.tools)) or None,
        "response_format": answer_format,
        "labels": request.metadata,
    }
    return {name: value for name, value in fields.items() if value is not None} | extra


def _refuse_unknown(request: ChatRequest) -> None:
    if request.user is not None:
        msg = (
            "the Interactions API has no user; leave it out, or use an endpoint of another dialect"
        )
        raise UnsayableError(msg)
    if request.n not in (None, 1):
        msg = f"the Interactions API makes one answer; n={request.n} needs as many requests"
        raise UnsayableError(msg)


def _thinking(effort: str | None) -> dict[str, object]:
    if effort is None:
        return {}
    if effort not in _LEVELS:
        msg = f"reasoning_effort {effort!r:.40} is none of {', '.join(_LEVELS)}"
        raise UnsayableError(msg)
    summaries = "none" if effort == "none" else "auto"
    return {"thinking_level": _LEVELS[effort], "thinking_summaries": summaries}


def _tools(tools: Any) -> Iterator[Any]:
    """Functions without the envelope of the chat API, and this API's own tools as they are."""
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, Mapping):
            known = ("name", "description", "parameters")
            told = {name: function[name] for name in known if function.get(name)}
            yield {"type": "function", **told}
        else:
            yield tool


def _tool_choice(choice: object) -> object:
    if isinstance(choice, str):
        if choice not in _CHOICES:
            msg = f"tool_choice {choice!r:.40} is none of {', '.join(map(repr, _CHOICES))}"
            raise UnsayableError(msg)
        return _CHOICES[choice]
    if isinstance(choice, Mapping) and isinstance(function := choice.get("function"), Mapping):
        return {"allowed_tools": {"mode": "any", "tools": [function.get("name")]}}
    return choice


def _format(asked: Mapping[str, Any] | None) -> object:
    kind = None if asked is None else asked.get("type")
    if asked is None or (kind == "text" and "mime_type" not in asked):
        return None
    if kind == "text":
        return asked  # in this API's own shape
    if kind == "json_object":
        return {"type": "text", "mime_type": _JSON}
    inner = asked.get("json_schema", asked)
    if kind == "json_schema" and isinstance(inner, Mapping) and "schema" in inner:
        return {"type": "text", "mime_type": _JSON, "schema": inner["schema"]}
    msg = "response_format must be text, json_object or json_schema with its schema"
    raise UnsayableError(msg)
