"""Events and errors as JSON, for those who are sent a stream over HTTP."""

import re
from functools import cache
from typing import Any

import msgspec

from streamnursery.values.errors import EngineError
from streamnursery.values.events import StreamEvent
from streamnursery.values.usage import Usage

_USAGE = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "total_tokens")
_ERROR = ("category", "status", "code", "request_id", "retryable", "retry_after")


@cache
def kind_of(event: type) -> str:
    """The class of an event in snake case."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", event.__name__).lower()


def event_json(event: StreamEvent) -> bytes:
    """One JSON object on one line."""
    fields = {name: _plain(getattr(event, name)) for name in event.__struct_fields__}
    return msgspec.json.encode({"event": kind_of(type(event)), **fields})


def failed_json(error: EngineError) -> bytes:
    """What ended a stream, as its last event."""
    fields: dict[str, Any] = {name: getattr(error, name) for name in _ERROR}
    shown = {"type": type(error).__name__, "message": str(error), **fields}
    return msgspec.json.encode({"event": "failed", "error": shown})


def _plain(value: object) -> object:
    if isinstance(value, Usage):
        return {name: getattr(value, name) for name in _USAGE}
    return msgspec.to_builtins(value)
