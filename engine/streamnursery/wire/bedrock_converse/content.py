"""Messages of a `ChatRequest` as those of the Converse API.

Rule 1: system and developer messages are the `system` blocks, which are text.
Rule 2: turns alternate: messages of one role that follow each other are one, and the results of
        tools stand in the user's.
Rule 3: blocks in this API's own shape (no `type`) pass through untouched.
Rule 4: what this API has no word for is refused, never dropped. Empty texts, which it refuses, are
        left out: they say nothing.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from streamnursery.values.request import Message
from streamnursery.values.returned import ReturnedPart, returned
from streamnursery.wire.chat_messages import UnsayableError, calls_of, inline_data, parts_of
from streamnursery.wire.json_text import read_json

DIALECT = "bedrock-converse"
API_NAME = "Converse API"
Block: TypeAlias = dict[str, Any]

_NOT_RETURNED = frozenset({"citation"})
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_NO_NAME = re.compile(r"[^A-Za-z0-9\s\-()\[\]]+")
"""What may not stand in the name of a document."""


def system_and_turns(messages: Sequence[Message]) -> tuple[list[Block], list[Block]]:
    """The blocks of `system`, and the messages.

    Raises:
        UnsayableError: this API has no form for a message.
    """
    system: list[Block] = []
    turns: list[Block] = []
    for place, message in enumerate(messages):
        content = message.get("content")
        match message["role"]:
            case "system" | "developer":
                system += _texts(content, place, "the system's message")
            case "user":
                _append(turns, "user", list(_blocks(content, place)))
            case "tool":
                _append(turns, "user", [_result(message, place)])
            case "assistant":
                _append(turns, "assistant", list(_assistant(message, place)))
            case role:
                msg = (
                    f"messages[{place}]: the {API_NAME} has no role {role!r:.40}; send system, "
                    "user, assistant or tool"
                )
                raise UnsayableError(msg)
    return system, turns


def _append(turns: list[Block], role: str, content: list[Block]) -> None:
    if not content:
        return
    if turns and turns[-1]["role"] == role:
        turns[-1]["content"] += content
    else:
        turns.append({"role": role, "content": content})


def _result(message: Message, place: int) -> Block:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str) or not call_id:
        msg = f"messages[{place}]: role 'tool' needs the 'tool_call_id' of the call it answers"
        raise UnsayableError(msg)
    content = list(_blocks(message.get("content"), place))
    if len(content) == 1 and "text" in content[0]:
        found = read_json(content[0]["text"].encode("utf-8", "replace"))
        content = [{"json": found}] if isinstance(found, dict) else content
    result: Block = {"toolUseId": call_id, "content": content or [{"text": "(nothing)"}]}
    if message.get("is_error"):
        result["status"] = "error"
    return {"toolResult": result}


def _assistant(message: Message, place: int) -> Iterator[Block]:
    said = list(_blocks(message.get("content"), place))
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        said.append({"text": message["refusal"]})
    calls = [
        {"toolUse": {"toolUseId": call_id, "name": name, "input": arguments}}
        for call_id, name, arguments in calls_of(message, place, API_NAME)
    ]
    own = [
        part
        for part in returned(message, DIALECT).parts
        if part.kind not in _NOT_RETURNED and isinstance(part.data, dict)
    ]
    return _woven(said, calls, own)


def _woven(said: list[Block], calls: list[Block], own: list[ReturnedPart]) -> Iterator[Block]:
    """Texts and calls with the parts at their places between them."""
    plain = len(said) == 1 and said[0].keys() == {"text"}
    text = said[0]["text"] if plain else ""
    told = called = 0
    for part in own:
        if text[told : part.text]:
            yield {"text": text[told : part.text]}
            told = part.text
        yield from calls[called : part.tool_calls]
        called = max(called, part.tool_calls)
        yield part.data
    if not plain:
        yield from said
    elif text[told:]:
        yield {"text": text[told:]}
    yield from calls[called:]


# Blocks. ----------------------------------------------------------------------------------------


def _texts(content: object, place: int, what: str) -> list[Block]:
    blocks = list(_blocks(content, place))
    if any("text" not in block and "cachePoint" not in block for block in blocks):
        msg = f"messages[{place}]: {what} is text in the {API_NAME}"
        raise UnsayableError(msg)
    return blocks


def _blocks(content: object, place: int) -> Iterator[Block]:
    for part in parts_of(content, place):
        match part.get("type"):
            case "text" | "refusal" as kind:
                if part.get(kind):
                    yield {"text": part[kind]}
            case "image_url":
                image = part.get("image_url")
                yield _image(image.get("url") if isinstance(image, Mapping) else image, place)
            case "file" if isinstance(file := part.get("file"), Mapping):
                yield _document(file, place)
            case None:
                yield dict(part)
            case kind:
                msg = f"messages[{place}]: the {API_NAME} has no part of type {kind!r:.40}"
                raise UnsayableError(msg)


def _data(url: object, place: int, what: str) -> tuple[str, str]:
    inline = inline_data(url, place) if isinstance(url, str) else None
    if inline is None:
        msg = (
            f"messages[{place}]: the {API_NAME} fetches no {what}: give its bytes, "
            "'data:...;base64,...', or a block of its own with an s3Location"
        )
        raise UnsayableError(msg)
    return inline


def _image(url: object, place: int) -> Block:
    media, data = _data(url, place, "image")
    kind = media.removeprefix("image/").replace("jpg", "jpeg")
    return {"image": {"format": kind, "source": {"bytes": data}}}


def _document(file: Mapping[str, Any], place: int) -> Block:
    media, data = _data(file.get("file_data"), place, "document")
    if media not in _DOCUMENTS:
        msg = f"messages[{place}]: the {API_NAME} takes no document of type {media!r:.80}"
        raise UnsayableError(msg)
    given = file.get("filename")
    stem = given.rpartition(".")[0] or given if isinstance(given, str) else ""
    name = _NO_NAME.sub(" ", stem).strip() or f"document {place}"
    return {"document": {"format": _DOCUMENTS[media], "name": name, "source": {"bytes": data}}}
