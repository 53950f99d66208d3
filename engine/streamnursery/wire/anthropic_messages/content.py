"""Messages of a `ChatRequest` as content blocks of the Messages API.

Rule 1: system and developer messages stand at the top of the request, in their order.
Rule 2: the results of one turn's tools are one message of the user, in front of what the user says
        next: the provider refuses a call whose result does not follow at once.
Rule 3: parts in this API's own shape pass through untouched, and so does `cache_control` on any.
Rule 4: an assistant's message gets its opaque parts back at their places: without its signed
        thoughts the provider refuses a turn that calls tools.
Rule 5: what this API has no word for is refused, never dropped. Empty texts, which it refuses, are
        left out: they say nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from streamnursery.values.request import Message
from streamnursery.values.returned import KEY, ReturnedPart, returned
from streamnursery.wire.chat_messages import UnsayableError, calls_of, inline_data, parts_of

DIALECT = "anthropic-messages"
Block: TypeAlias = dict[str, Any]

_NOT_RETURNED = frozenset({"citation", "stop_details"})
"""Opaque parts that are not blocks of the message."""


def top_and_turns(messages: Sequence[Message]) -> tuple[list[Block], list[Block]]:
    """The blocks of `system`, and the messages.

    Raises:
        UnsayableError: this API has no form for a message.
    """
    system: list[Block] = []
    turns: list[Block] = []
    after_results = False
    for place, message in enumerate(messages):
        role = message["role"]
        if role in ("system", "developer"):
            system += _blocks(message.get("content"), place)
            continue
        content = _turn(role, message, place)
        if not content:
            continue
        joins = after_results and role != "assistant"
        after_results = role == "tool" or (joins and role != "assistant")
        if joins:
            turns[-1]["content"] += content
        else:
            turns.append({"role": "assistant" if role == "assistant" else "user"})
            turns[-1]["content"] = content
    return system, turns


def _turn(role: str, message: Message, place: int) -> list[Block]:
    match role:
        case "user":
            return list(_blocks(message.get("content"), place))
        case "tool":
            return [_tool_result(message, place)]
        case "assistant":
            return _assistant(message, place)
        case _:
            msg = (
                f"messages[{place}]: the Messages API has no role {role!r:.40}; send system, user, "
                "assistant or tool"
            )
            raise UnsayableError(msg)


def plain(blocks: list[Block]) -> str | list[Block]:
    """Text instead of blocks where one block is nothing but text."""
    if len(blocks) == 1 and blocks[0].keys() == {"type", "text"}:
        text: str = blocks[0]["text"]
        return text
    return blocks


def _tool_result(message: Message, place: int) -> Block:
    call_id = message.get("tool_call_id")
    if not isinstance(call_id, str):
        msg = f"messages[{place}]: role 'tool' needs the 'tool_call_id' of the call it answers"
        raise UnsayableError(msg)
    result: Block = {"type": "tool_result", "tool_use_id": call_id}
    content = list(_blocks(message.get("content"), place))
    if content:
        result["content"] = plain(content)
    for name in ("is_error", "cache_control"):
        if name in message:
            result[name] = message[name]
    return result


# Parts. -----------------------------------------------------------------------------------------


def _blocks(content: object, place: int) -> Iterator[Block]:
    for part in parts_of(content, place):
        block = _part(part, place)
        if block.get("type") != "text" or block.get("text"):
            yield block


def _part(part: Mapping[str, Any], place: int) -> Block:
    cache = {"cache_control": part["cache_control"]} if "cache_control" in part else {}
    match part.get("type"):
        case "image_url":
            image = part.get("image_url")
            url = image.get("url") if isinstance(image, Mapping) else image
            return {"type": "image", "source": _source(url, place), **cache}
        case "file" if isinstance(file := part.get("file"), Mapping):
            return {**_document(file, place), **cache}
        case "refusal":
            return {"type": "text", "text": part.get("refusal"), **cache}
        case "input_audio":
            msg = f"messages[{place}]: the Messages API takes no audio"
            raise UnsayableError(msg)
        case _:
            return dict(part)


def _source(url: object, place: int) -> Block:
    if not isinstance(url, str):
        msg = f"messages[{place}]: an image needs a url, 'data:image/png;base64,...' or 'https:...'"
        raise UnsayableError(msg)
    inline = inline_data(url, place)
    if inline is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": inline[0], "data": inline[1]}


def _document(file: Mapping[str, Any], place: int) -> Block:
    """A file in the OpenAI shape; `file_id` is that of Anthropic's own files."""
    if isinstance(file.get("file_id"), str):
        return {"type": "document", "source": {"type": "file", "file_id": file["file_id"]}}
    document: Block = {"type": "document", "source": _source(file.get("file_data"), place)}
    if isinstance(file.get("filename"), str):
        document["title"] = file["filename"]
    return document


# The assistant's turns. -------------------------------------------------------------------------


def _assistant(message: Message, place: int) -> list[Block]:
    said = list(_blocks(message.get("content"), place))
    if isinstance(message.get("refusal"), str) and message["refusal"]:
        said.append({"type": "text", "text": message["refusal"]})
    calls = list(_calls(message, place))
    held = returned(message, DIALECT) if KEY in message else None
    if held is None or not held.parts:
        return [*said, *calls]
    for part in held.parts:
        if part.tool is not None and part.tool < len(calls):
            calls[part.tool][part.kind] = part.data
    return list(_woven(said, calls, held.reasoning, held.parts))


def _woven(
    said: list[Block], calls: list[Block], reasoning: str, parts: Sequence[ReturnedPart]
) -> Iterator[Block]:
    """Texts and calls with the parts at their places between them."""
    text = said[0]["text"] if len(said) == 1 and said[0].get("type") == "text" else ""
    told = thought = called = 0
    for part in parts:
        if part.tool is not None or part.kind in _NOT_RETURNED or not isinstance(part.data, dict):
            continue
        if text and part.text > told:
            yield from _text(text[told : part.text])
            told = part.text
        yield from calls[called : part.tool_calls]
        called = max(called, part.tool_calls)
        block = dict(part.data)
        if part.kind == "thinking":
            block["thinking"] = reasoning[thought : part.reasoning]
            thought = part.reasoning
        yield block
    if text:
        yield from _text(text[told:])
    else:
        yield from said
    yield from calls[called:]


def _text(text: str) -> Iterator[Block]:
    if text:
        yield {"type": "text", "text": text}


def _calls(message: Message, place: int) -> Iterator[Block]:
    for call_id, name, arguments in calls_of(message, place, "Messages API"):
        yield {"type": "tool_use", "id": call_id, "name": name, "input": arguments}
