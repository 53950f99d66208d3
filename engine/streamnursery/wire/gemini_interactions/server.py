"""The Interactions API from its server's side: requests read as questions of the chat API, refused
where Google refuses them, and answers written as its events. As in `openai_chat.server`, nothing
is shared with the client's half.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NoReturn, TypeAlias

import attrs
import msgspec

from streamnursery.wire.openai_chat.server import ApiError, ChatQuestion, Part, question_from

Messages: TypeAlias = Sequence[Mapping[str, Any]]
_encode = msgspec.json.encode
_FIELDS = frozenset([
    "background",
    "generation_config",
    "input",
    "labels",
    "model",
    "previous_interaction_id",
    "response_format",
    "response_modalities",
    "safety_settings",
    "service_tier",
    "store",
    "stream",
    "system_instruction",
    "tools",
])
_STATUSES = {"stop": "completed", "tool_calls": "requires_action", "length": "incomplete"}
_STATUSES |= {"content_filter": "incomplete"}
_KINDS: dict[Part, str] = {
    "content": "model_output",
    "refusal": "model_output",
    "reasoning_content": "thought",
    "reasoning": "thought",
    "tool_calls": "function_call",
}


def question_of_interaction(
    body: Mapping[str, Any], earlier: Callable[[str], Messages | None]
) -> ChatQuestion:
    """The question in a request body's object; `earlier` gives the conversation that led to an
    interaction.

    Raises:
        ApiError: with status 400, or 404 for an unknown interaction.
    """
    for name in body:
        if name not in _FIELDS:
            _refuse(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    background, store = body.get("background") is True, body.get("store") is not False
    if background and not store:
        _refuse("background interactions must be stored: set store=true.")
    previous = body.get("previous_interaction_id")
    before: Messages | None = ()
    if previous is not None:
        before = earlier(previous) if isinstance(previous, str) else None
    if before is None:
        raise ApiError(404, f"Interaction {str(previous)[:80]} not found.")
    config = body.get("generation_config") or {}
    steps = _steps(body.get("input"))
    _check_thoughts(steps, thinking=config.get("thinking_summaries") == "auto")
    chat = {
        "model": body.get("model"),
        "messages": [*before, *_system(body), *_messages(steps)],
        "stream": body.get("stream"),
        "seed": config.get("seed"),
        "max_tokens": config.get("max_output_tokens"),
        "stop": config.get("stop_sequences"),
        "tools": list(_tools(body.get("tools"))),
        "tool_choice": _tool_choice(config.get("tool_choice")),
    }
    return attrs.evolve(question_from(chat), include_usage=True, background=background, store=store)


def _refuse(message: str) -> NoReturn:
    raise ApiError(400, message)


def _steps(given: object) -> list[dict[str, Any]]:
    if isinstance(given, str):
        given = [{"type": "user_input", "content": [{"type": "text", "text": given}]}]
    if not isinstance(given, list) or not given:
        _refuse("input is not specified")
    for place, step in enumerate(given):
        if not isinstance(step, dict) or not isinstance(step.get("type"), str):
            _refuse(f"input[{place}]: a step needs a type")
    calls = {step.get("id") for step in given if step["type"] == "function_call"}
    results = {step.get("call_id") for step in given if step["type"] == "function_result"}
    if calls - results:
        _refuse(f"input: function_call {sorted(map(str, calls - results))[0]} has no result")
    return given


def _system(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(body.get("system_instruction"), str):
        yield {"role": "system", "content": body["system_instruction"]}


def _messages(steps: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for step in steps:
        match step["type"]:
            case "user_input":
                yield {"role": "user", "content": _texts(step)}
            case "model_output":
                yield {"role": "assistant", "content": _texts(step)}
            case "function_call":
                arguments = _encode(step.get("arguments") or {}).decode()
                function = {"name": step.get("name"), "arguments": arguments}
                call = {"id": step.get("id"), "type": "function", "function": function}
                yield {"role": "assistant", "content": None, "tool_calls": [call]}
            case "function_result":
                result = step.get("result")
                told = result if isinstance(result, str) else _encode(result).decode()
                yield {"role": "tool", "tool_call_id": step.get("call_id"), "content": told}
            case _:
                yield {"role": "assistant", "content": None}


def _texts(step: Mapping[str, Any]) -> str:
    parts = step.get("content")
    found = [p for p in (parts if isinstance(parts, list) else ()) if isinstance(p, dict)]
    return "".join(str(part.get("text", "")) for part in found)


def _tools(tools: object) -> Iterator[dict[str, Any]]:
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type") == "function":
            yield {"type": "function", "function": {k: v for k, v in tool.items() if k != "type"}}


def _tool_choice(choice: object) -> object:
    if choice == "any":
        return "required"
    allowed = choice.get("allowed_tools") if isinstance(choice, dict) else None
    names = allowed.get("tools") if isinstance(allowed, dict) else None
    return {"type": "function", "function": {"name": names[0]}} if names else None


# Thoughts. --------------------------------------------------------------------------------------


def sign(summary: str) -> str:
    """The signature of a thought; here a digest of its summary, which a client can get wrong."""
    digest = blake2b(summary.encode("utf-8", "replace"), key=b"streamnursery-sim", digest_size=24)
    return b64encode(digest.digest()).decode()


def _check_thoughts(steps: list[dict[str, Any]], *, thinking: bool) -> None:
    """Every thought has its signature, and while the model thinks, a turn that calls a function
    begins with one."""
    turn: list[str] = []
    for place, step in enumerate(steps):
        kind = step["type"]
        if kind == "user_input":
            turn = []
        summary = _texts({"content": step.get("summary")})
        if kind == "thought" and step.get("signature") != sign(summary):
            _refuse(f"input[{place}]: the signature of the thought is not valid.")
        if kind == "function_call" and thinking and "thought" not in turn:
            _refuse(f"input[{place}]: function_call is missing the thought before it.")
        turn.append(kind)


# Answers. ---------------------------------------------------------------------------------------


@attrs.define
class _Step:
    """A step as it is sent."""

    index: int
    part: Part
    content: dict[str, Any]
    """In its finished form."""
    pieces: list[str] = attrs.field(factory=list)


class InteractionWriter:
    """One interaction, event by event."""

    def __init__(self, id: str, created: str, question: ChatQuestion) -> None:  # noqa: A002
        self._number = 0
        self._step: _Step | None = None
        self._steps: list[dict[str, Any]] = []
        self.interaction: dict[str, Any] = {
            "id": id,
            "object": "interaction",
            "created": created,
            "model": question.model,
            "status": "in_progress",
        }

    def opening(self) -> list[bytes]:
        status = {"interaction_id": self.interaction["id"], "status": "in_progress"}
        return [
            self._event("interaction.created", interaction=self.interaction),
            self._event("interaction.status_update", **status),
        ]

    def token(self, part: Part, content: Any) -> list[bytes]:
        """The events of a token, those that begin its step and end the one before among them."""
        told: list[bytes] = []
        opens_call = part == "tool_calls" and "id" in content[0]
        if self._step is None or _KINDS[self._step.part] != _KINDS[part] or opens_call:
            told += self._end_step()
            told.append(self._begin_step(part, content))
        if not opens_call:
            told.append(self._piece(part, content))
        return told

    def closing(self, finish: str | None, usage: object = None) -> list[bytes]:
        """The end of the last step, and of the interaction: none without `finish`, the reason in
        the words of the chat API. `usage` is the API's, or `msgspec.Raw`."""
        told = self._end_step()
        if finish is None:
            return told
        self.interaction |= {"status": _STATUSES.get(finish, "completed")}
        self.interaction |= {} if usage is None else {"usage": usage}
        return [*told, self._event("interaction.completed", interaction=self.interaction)]

    def whole(self) -> bytes:
        """An interaction that is not streamed."""
        return _encode({**self.interaction, "steps": self._steps})

    def mistake(self, code: str | int | None, message: str) -> bytes:
        return self._event("error", error={"code": str(code or "internal"), "message": message})

    def cancelled(self) -> bytes:
        """The last event of an interaction that its client has cancelled."""
        self.interaction |= {"status": "cancelled"}
        return self._event("interaction.completed", interaction=self.interaction)

    def _begin_step(self, part: Part, content: Any) -> bytes:
        step: dict[str, Any] = {"type": _KINDS[part]}
        if part == "tool_calls":
            call = content[0]
            step |= {"id": call["id"], "name": call["function"]["name"], "arguments": {}}
        self._step = _Step(len(self._steps), part, step)
        self._steps.append(step)
        return self._event("step.start", index=self._step.index, step=step)

    def _piece(self, part: Part, content: Any) -> bytes:
        step = self._step
        assert step is not None
        piece = content[0]["function"]["arguments"] if part == "tool_calls" else content
        step.pieces.append(piece)
        delta: dict[str, Any] = {"type": "text", "text": piece}
        if part == "tool_calls":
            delta = {"type": "arguments_delta", "arguments": piece}
        elif _KINDS[part] == "thought":
            delta = {"type": "thought_summary", "content": delta}
        return self._event("step.delta", index=step.index, delta=delta)

    def _end_step(self) -> list[bytes]:
        step, self._step = self._step, None
        if step is None:
            return []
        text, told = "".join(step.pieces), []
        match step.content["type"]:
            case "function_call":
                step.content["arguments"] = _object(text)
            case "thought":
                signature = sign(text)
                parts = [{"type": "text", "text": piece} for piece in step.pieces]
                step.content |= {"summary": parts, "signature": signature}
                delta = {"type": "thought_signature", "signature": signature}
                told.append(self._event("step.delta", index=step.index, delta=delta))
            case _:
                step.content["content"] = [{"type": "text", "text": text}]
        return [*told, self._event("step.stop", index=step.index)]

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"event_type": kind, "event_id": f"e{self._number}", **fields}
        self._number += 1
        return _encode(event)


def _object(text: str) -> Any:
    """The arguments of a call; those that broke off are sent as text."""
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {"text": text}
    return value if isinstance(value, dict) else {"value": value}
