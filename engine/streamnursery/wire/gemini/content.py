"""Messages of a `ChatRequest` as contents of the Gemini API.

Rule 1: system and developer messages are the `systemInstruction`, in their order.
Rule 2: the results of one turn's tools are one content, and are named by their functions:
        those stand in the message that called them.
Rule 3: parts in this API's own shape pass through untouched.
Rule 4: a signature comes back on the part that it signs: its call, or its piece of the text.
Rule 5: what this API has no word for is refused, never dropped.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from streamnursery.values.request import Message
from streamnursery.values.returned import KEY, Returned, ReturnedPart, returned
from streamnursery.wire.chat_messages import UnsayableError, calls_of, inline_data, parts_of
from streamnursery.wire.gemini.calls import MADE
from streamnursery.wire.json_text import read_json

DIALECT = "gemini"
Part: TypeAlias = dict[str, Any]

UNSIGNED = "skip_thought_signature_validator"
"""Google's own word for a call that another model has made: Gemini 3 refuses one without a
signature."""
_SIGNATURE = "thoughtSignature"
_NOT_RETURNED = frozenset({
    "citationMetadata",
    "groundingMetadata",
    "logprobsResult",
    "urlContextMetadata",
})
_UNSIGNING = re.compile(r"gemini-[12](?:\D|$)")
"""Models that sign nothing, or do not ask for it back."""


def instruction_and_contents(
    messages: Sequence[Message], model: str
) -> tuple[list[Part], list[Part]]:
    """The parts of the system's instruction, and the contents.

    Raises:
        UnsayableError: this API has no form for a message.
    """
    told = _ContentsBuilder(_UNSIGNING.search(model) is None)
    for place, message in enumerate(messages):
        told.add(message, place)
    return told.system, told.contents


class _ContentsBuilder:
    def __init__(self, signs: bool) -> None:
        self.system: list[Part] = []
        self.contents: list[Part] = []
        self._signs = signs
        self._names: dict[str, str] = {}
        """Of the functions, by the ids of their calls."""

    def add(self, message: Message, place: int) -> None:
        content = message.get("content")
        match message["role"]:
            case "system" | "developer":
                self.system += _parts(content, place)
            case "user":
                self._append("user", list(_parts(content, place)))
            case "tool":
                self._append("user", [self._result(message, place)])
            case "assistant":
                self._append("model", self._assistant(message, place))
            case role:
                msg = (
                    f"messages[{place}]: the Gemini API has no role {role!r:.40}; send system, "
                    "user, assistant or tool"
                )
                raise UnsayableError(msg)

    def _append(self, role: str, parts: list[Part]) -> None:
        if not parts:
            return
        last = self.contents[-1] if self.contents else None
        both_results = last is not None and all(
            "functionResponse" in part for part in (last["parts"][-1], parts[0])
        )
        if last is not None and last["role"] == role and both_results:
            last["parts"] += parts
        else:
            self.contents.append({"role": role, "parts": parts})

    def _result(self, message: Message, place: int) -> Part:
        call_id = message.get("tool_call_id")
        name = self._names.get(call_id) if isinstance(call_id, str) else None
        if name is None:
            msg = (
                f"messages[{place}]: role 'tool' needs the 'tool_call_id' of a call in an earlier "
                "message: the Gemini API asks for the function's name"
            )
            raise UnsayableError(msg)
        content = message.get("content")
        if not isinstance(content, str | None):
            parts = list(_parts(content, place))
            if any(part.keys() != {"text"} for part in parts):
                msg = f"messages[{place}]: the result of a tool is text in the Gemini API"
                raise UnsayableError(msg)
            content = "\n".join(part["text"] for part in parts)
        found = read_json((content or "").encode("utf-8", "replace"))
        response = found if isinstance(found, dict) else {"result": content or ""}
        return {"functionResponse": {**_id(call_id), "name": name, "response": response}}

    def _assistant(self, message: Message, place: int) -> list[Part]:
        said = list(_parts(message.get("content"), place))
        if isinstance(message.get("refusal"), str) and message["refusal"]:
            said.append({"text": message["refusal"]})
        calls = [
            self._call(call_id, name, arguments, place)
            for call_id, name, arguments in calls_of(message, place, "Gemini API")
        ]
        held = returned(message, DIALECT) if KEY in message else Returned("")
        if held.dialect != DIALECT and calls and self._signs:
            calls[0][_SIGNATURE] = UNSIGNED
        for part in held.parts:
            if part.tool is not None and part.tool < len(calls):
                calls[part.tool][part.kind] = part.data
        return list(_woven(said, calls, held.parts))

    def _call(self, call_id: object, name: object, arguments: dict[str, Any], place: int) -> Part:
        if not isinstance(name, str):
            msg = f"messages[{place}]: a tool call needs a 'function' with name and arguments"
            raise UnsayableError(msg)
        if isinstance(call_id, str):
            self._names[call_id] = name
        return {"functionCall": {**_id(call_id), "name": name, "args": arguments}}


def _id(call_id: object) -> dict[str, Any]:
    """The provider's own id of a call; one that was made here means nothing to it."""
    own = isinstance(call_id, str) and call_id and not call_id.startswith(MADE)
    return {"id": call_id} if own else {}


