"""The Responses API from its server's side: requests read as questions of the chat API, and answers
written as numbered events, however they are framed: server-sent events over HTTP, messages of a
WebSocket. As in `openai_chat.server`, nothing is shared with the client's half.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, TypeAlias

import attrs
import msgspec

from streamnursery.wire.openai_chat.server import (
    ApiError,
    ChatQuestion,
    Part,
    json_schema,
    question_from,
)

Messages: TypeAlias = Sequence[Mapping[str, Any]]
_encode = msgspec.json.encode


_KINDS: dict[Part, str] = {
    "content": "message",
    "refusal": "message",
    "reasoning_content": "reasoning",
    "reasoning": "reasoning",
    "tool_calls": "function_call",
}
_SPOKEN: dict[Part, tuple[str, str, str]] = {
    "content": ("output_text", "text", "response.output_text"),
    "refusal": ("refusal", "refusal", "response.refusal"),
    "reasoning_content": ("reasoning_text", "text", "response.reasoning_text"),
    "reasoning": ("reasoning_text", "text", "response.reasoning_text"),
}
"""Of each part of a reply: the part's type, its field, and the stem of its events."""


def question_of_response(
    body: Mapping[str, Any], earlier: Callable[[str], Messages | None]
) -> ChatQuestion:
    """The question in a request body's object; `earlier` gives the conversation that led to a
    response.

    Raises:
        ApiError: with status 400.
    """
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
    text = body.get("text")
    wanted = text.get("format") if isinstance(text, dict) else None
    return attrs.evolve(
        question_from(chat),
        json_schema=json_schema(wanted, "text.format"),
        include_usage=True,
        background=body.get("background") is True,
        store=body.get("store") is not False,
        seals="reasoning.encrypted_content" in (body.get("include") or ()),
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
        case "reasoning":
            _check_seal(item)
            return {"role": "assistant", "content": None}
        case None | "message":
            return {"role": item.get("role"), "content": _content(item.get("content"))}
        case _:
            return {"role": "assistant", "content": None}


def seal(text: str) -> str:
    """Reasoning as its server alone can read it; here a digest that says whose it is."""
    return blake2b(text.encode("utf-8", "replace"), key=b"streamnursery-sim").hexdigest()


def _check_seal(item: dict[str, Any]) -> None:
    sealed = item.get("encrypted_content")
    parts = item.get("content")
    texts = [p.get("text", "") for p in (parts if isinstance(parts, list) else ()) if p]
    if sealed is not None and sealed != seal("".join(texts)):
        msg = f"The encrypted content for item {str(item.get('id'))[:80]} could not be verified."
        raise ApiError(400, msg, code="invalid_encrypted_content")


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


@attrs.define
class _Item:
    """A piece of output as it is sent."""

    index: int
    part: Part
    content: dict[str, Any]
    """The item in its finished form."""
    pieces: list[str] = attrs.field(factory=list)


class ResponseWriter:
    """One response, event by event."""

    def __init__(self, id: str, created: int, question: ChatQuestion) -> None:  # noqa: A002
        self._background = question.background
        self._seals = question.seals
        self._number = 0
        self._item: _Item | None = None
        self._output: list[dict[str, Any]] = []
        self.response: dict[str, Any] = {
            "id": id,
            "object": "response",
            "created_at": created,
            "status": "in_progress",
            "background": question.background,
            "error": None,
            "incomplete_details": None,
            "model": question.model,
            "output": [],
            "usage": None,
        }

    def opening(self) -> list[bytes]:
        kinds = ["created", *(["queued"] if self._background else []), "in_progress"]
        return [self._event(f"response.{kind}", response=self.response) for kind in kinds]

    def token(self, part: Part, content: Any) -> list[bytes]:
        """The events of a token, those that open its item and end the one before among them."""
        told: list[bytes] = []
        opens_call = part == "tool_calls" and "id" in content[0]
        if self._item is None or self._item.part != part or opens_call:
            told += self._end_item()
            told += self._begin_item(part, content)
        if not opens_call:
            told.append(self._piece(part, content))
        return told

    def closing(self, finish: str | None, usage: object = None) -> list[bytes]:
        """The end of the last item, and of the response: none without `finish`, the reason in
        the words of the chat API. `usage` is the API's, or `msgspec.Raw`."""
        told = self._end_item()
        if finish is None:
            return told
        reasons = {"length": "max_output_tokens", "content_filter": "content_filter"}
        status = "incomplete" if finish in reasons else "completed"
        details = {"reason": reasons[finish]} if finish in reasons else None
        self.response |= {"status": status, "incomplete_details": details, "usage": usage}
        self.response["output"] = self._output
        return [*told, self._event(f"response.{status}", response=self.response)]

    def mistake(self, code: str | int | None, message: str) -> bytes:
        return self._event("error", code=code, message=message, param=None)

    def cancelled(self) -> bytes:
        """The last event of a response that its client has cancelled."""
        self.response |= {"status": "cancelled", "output": self._output}
        return self._event("response.cancelled", response=self.response)

    def _begin_item(self, part: Part, content: Any) -> list[bytes]:
        index, kind = len(self._output), _KINDS[part]
        stem = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        item: dict[str, Any] = {"id": f"{stem}_{self.response['id']}_{index}", "type": kind}
        if kind == "function_call":
            call = content[0]
            item |= {"call_id": call["id"], "name": call["function"]["name"], "arguments": ""}
        else:
            item |= {"content": []} | ({"role": "assistant"} if kind == "message" else {})
        self._item = _Item(index, part, {**item, "status": "in_progress"})
        self._output.append(self._item.content)
        added = self._event(
            "response.output_item.added", output_index=index, item=self._item.content
        )
        if kind == "function_call":
            return [added]
        return [added, self._part_event("added", self._item, "")]

    def _piece(self, part: Part, content: Any) -> bytes:
        item = self._item
        assert item is not None
        piece = content[0]["function"]["arguments"] if part == "tool_calls" else content
        item.pieces.append(piece)
        where = {"item_id": item.content["id"], "output_index": item.index}
        if part == "tool_calls":
            return self._event("response.function_call_arguments.delta", **where, delta=piece)
        return self._event(f"{_SPOKEN[part][2]}.delta", **where, content_index=0, delta=piece)

    def _end_item(self) -> list[bytes]:
        item, self._item = self._item, None
        if item is None:
            return []
        whole = "".join(item.pieces)
        where = {"item_id": item.content["id"], "output_index": item.index}
        if item.part == "tool_calls":
            item.content["arguments"] = whole
            told = [self._event("response.function_call_arguments.done", **where, arguments=whole)]
        else:
            kind, field, stem = _SPOKEN[item.part]
            item.content["content"] = [{"type": kind, field: whole}]
            done = {**where, "content_index": 0, field: whole}
            told = [self._event(f"{stem}.done", **done), self._part_event("done", item, whole)]
        if self._seals and item.content["type"] == "reasoning":
            item.content["encrypted_content"] = seal(whole)
        item.content["status"] = "completed"
        what = "response.output_item.done"
        return [*told, self._event(what, output_index=item.index, item=item.content)]

    def _part_event(self, what: str, item: _Item, text: str) -> bytes:
        kind, field, _ = _SPOKEN[item.part]
        return self._event(
            f"response.content_part.{what}",
            item_id=item.content["id"],
            output_index=item.index,
            content_index=0,
            part={"type": kind, field: text},
        )

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        return _encode(event)


def as_realtime(event: bytes) -> bytes:
    """The end of a response in the words of the realtime API."""
    value = msgspec.json.decode(event)
    if value["type"] not in ("response.completed", "response.incomplete", "response.cancelled"):
        return event
    return _encode({**value, "type": "response.done"})
