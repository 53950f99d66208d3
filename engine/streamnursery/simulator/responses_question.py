"""What a client asks of the Responses API, read as a question of the chat API."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import msgspec

from streamnursery.simulator.question import ApiError, Question, question_from

Messages: TypeAlias = Sequence[Mapping[str, Any]]


def read_question(body: bytes, earlier: Callable[[str], Messages | None]) -> Question:
    """The question in a request body; `earlier` gives the conversation that led to a response.

    Raises:
        ApiError: with status 400.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):
        raise ApiError(400, "The request body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise ApiError(400, "The request body must be a JSON object.")
    return question_of_response(value, earlier)


def question_of_response(
    body: Mapping[str, Any], earlier: Callable[[str], Messages | None]
) -> Question:
    previous = body.get("previous_response_id")
    before: Messages | None = ()
    if previous is not None:
        before = earlier(previous) if isinstance(previous, str) else None
    if before is None:
        msg = f"Previous response with id '{str(previous)[:80]}' not found."
        code = "previous_response_not_found"
        raise ApiError(400, msg, param="previous_response_id", code=code)
    choice = body.get("tool_choice")
    if isinstance(choice, dict) and choice.get("type") == "function":
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    chat = {
        "model": body.get("model"),
        "messages": [*before, *_messages(body)],
        "stream": body.get("stream"),
        "max_tokens": body.get("max_output_tokens"),
        "tools": [_tool(tool) for tool in body.get("tools") or () if isinstance(tool, dict)],
        "tool_choice": choice,
    }
    return attrs.evolve(
        question_from(chat),
        include_usage=True,
        background=body.get("background") is True,
        store=body.get("store") is not False,
    )


def _messages(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(body.get("instructions"), str):
        yield {"role": "system", "content": body["instructions"]}
    given = body.get("input")
    if isinstance(given, str):
        yield {"role": "user", "content": given}
        return
    if not isinstance(given, list):
        msg = "Invalid type for 'input': expected a string or a list of items."
        raise ApiError(400, msg, param="input")
    for place, item in enumerate(given):
        if not isinstance(item, dict):
            msg = f"Invalid type for 'input[{place}]': expected an object."
            raise ApiError(400, msg, param=f"input[{place}]")
        yield _message(item)


def _message(item: dict[str, Any]) -> dict[str, Any]:
    match item.get("type"):
        case "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            return {"role": "assistant", "content": None, "tool_calls": [call]}
        case "function_call_output":
            output = item.get("output")
            return {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}
        case None | "message":
            return {"role": item.get("role"), "content": _content(item.get("content"))}
        case _:
            return {"role": "assistant", "content": None}


def _content(content: object) -> object:
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", "text": part.get("text")}
        if isinstance(part, dict) and part.get("type") in ("input_text", "output_text")
        else part
        for part in content
    ]


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    if tool.get("type") != "function" or "function" in tool:
        return tool
    return {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}