def _woven(said: list[Part], calls: list[Part], parts: Sequence[ReturnedPart]) -> Iterator[Part]:
    """Texts and calls with the parts at their places between them."""
    text = said[0]["text"] if len(said) == 1 and said[0].keys() == {"text"} else ""
    told = called = 0
    for part in parts:
        if part.tool is not None or part.kind in _NOT_RETURNED or not isinstance(part.data, dict):
            continue
        own = part.data.get("characters") if part.kind == _SIGNATURE else 0
        own = own if isinstance(own, int) else 0
        begins = max(told, part.text - own)
        yield from _text(text[told:begins])
        yield from calls[called : part.tool_calls]
        called = max(called, part.tool_calls)
        if part.kind == _SIGNATURE:
            signed = text[begins : part.text]
            yield {"text": signed, _SIGNATURE: part.data.get("signature")}
        else:
            yield part.data
        told = max(told, part.text)
    if text:
        yield from _text(text[told:])
    else:
        yield from said
    yield from calls[called:]


def _text(text: str) -> Iterator[Part]:
    if text:
        yield {"text": text}


# Parts. -----------------------------------------------------------------------------------------


def _parts(content: object, place: int) -> Iterator[Part]:
    for part in parts_of(content, place):
        yield from _part(part, place)


def _part(part: Mapping[str, Any], place: int) -> Iterator[Part]:
    match part.get("type"):
        case "text" | "refusal" as kind:
            text = part.get(kind)
            yield from _text(text if isinstance(text, str) else "")
        case "image_url":
            image = part.get("image_url")
            yield _data(image.get("url") if isinstance(image, Mapping) else image, place)
        case "file" if isinstance(file := part.get("file"), Mapping):
            yield _data(file.get("file_data") or file.get("file_id"), place)
        case "input_audio" if isinstance(audio := part.get("input_audio"), Mapping):
            kind = f"audio/{audio.get('format')}"
            yield {"inlineData": {"mimeType": kind, "data": audio.get("data")}}
        case None:
            yield dict(part)  # one of this API's own
        case kind:
            msg = f"messages[{place}]: the Gemini API has no part of type {kind!r:.40}"
            raise UnsayableError(msg)


def _data(url: object, place: int) -> Part:
    if not isinstance(url, str) or not url:
        msg = f"messages[{place}]: an image or a file needs its data or its url"
        raise UnsayableError(msg)
    inline = inline_data(url, place)
    if inline is None:
        return {"fileData": {"fileUri": url}}
    return {"inlineData": {"mimeType": inline[0], "data": inline[1]}}
