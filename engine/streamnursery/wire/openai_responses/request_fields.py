"""A `ChatRequest` in the words of the Responses API.

Rule 1: what the chat shape can say and this API can say too is translated; parts and tools that
        are in this API's own shape already pass through untouched.
Rule 2: what this API has no word for (`n`, `stop`, `seed`) is refused, never dropped. A server
        that knows it all the same gets it through `extra`, which is merged last and wins.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamnursery.values.request import ChatRequest, Message
from streamnursery.values.returned import KEY, returned
from streamnursery.values.settings import Endpoint
from streamnursery.wire.dialect import EndpointOption

DIALECT = "openai-responses"

MAX_TOKENS_FIELD = EndpointOption(
    "max_tokens_field",
    "max_output_tokens",
    "The field of a request body that bounds the answer. The chat API's own names stand for "
    "`max_output_tokens`.",
    pattern=r"[A-Za-z_][A-Za-z0-9_]{0,63}",
    expected="the name of a request field",
)
_SAME = ("temperature", "top_p", "user", "metadata")
"""Fields that keep their name and their shape."""
_UNKNOWN = ("stop", "seed")


def request_fields(request: ChatRequest, endpoint: Endpoint, model: str) -> dict[str, object] | str:
    """The fields of a request body, or what is wrong with the request."""
    problem = _problem(request)
    if problem is not None:
        return problem
    try:
        fields: dict[str, object] = {"model": model, "input": list(_items(request.messages))}
    except _UnsayableError as flaw:
        return str(flaw)
    fields[_max_tokens_field(endpoint)] = request.max_tokens
    fields |= {name: getattr(request, name) for name in _SAME}
    fields["tools"] = None if request.tools is None else [_tool(tool) for tool in request.tools]
    fields["tool_choice"] = _tool_choice(request.tool_choice)
    if request.reasoning_effort is not None:
        fields["reasoning"] = {"effort": request.reasoning_effort}
    if request.response_format is not None:
        fields["text"] = {"format": _format(request.response_format)}
    fields = {name: value for name, value in fields.items() if value is not None}
    return fields | dict(request.extra)


def _max_tokens_field(endpoint: Endpoint) -> str:
    """This API's own name, where the configuration has none but the chat API's."""
    name: str = MAX_TOKENS_FIELD.of(endpoint)
    return "max_output_tokens" if name in {"max_tokens", "max_completion_tokens"} else name


class _UnsayableError(Exception):
    """A message that this API has no words for; the text says which."""


def _problem(request: ChatRequest) -> str | None:
    unknown = [name for name in _UNKNOWN if getattr(request, name) is not None]
    if (request.n or 1) > 1:
        unknown.insert(0, "n > 1")
    if not unknown:
        return None
    return (
        f"the Responses API has no {' and no '.join(unknown)}; leave it out, put it into extra={{"
        "...}} if this server knows it, or use an endpoint whose dialect is openai-chat"
    )


# Messages. ------------------------------------------------------------------------------------


def _items(messages: Sequence[Message]) -> Iterator[object]:
    for place, message in enumerate(messages):
        role = message["role"]
        content = message.get("content")
        if role == "tool":
            yield _tool_output(message, place)
        elif role == "function":
            msg = (
                f"messages[{place}]: a message of role 'function' has no place in the Responses "
                "API; send it as role 'tool' with the tool_call_id it answers"
            )
            raise _UnsayableError(msg)
        else:
            said = "output_text" if role == "assistant" else "input_text"
            before, behind = _returned_items(message)
            yield from before
            if content or not (message.get("tool_calls") or before or behind):
                yield {"role": role, "content": _content(content, said)}
            yield from behind


def _returned_items(message: Message) -> tuple[list[object], list[object]]:
    """Items of an earlier answer of this API, such as its encrypted reasoning: those that came
    before its text, and those behind it with the tool calls between them."""
    calls = list(_calls(message))
    parts = returned(message, DIALECT).parts if KEY in message else ()
    before: list[object] = []
    behind: list[object] = []
    told = 0
    for part in parts:
        if part.kind == "logprobs" or not isinstance(part.data, Mapping):
            continue
        if not part.text and not part.tool_calls:
            before.append(part.data)
        else:
            behind += calls[told : part.tool_calls]
            told = max(told, part.tool_calls)
            behind.append(part.data)
    return before, [*behind, *calls[told:]]


def _tool_output(message: Message, place: int) -> object:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str):
        msg = f"messages[{place}]: role 'tool' needs the 'tool_call_id' of the call it answers"
        raise _UnsayableError(msg)
    content = message.get("content")
    output = "" if content is None else _content(content, "input_text")
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def _content(content: object, said: str) -> object:
    if content is None:
        return ""
    if isinstance(content, str) or not isinstance(content, Sequence):
        return content
    return [_part(part, said) for part in content]


def _part(part: object, said: str) -> object:
    """A chat content part; `said` is the type of text from this side of the conversation."""
    if not isinstance(part, Mapping):
        return part
    match part.get("type"):
        case "text":
            return {"type": said, "text": part.get("text")}
        case "image_url":
            image = part.get("image_url")
            if not isinstance(image, Mapping):
                return {"type": "input_image", "image_url": image}
            detail = {"detail": image["detail"]} if "detail" in image else {}
            return {"type": "input_image", "image_url": image.get("url"), **detail}
        case "file" if isinstance(part.get("file"), Mapping):
            return {"type": "input_file", **part["file"]}
        case _:
            return part


def _calls(message: Message) -> Iterator[object]:
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, Sequence) and not isinstance(calls, str) else ():
        if not isinstance(call, Mapping):
            yield call
        elif isinstance(custom := call.get("custom"), Mapping):
            yield {
                "type": "custom_tool_call",
                "call_id": call.get("id"),
                "name": custom.get("name"),
                "input": custom.get("input", ""),
            }
        else:
            function = call.get("function")
            inner = function if isinstance(function, Mapping) else {}
            yield {
                "type": "function_call",
                "call_id": call.get("id"),
                "name": inner.get("name"),
                "arguments": inner.get("arguments", ""),
            }


# Tools and formats: what stands in its own box in the chat shape is flat here. ------------


def _tool(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    flat = _flat(tool, "function")
    if flat is not tool:
        # Left out, it is false in the chat API and true in this one.
        return {"strict": False, **flat}
    flat = _flat(tool, "custom")
    if isinstance(flat.get("format"), Mapping):
        flat = {**flat, "format": _flat(flat["format"], "grammar")}
    return flat


def _tool_choice(choice: object) -> object:
    if not isinstance(choice, Mapping):
        return choice
    flat = choice
    for kind in ("function", "custom", "allowed_tools"):
        flat = _flat(flat, kind)
    tools = flat.get("tools")
    if isinstance(tools, Sequence) and not isinstance(tools, str):
        flat = {**flat, "tools": [_flat(t, "function") for t in tools if isinstance(t, Mapping)]}
    return flat


def _format(response_format: Mapping[str, Any]) -> Mapping[str, Any]:
    return _flat(response_format, "json_schema")


def _flat(boxed: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """`{"type": kind, kind: {...}}` without its box; anything else as it is."""
    inner = boxed.get(kind)
    if boxed.get("type") != kind or not isinstance(inner, Mapping):
        return boxed
    return {"type": kind, **inner}
