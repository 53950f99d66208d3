"""The keywords of calls, for type checkers and editors: a misspelt or mistyped one is an error."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

from streamnursery.values.policy import (
    HedgeAfter,
    OnAbort,
    OnInterrupt,
    Patience,
    Priority,
    PriorityName,
    Retries,
    WhenBehind,
)
from streamnursery.values.request import Message, RequestHeaders
from streamnursery.values.structured import ResponseFormat

Prompt: TypeAlias = str | Sequence[Message]
"""A text of the user, or the messages so far."""


class UntypedFields(TypedDict, total=False):
    """Those of `ChatRequest`, but for the model and what calls name by themselves."""

    messages: Prompt
    max_tokens: int | None
    temperature: float | None
    top_p: float | None
    stop: str | Sequence[str] | None
    seed: int | None
    n: int | None
    tools: Sequence[Mapping[str, Any]] | None
    tool_choice: str | Mapping[str, Any] | None
    reasoning_effort: str | None
    user: str | None
    metadata: Mapping[str, str] | None
    extra: Mapping[str, Any]
    headers: RequestHeaders
    tenant: str
    affinity: str
    patience: Patience | None
    retries: Retries | None
    on_interrupt: OnInterrupt | Sequence[OnInterrupt] | None
    hedge_after: "HedgeAfter | None"
    on_abort: OnAbort | None


class StreamFields(UntypedFields, total=False):
    """Of `stream`, which names the others."""

    response_format: ResponseFormat | None


class RequestFields(StreamFields, total=False):
    """Of `plan`, `explain`, `estimate` and `choose`."""

    priority: Priority | PriorityName | None


class UntypedOptions(UntypedFields, total=False):
    """Of `complete` with a class as its `response_format`."""

    deadline: float | None
    timeout: float | None
    priority: Priority | PriorityName | None
    buffer_events: int | None
    buffer_bytes: int | None
    when_behind: WhenBehind


class CallOptions(UntypedOptions, total=False):
    """Of `complete`: all that `stream` takes."""

    response_format: ResponseFormat | None


class SessionOptions(StreamFields, total=False):
    """Of a session's `stream`."""

    previous_response_id: str | None
    deadline: float | None
    timeout: float | None
    priority: Priority | PriorityName | None
    buffer_events: int | None
    buffer_bytes: int | None
