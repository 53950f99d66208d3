"""Lines of output: answers and failures in the format of OpenAI's Batch API.

What is ours stands under the one key `streamnursery`: the digest of what was asked, attempts,
route, and of a failure the partial answer and whether another run may ask again.
"""

from typing import Any

import msgspec

from streamnursery.batch.lines import Api, BatchRow
from streamnursery.batch.passed_on import PassedOn
from streamnursery.values.completion import Completion
from streamnursery.values.errors import EngineError
from streamnursery.values.partial import Choice, ToolCall
from streamnursery.values.usage import Usage

_encode = msgspec.json.Encoder(enc_hook=str).encode


def answer_line(row: BatchRow, completion: Completion | PassedOn) -> bytes:
    """A whole answer as a line."""
    if isinstance(completion, PassedOn):
        return _passed_on_line(row, completion)
    body = body_of(completion, row.api)
    response = {"status_code": 200, "request_id": completion.request_id or "", "body": body}
    ours = {
        "digest": row.digest,
        "attempts": len(completion.attempts),
        "route": completion.route,
    }
    return _line(row.id, response, None, ours)


def body_of(completion: Completion, api: Api) -> dict[str, Any]:
    """An answer as the body of one that was not streamed, of a chat completion or a response."""
    return _response(completion) if api == "responses" else chat_body(completion)


def _passed_on_line(row: BatchRow, answer: PassedOn) -> bytes:
    response = {"status_code": 200, "request_id": answer.request_id or "", "body": answer.body}
    ours = {"digest": row.digest, "attempts": answer.attempts, "route": answer.route}
    return _line(row.id, response, None, ours)


def task_line(row: BatchRow, value: object, calls: int) -> bytes:
    """What a task has returned, as a line."""
    msgspec.json.encode(value)  # without the hook: what is not JSON raises
    response = {"status_code": 200, "request_id": "", "body": value}
    return _line(row.id, response, None, {"digest": row.digest, "calls": calls})


def failure_line(row: BatchRow, error: EngineError) -> bytes:
    """A failure as a line, with what was delivered of the answer."""
    ours: dict[str, Any] = {
        "digest": row.digest,
        "attempts": len(error.attempts),
        "category": error.category,
        "retryable": error.retryable,
    }
    if error.partial:
        ours["partial"] = [_message(choice) for choice in error.partial.choices]
        ours["usage"] = _usage(error.partial.usage)
    told = {"code": error.code or error.category, "message": str(error)}
    status = error.status
    if status is None or status < 400:
        return _line(row.id, None, told, ours)
    body = {"error": {**told, "type": error.category}}
    response = {"status_code": status, "request_id": error.request_id or "", "body": body}
    return _line(row.id, response, None, ours)


def _line(name: str, response: object, error: object, ours: object) -> bytes:
    line = {
        "id": f"batch_req_{name}",
        "custom_id": name,
        "response": response,
        "error": error,
        "streamnursery": ours,
    }
    return _encode(line) + b"\n"


def chat_body(completion: Completion) -> dict[str, Any]:
    """An answer as the body of one that was not streamed."""
    return {
        "id": completion.response_id or "",
        "object": "chat.completion",
        "model": completion.model or completion.route.partition("/")[2],
        "choices": [
            {
                "index": choice.index,
                "message": _whole_message(completion, place, choice),
                "finish_reason": choice.finish_reason,
            }
            for place, choice in enumerate(completion.choices)
        ],
        "usage": _usage(completion.usage),
    }


def _whole_message(completion: Completion, place: int, choice: Choice) -> dict[str, Any]:
    message = completion.message(place)
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    return message


def _message(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": choice.text or None}
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if choice.refusal:
        message["refusal"] = choice.refusal
    if choice.tool_calls:
        message["tool_calls"] = [_call(call) for call in choice.tool_calls]
    return message


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _response(completion: Completion) -> dict[str, Any]:
    output: list[dict[str, Any]] = []
    for choice in completion.choices:
        output += [
            {"type": "function_call", "call_id": c.id, "name": c.name, "arguments": c.arguments}
            for c in choice.tool_calls
        ]
        if choice.text:
            content = {"type": "output_text", "text": choice.text, "annotations": []}
            output.append({"type": "message", "role": "assistant", "content": [content]})
    usage = completion.usage or Usage()
    return {
        "id": completion.response_id or "",
        "object": "response",
        "status": "completed",
        "model": completion.model or completion.route.partition("/")[2],
        "output": output,
        "usage": {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "total_tokens": usage.total_tokens,
        },
    }


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None:
        return None
    found: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
    if usage.cached_tokens is not None:
        found["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        found["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return found
