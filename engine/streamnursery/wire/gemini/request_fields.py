"""A `ChatRequest` in the words of the Gemini API.

What the chat shape can say and this API can say too is translated; what it has no word for (`user`,
`metadata`) is refused, never dropped. `extra` is merged last and wins; its `generationConfig` is
merged field by field.
"""

import re
from collections.abc import Mapping
from typing import Any

from streamnursery.values.request import ChatRequest
from streamnursery.wire.chat_messages import UnsayableError
from streamnursery.wire.gemini.content import instruction_and_contents

BUDGETS = {"none": 0, "minimal": 512, "low": 1024, "medium": 8192, "high": 24_576}
"""Thinking tokens by `reasoning_effort`, for models up to 2.5."""
LEVELS = {"none": "MINIMAL", "minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
"""Levels, for those after them, which have no way not to think."""
_BUDGETED = re.compile(r"gemini-[12](?:\D|$)")
_MODES = {"auto": "AUTO", "required": "ANY", "none": "NONE"}
_JSON = "application/json"


def request_fields(request: ChatRequest, model: str) -> dict[str, object] | str:
    """The fields of a request body, or what is wrong with the request."""
    try:
        system, contents = instruction_and_contents(request.messages, model)
        config: dict[str, object] = {
            "maxOutputTokens": request.max_tokens,
            "temperature": request.temperature,
            "topP": request.top_p,
            "stopSequences": [request.stop] if isinstance(request.stop, str) else request.stop,
            "seed": request.seed,
            "candidateCount": request.n,
            "thinkingConfig": _thinking(request.reasoning_effort, model),
            **_format(request.response_format),
        }
        tools = None if request.tools is None else list(_tools(request.tools))
        choice = _tool_choice(request.tool_choice)
        _refuse_unknown(request)
    except UnsayableError as flaw:
        return str(flaw)
    extra = dict(request.extra)
    if isinstance(more := extra.pop("generationConfig", None), Mapping):
        config |= more
    config = {name: value for name, value in config.items() if value is not None}
    fields: dict[str, object] = {
        "contents": contents,
        "systemInstruction": {"parts": system} if system else None,
        "generationConfig": config or None,
        "tools": tools or None,
        "toolConfig": choice,
    }
    return {name: value for name, value in fields.items() if value is not None} | extra


def _refuse_unknown(request: ChatRequest) -> None:
    unknown = [name for name in ("user", "metadata") if getattr(request, name) is not None]
    if unknown:
        msg = (
            f"the Gemini API has no {' and no '.join(unknown)}; leave it out, put Vertex's labels "
            'into extra={"labels": ...}, or use an endpoint of another dialect'
        )
        raise UnsayableError(msg)


def _thinking(effort: str | None, model: str) -> object:
    if effort is None:
        return None
    budgeted = _BUDGETED.search(model) is not None
    words: Mapping[str, object] = BUDGETS if budgeted else LEVELS
    if effort not in words:
        msg = f"reasoning_effort {effort!r:.40} is none of {', '.join(words)}"
        raise UnsayableError(msg)
    name = "thinkingBudget" if budgeted else "thinkingLevel"
    return {name: words[effort], "includeThoughts": effort != "none"}


def _tools(tools: Any) -> Any:
    """The functions as one tool, and this API's own tools beside them."""
    functions, own = [], []
    for tool in tools:
        function = tool.get("function")
        if isinstance(function, Mapping):
            functions.append(_function(function))
        else:
            own.append(tool)
    if functions:
        yield {"functionDeclarations": functions}
    yield from own


def _function(function: Mapping[str, Any]) -> dict[str, Any]:
    told = {"name": function.get("name")}
    if function.get("description"):
        told["description"] = function["description"]
    if function.get("parameters"):
        told["parametersJsonSchema"] = function["parameters"]
    return told


def _tool_choice(choice: object) -> object:
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in _MODES:
            msg = f"tool_choice {choice!r:.40} is none of {', '.join(map(repr, _MODES))}"
            raise UnsayableError(msg)
        return {"functionCallingConfig": {"mode": _MODES[choice]}}
    if isinstance(choice, Mapping) and isinstance(function := choice.get("function"), Mapping):
        allowed = [function.get("name")]
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": allowed}}
    return choice


def _format(asked: Mapping[str, Any] | None) -> dict[str, object]:
    kind = None if asked is None else asked.get("type")
    if asked is None or kind == "text":
        return {}
    if kind == "json_object":
        return {"responseMimeType": _JSON}
    inner = asked.get("json_schema", asked)
    if kind == "json_schema" and isinstance(inner, Mapping) and "schema" in inner:
        return {"responseMimeType": _JSON, "responseJsonSchema": inner["schema"]}
    msg = "response_format must be text, json_object or json_schema with its schema"
    raise UnsayableError(msg)
