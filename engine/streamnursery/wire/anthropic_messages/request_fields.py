"""A `ChatRequest` in the words of the Messages API.

What the chat shape can say and this API can say too is translated; what it has no word for (`n`,
`seed`, a `json_object` format) is refused, never dropped. `extra` is merged last and wins.
"""

from collections.abc import Mapping
from typing import Any

from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Endpoint
from streamnursery.wire.anthropic_messages.content import plain, top_and_turns
from streamnursery.wire.chat_messages import UnsayableError
from streamnursery.wire.dialect import EndpointOption

DEFAULT_MAX_TOKENS = EndpointOption(
    "default_max_tokens",
    "4096",
    "The bound of an answer whose request states no `max_tokens`, without which the API answers "
    "nothing; the budget of its thinking comes on top.",
    pattern=r"[1-9][0-9]{0,6}",
    expected="a whole number in quotes",
)
THINKING = EndpointOption(
    "thinking",
    "budget",
    "How `reasoning_effort` is told: `budget` of thinking tokens, for models up to 4.5, or "
    "`adaptive` with an effort, for those after them.",
    pattern="budget|adaptive",
    expected='"budget" or "adaptive"',
)
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24_576, "xhigh": 49_152}
"""Thinking tokens by `reasoning_effort`, where that is sent as a budget; 1,024 is the least."""
_EFFORTS = {"minimal": "low"}
"""Of those that the API calls otherwise."""
_CHOICES = {"auto": "auto", "required": "any", "none": "none"}


def request_fields(request: ChatRequest, endpoint: Endpoint, model: str) -> dict[str, object] | str:
    """The fields of a request body, or what is wrong with the request."""
    try:
        system, turns = top_and_turns(request.messages)
        fields: dict[str, object] = {
            "model": model,
            "max_tokens": request.max_tokens,
            "messages": [{**turn, "content": plain(turn["content"])} for turn in turns],
            "system": plain(system) if system else None,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "stop_sequences": _stops(request.stop),
            "tools": None if request.tools is None else [_tool(tool) for tool in request.tools],
            "tool_choice": _tool_choice(request.tool_choice),
            "metadata": _metadata(request),
        }
        _refuse_unknown(request)
        fields |= _thinking(request.reasoning_effort, endpoint, turns)
        if (form := _format(request.response_format)) is not None:
            config = fields.get("output_config")
            fields["output_config"] = {
                **(config if isinstance(config, dict) else {}),
                "format": form,
            }
    except UnsayableError as flaw:
        return str(flaw)
    fields = {name: value for name, value in fields.items() if value is not None}
    fields |= request.extra
    if fields.get("max_tokens") is None:
        thinking = fields.get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, Mapping) else 0
        most = int(DEFAULT_MAX_TOKENS.of(endpoint))
        fields["max_tokens"] = most + (budget if isinstance(budget, int) else 0)
    return fields


def _refuse_unknown(request: ChatRequest) -> None:
    unknown = ["n > 1"] if (request.n or 1) > 1 else []
    unknown += ["seed"] if request.seed is not None else []
    if unknown:
        msg = (
            f"the Messages API has no {' and no '.join(unknown)}; leave it out, or use an endpoint "
            "of another dialect"
        )
        raise UnsayableError(msg)


def _stops(stop: object) -> object:
    return [stop] if isinstance(stop, str) else stop


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return tool  # one of this API's own
    told: dict[str, Any] = {"name": function.get("name")}
    told |= {name: function[name] for name in ("description", "strict") if function.get(name)}
    told["input_schema"] = function.get("parameters") or {"type": "object", "properties": {}}
    if "cache_control" in tool:
        told["cache_control"] = tool["cache_control"]
    return told


def _tool_choice(choice: object) -> object:
    if isinstance(choice, str):
        if choice not in _CHOICES:
            msg = f"tool_choice {choice!r:.40} is none of {', '.join(map(repr, _CHOICES))}"
            raise UnsayableError(msg)
        return {"type": _CHOICES[choice]}
    if isinstance(choice, Mapping) and isinstance(function := choice.get("function"), Mapping):
        return {"type": "tool", "name": function.get("name")}
    return choice


def _metadata(request: ChatRequest) -> object:
    given = dict(request.metadata or {})
    if request.user is not None:
        given.setdefault("user_id", request.user)
    if given.keys() - {"user_id"}:
        msg = "the Messages API has no metadata but 'user_id'; leave the rest out"
        raise UnsayableError(msg)
    return given or None


def _thinking(
    effort: str | None, endpoint: Endpoint, turns: list[dict[str, Any]]
) -> dict[str, object]:
    if effort is None:
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    if THINKING.of(endpoint) == "adaptive":
        told = _EFFORTS.get(effort, effort)
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": told}}
    if effort not in BUDGETS:
        msg = (
            f"reasoning_effort {effort!r:.40} has no budget of thinking tokens; use one of "
            f"{', '.join(BUDGETS)}, or none"
        )
        raise UnsayableError(msg)
    if _began_without_thoughts(turns):
        return {}
    return {"thinking": {"type": "enabled", "budget_tokens": BUDGETS[effort]}}


def _began_without_thoughts(turns: list[dict[str, Any]]) -> bool:
    """Whether the turn under way calls tools without the thoughts that led there, since another
    model began it: with a budget for thoughts the API refuses such a turn."""
    for turn in reversed(turns):
        kinds = [block.get("type") for block in turn["content"]]
        if turn["role"] == "user" and "tool_result" not in kinds:
            return False
        calls = turn["role"] == "assistant" and "tool_use" in kinds
        if calls and kinds[0] not in ("thinking", "redacted_thinking"):
            return True
    return False


def _format(asked: Mapping[str, Any] | None) -> object:
    if asked is None or asked.get("type") == "text":
        return None
    inner = asked.get("json_schema", asked)
    if asked.get("type") == "json_schema" and isinstance(inner, Mapping) and "schema" in inner:
        return {"type": "json_schema", "schema": inner["schema"]}
    msg = (
        "the Messages API has no response_format but json_schema; give the schema, or ask for JSON "
        "in the prompt"
    )
    raise UnsayableError(msg)
