"""Messages of a `ChatRequest` as steps of the Interactions API.

Rule 1: system and developer messages are the `system_instruction`, which is text.
Rule 2: what the model said, thought and called are steps of their own, in the order in which they
        came; a thought comes back with its signature, unread.
Rule 3: content and steps in this API's own shape pass through untouched.
Rule 4: what this API has no word for is refused, never dropped.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from streamnursery.values.request import Message
from streamnursery.values.returned import ReturnedPart, returned
from streamnursery.wire.chat_messages import UnsayableError, calls_of, inline_data, parts_of

DIALECT = "gemini-interactions"
Step: TypeAlias = dict[str, Any]

CONTENT = frozenset({"audio", "document", "image", "video"})
"""Content of the model's own output that is handed on unread."""
_NOT_RETURNED = frozenset({"text_annotation_delta"})


def instruction_and_steps(messages: Sequence[Message]) -> tuple[str, list[Step]]:
    """The system's instruction, and the input.

    Raises:
        UnsayableError: this API has no form for a message.
    """
    told = _StepsBuilder()
    for place, message in enumerate(messages):
        told.add(message, place)
    return "\n\n".join(told.system), told.steps


class _StepsBuilder:
    def __init__(self) -> None:
        self.system: list[str] = []
        self.steps: list[Step] = []
        self._names: dict[str, str] = {}
        """Of the functions, by the ids of their calls."""

    def add(self, message: Message, place: int) -> None:
        content = message.get("content")
        match message["role"]:
            case "system" | "developer":
                self.system.append(_plain_text(content, place, "the system's instruction"))
            case "user":
                self._say("user_input", list(_parts(content, place)))
            case "tool":
                self.steps.append(self._result(message, place))
            case "assistant":
                self._assistant(message, place)
            case role:
                msg = (
                    f"messages[{place}]: the Interactions API has no role {role!r:.40}; send "
                    "system, user, assistant or tool"
                )
                raise UnsayableError(msg)

    def _say(self, kind: str, content: list[Step]) -> None:
        if not content:
            return
        last = self.steps[-1] if self.steps else None
        if kind == "model_output" and last is not None and last.get("type") == kind:
            last["content"] = [*last["content"], *content]
        else:
            self.steps.append({"type": kind, "content": content})

    def _result(self, message: Message, place: int) -> Step:
        call_id = message.get("tool_call_id")
        if not isinstance(call_id, str) or not call_id:
            msg = f"messages[{place}]: role 'tool' needs the 'tool_call_id' of a call"
            raise UnsayableError(msg)
        result = _plain_text(message.get("content"), place, "the result of a tool")
        told: Step = {"type": "function_result", "call_id": call_id, "result": result}
        name = self._names.get(call_id)
        return told if name is None else {**told, "name": name}

    def _assistant(self, message: Message, place: int) -> None:
        said = list(_parts(message.get("content"), place))
        if isinstance(message.get("refusal"), str) and message["refusal"]:
            said.append({"type": "text", "text": message["refusal"]})
        calls = [
            self._call(call_id, name, arguments, place)
            for call_id, name, arguments in calls_of(message, place, "Interactions API")
        ]
        own = [
            part
            for part in returned(message, DIALECT).parts
            if part.kind not in _NOT_RETURNED and isinstance(part.data, dict)
        ]
        self._weave(said, calls, own)

    def _weave(self, said: list[Step], calls: list[Step], own: Sequence[ReturnedPart]) -> None:
        """Texts and calls with the parts at their places between them."""
        plain = len(said) == 1 and said[0].keys() == {"type", "text"}
        text = said[0]["text"] if plain else ""
        told = called = 0
        for part in own:
            self._say("model_output", _text(text[told : part.text]))
            told = max(told, part.text)
            self.steps += calls[called : part.tool_calls]
            called = max(called, part.tool_calls)
            if part.kind in CONTENT:
                self._say("model_output", [part.data])
            else:
                self.steps.append(part.data)
        self._say("model_output", _text(text[told:]) if plain else said)
        self.steps += calls[called:]

    def _call(self, call_id: object, name: object, arguments: dict[str, Any], place: int) -> Step:
        if not isinstance(name, str) or not isinstance(call_id, str) or not call_id:
            msg = f"messages[{place}]: the call of {name!r:.80} needs an 'id' and a name"
            raise UnsayableError(msg)
        self._names[call_id] = name
        return {"type": "function_call", "id": call_id, "name": name, "arguments": arguments}


# Content. ---------------------------------------------------------------------------------------


def _text(text: str) -> list[Step]:
    return [{"type": "text", "text": text}] if text else []


def _plain_text(content: object, place: int, what: str) -> str:
    parts = list(_parts(content, place))
    if any(part.get("type") != "text" for part in parts):
        msg = f"messages[{place}]: {what} is text in the Interactions API"
        raise UnsayableError(msg)
    return "\n".join(part["text"] for part in parts)


def _parts(content: object, place: int) -> Iterator[Step]:
    for part in parts_of(content, place):
        yield from _part(part, place)


def _part(part: Mapping[str, Any], place: int) -> Iterator[Step]:
    match part.get("type"):
        case "text" | "refusal" as kind:
            text = part.get(kind)
            yield from _text(text if isinstance(text, str) else "")
        case "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, Mapping) else image
            yield _media("image", url, place)
        case "file" if isinstance(file := part.get("file"), Mapping):
            yield _media("document", file.get("file_data") or file.get("file_id"), place)
        case "input_audio" if isinstance(audio := part.get("input_audio"), Mapping):
            kind = f"audio/{audio.get('format')}"
            yield {"type": "audio", "mime_type": kind, "data": audio.get("data")}
        case kind if kind in CONTENT:
            yield dict(part)  # one of this API's own
        case kind:
            msg = f"messages[{place}]: the Interactions API has no part of type {kind!r:.40}"
            raise UnsayableError(msg)


def _media(kind: str, url: object, place: int) -> Step:
    if not isinstance(url, str) or not url:
        msg = f"messages[{place}]: an image or a file needs its data or its url"
        raise UnsayableError(msg)
    inline = inline_data(url, place)
    if inline is None:
        return {"type": kind, "uri": url}
    return {"type": kind, "mime_type": inline[0], "data": inline[1]}
