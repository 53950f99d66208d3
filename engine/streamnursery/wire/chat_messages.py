"""Messages of a `ChatRequest` in the shape of the chat API, read for APIs of another shape."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from streamnursery.values.request import Message
from streamnursery.wire.json_text import read_json

_DATA_URL = re.compile(r"data:(?P<type>[\w.+/-]+)(?:;[\w=.-]+)*;base64,(?P<data>.*)", re.DOTALL)


class UnsayableError(Exception):
    """A part of a request that an API has no words for; the text says which. Dialects make a
    `RequestError` of it where no frame holds the body."""


def parts_of(content: object, place: int) -> Iterator[Mapping[str, Any]]:
    """The parts of a message's content, text as a part of its own; `place` is the message's.

    Raises:
        UnsayableError: it is neither text nor a list of parts.
    """
    if isinstance(content, str):
        content = [content]
    elif content is None:
        return
    if not isinstance(content, Sequence):
        msg = f"messages[{place}].content must be text or a list of parts"
        raise UnsayableError(msg)
    for part in content:
        if isinstance(part, str):
            yield {"type": "text", "text": part}
        elif isinstance(part, Mapping):
            yield part
        else:
            msg = f"messages[{place}].content holds a {type(part).__name__}, which is no part"
            raise UnsayableError(msg)


def inline_data(url: str, place: int) -> tuple[str, str] | None:
    """The media type and the base64 text of a `data:` URL (RFC 2397); None for another URL.

    Raises:
        UnsayableError: it is not base64.
    """
    if not url.startswith("data:"):
        return None
    found = _DATA_URL.fullmatch(url)
    if found is None:
        msg = f"messages[{place}]: a data: url must be base64, 'data:image/png;base64,...'"
        raise UnsayableError(msg)
    return found["type"], found["data"]


def calls_of(
    message: Message, place: int, api: str
) -> Iterator[tuple[object, object, dict[str, Any]]]:
    """Of each tool call its id, its function's name and its arguments; `api` is for the errors.

    Raises:
        UnsayableError: a call has no function, or arguments that are no JSON object.
    """
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, Sequence) and not isinstance(calls, str) else ():
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            msg = f"messages[{place}]: a tool call needs a 'function' with name and arguments"
            raise UnsayableError(msg)
        given, name = function.get("arguments"), function.get("name")
        found = read_json(given.encode("utf-8", "replace")) if isinstance(given, str) else given
        arguments = found if given else {}
        if not isinstance(arguments, Mapping):
            msg = (
                f"messages[{place}]: the arguments of {name!r:.80} are no JSON object, which the "
                f"{api} asks for"
            )
            raise UnsayableError(msg)
        yield call.get("id"), name, dict(arguments)
