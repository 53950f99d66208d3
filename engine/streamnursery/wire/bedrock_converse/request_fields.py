"""A `ChatRequest` in the words of the Converse API.

What the chat shape can say and this API can say too is translated; what it has no word for (`seed`,
`n`) is refused, never dropped. `extra` is merged last and wins; its `inferenceConfig` and
`additionalModelRequestFields` are merged field by field.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from streamnursery.values.request import ChatRequest
from streamnursery.wire.anthropic_messages.request_fields import BUDGETS
from streamnursery.wire.bedrock_converse.content import API_NAME, system_and_turns
from streamnursery.wire.chat_messages import UnsayableError

_CHOICES: Mapping[str, Mapping[str, Any]] = {"auto": {"auto": {}}, "required": {"any": {}}}
_MERGED = ("inferenceConfig", "additionalModelRequestFields")


def request_fields(request: ChatRequest, model: str) -> dict[str, object] | str:
    """The fields of a request body, or what is wrong with the request."""
    try:
        system, turns = system_and_turns(request.messages)
        _refuse_unknown(request)
        stop = request.stop
        config: dict[str, object] = {
            "maxTokens": request.max_tokens,
            "temperature": request.temperature,
            "topP": request.top_p,
            "stopSequences": [stop] if isinstance(stop, str) else stop,
        }
        fields: dict[str, Any] = {
            "messages": turns,
            "system": system or None,
            "inferenceConfig": {k: v for k, v in config.items() if v is not None} or None,
            "toolConfig": _tool_config(request, turns),
            "additionalModelRequestFields": _thinking(request, model),
            "requestMetadata": request.metadata,
            "outputConfig": _format(request.response_format),
        }
    except UnsayableError as flaw:
        return str(flaw)
    extra = dict(request.extra)
    for name in _MERGED:
        if isinstance(more := extra.get(name), Mapping):
            extra[name] = {**(fields[name] or {}), **more}
    return {name: value for name, value in fields.items() if value is not None} | extra


def _refuse_unknown(request: ChatRequest) -> None:
    unknown = ["n > 1"] if (request.n or 1) > 1 else []
    unknown += [name for name in ("seed", "user") if getattr(request, name) is not None]
    if unknown:
        msg = (
            f"the {API_NAME} has no {' and no '.join(unknown)}; leave it out, or use an endpoint "
            "of another dialect"
        )
        raise UnsayableError(msg)


def _thinking(request: ChatRequest, model: str) -> object:
    """Thoughts are a setting of the model's own; Anthropic's, which most here are, is known."""
    effort = request.reasoning_effort
    if effort is None:
        return None
    if "anthropic." not in model or effort not in {**BUDGETS, "none": 0}:
        msg = (
            f"reasoning_effort {effort!r:.40} has no form for {model!r:.80} in the {API_NAME}: say "
            'it in extra={"additionalModelRequestFields": ...} as the model wants it'
        )
        raise UnsayableError(msg)
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    return {"thinking": {"type": "enabled", "budget_tokens": BUDGETS[effort]}}


def _tool_config(request: ChatRequest, turns: list[dict[str, Any]]) -> object:
    choice = request.tool_choice
    if request.tools is None:
        return None
    if choice == "none":
        if any("toolUse" in block for turn in turns for block in turn["content"]):
            msg = (
                f"the {API_NAME} has no tool_choice 'none' once a tool was called: it asks for the "
                "tools of the calls; leave tool_choice out"
            )
            raise UnsayableError(msg)
        return None
    told: dict[str, object] = {"tools": list(_tools(request.tools))}
    if choice is not None:
        told["toolChoice"] = _tool_choice(choice)
    return told


def _tools(tools: Any) -> Iterator[Any]:
    for tool in tools:
        function = tool.get("function")
        if not isinstance(function, Mapping):
            yield tool  # one of this API's own
            continue
        spec = {name: function[name] for name in ("description", "strict") if function.get(name)}
        schema = function.get("parameters") or {"type": "object", "properties": {}}
        yield {"toolSpec": {"name": function.get("name"), **spec, "inputSchema": {"json": schema}}}


def _tool_choice(choice: object) -> object:
    if isinstance(choice, str):
        if choice not in _CHOICES:
            msg = f"tool_choice {choice!r:.40} is none of 'auto', 'required', 'none'"
            raise UnsayableError(msg)
        return _CHOICES[choice]
    if isinstance(choice, Mapping) and isinstance(function := choice.get("function"), Mapping):
        return {"tool": {"name": function.get("name")}}
    return choice


def _format(asked: Mapping[str, Any] | None) -> object:
    if asked is None or asked.get("type") == "text":
        return None
    inner = asked.get("json_schema", asked)
    if asked.get("type") == "json_schema" and isinstance(inner, Mapping) and "schema" in inner:
        schema: dict[str, object] = {"schema": json.dumps(inner["schema"])}
        schema |= {name: inner[name] for name in ("name", "description") if inner.get(name)}
        return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    msg = (
        f"the {API_NAME} has no response_format but json_schema; give the schema, or ask for JSON "
        "in the prompt"
    )
    raise UnsayableError(msg)
