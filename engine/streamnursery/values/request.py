"""What a caller asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from streamnursery.values.errors import RequestError
from streamnursery.values.http import Header, check_header
from streamnursery.values.policy import (
    HedgeAfter,
    OnAbort,
    OnInterrupt,
    Patience,
    Priority,
    PriorityName,
    Retries,
    hedge_problem,
    ladder,
)
from streamnursery.values.secret import Secret
from streamnursery.values.structured import ResponseFormat, as_response_format

MAX_TENANT = 200

Message: TypeAlias = Mapping[str, Any]
"""One chat message in the OpenAI shape; text, image and tool parts pass through untouched."""
RequestHeaders: TypeAlias = Mapping[str, str | Secret | Mapping[str, str | Secret]]

CREDENTIAL_HEADERS = frozenset({
    "authorization",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
    "cookie",
})
"""Headers that replace an endpoint's key: only a `Secret` may, so that it is meant."""


def _as_messages(messages: Sequence[Message] | str) -> Sequence[Message]:
    return [{"role": "user", "content": messages}] if isinstance(messages, str) else messages


def _as_priority(priority: Priority | PriorityName | None) -> Priority | None:
    if not isinstance(priority, str):
        return priority
    found: Any = _PRIORITIES.get(
        priority, priority
    )  # what is not a priority is refused by the check
    return found  # type: ignore[no-any-return]


def _as_response_format(asked: ResponseFormat | None) -> Mapping[str, Any] | None:
    if asked is None:  # as in nearly every request
        return None
    found: Mapping[str, Any] | None = as_response_format(asked)
    return found


@attrs.frozen
class ChatRequest:
    """One chat completion to stream. `None` is not sent.

    `extra` is merged into the body last and wins; it may not contain `stream`.
    Use `attrs.evolve` to change one.
    """

    model: str
    messages: Sequence[Message] = attrs.field(repr=False, converter=_as_messages)
    """A text stands for one message of the user."""
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: str | Sequence[str] | None = None
    seed: int | None = None
    n: int | None = None
    tools: Sequence[Mapping[str, Any]] | None = attrs.field(default=None, repr=False)
    tool_choice: str | Mapping[str, Any] | None = None
    response_format: Mapping[str, Any] | None = attrs.field(
        default=None, repr=False, converter=_as_response_format
    )
    """The API's own; from a JSON schema, or a class - msgspec Struct, attrs, dataclass, TypedDict,
    pydantic model - it is made. `completion.parsed` is a value of that class."""
    reasoning_effort: str | None = None
    user: str | None = attrs.field(default=None, repr=False)
    metadata: Mapping[str, str] | None = attrs.field(default=None, repr=False)
    extra: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    headers: RequestHeaders = attrs.field(factory=dict, repr=False)
    """HTTP headers of this request alone. A text or `Secret` is sent to the first endpoint of the
    request's plan; a mapping under an endpoint's name holds those for that endpoint. They replace
    the endpoint's own of the same name. A header with a credential must be a `Secret`."""

    tenant: str = ""
    """On whose behalf: tenants share what is scarce, and have budgets. Not sent."""
    affinity: str = ""
    """With `balance = "prefix"`: requests of one key go to one route as long as its load allows;
    empty: the prompt's own beginning decides. Not sent."""
    priority: Priority | None = attrs.field(default=None, converter=_as_priority)
    """A `Priority`, or "interactive" or "batch"; None takes INTERACTIVE."""
    patience: Patience | None = None
    retries: Retries | None = None
    on_interrupt: OnInterrupt | Sequence[OnInterrupt] | None = None
    """What to do when the stream breaks after content was delivered; several are tried in order.
    None takes the model's setting."""
    hedge_after: HedgeAfter | None = None
    """None takes the model's setting."""
    on_abort: OnAbort | None = None
    """None takes the model's setting."""


_NO_REASONING = ("none", "off", "disabled", "minimal", False, None)


def asks_for_reasoning(request: ChatRequest) -> bool:
    """Whether the model may think before it answers, by `reasoning_effort` or a field of `extra`
    in which providers take the same: `reasoning`, `thinking`, `thinking_budget`."""
    if request.reasoning_effort is not None:
        return request.reasoning_effort not in _NO_REASONING
    return bool(request.extra) and any(
        _is_on(request.extra.get(name)) for name in _REASONING_FIELDS
    )


_REASONING_FIELDS = ("reasoning_effort", "reasoning", "thinking", "thinking_budget")


def _is_on(value: object) -> bool:
    if isinstance(value, Mapping):
        return bool(value) and all(value.get(key, "on") not in _NO_REASONING for key in _SWITCHES)
    return value not in (*_NO_REASONING, 0)


_SWITCHES = ("type", "effort", "enabled")


def make_request(model: str | ChatRequest, prompt: object = None, **fields: object) -> ChatRequest:
    """A `ChatRequest` from what `Engine.stream` was given.

    `prompt` is text (one user message) or a sequence of messages.

    Raises:
        RequestError: naming the field at fault and what it should be.
    """
    unknown = fields.keys() - _NAMES
    if unknown:
        names = ", ".join(sorted(unknown))
        msg = f"unknown request field: {names}; put provider-specific fields in extra={{...}}"
        raise RequestError(msg)
    if prompt is not None and (isinstance(model, ChatRequest) or "messages" in fields):
        raise RequestError("give a prompt, messages or a ChatRequest, and only one of them")
    if isinstance(model, ChatRequest):
        request = attrs.evolve(model, **fields) if fields else model  # type: ignore[arg-type]
    elif isinstance(model, str):
        request = ChatRequest(model, **{"messages": prompt, **fields})  # type: ignore[arg-type]
    else:
        msg = f"the first argument is a model name or a ChatRequest, not {type(model).__name__}"
        raise RequestError(msg)
    check_request(request)
    return request


def check_request(request: ChatRequest) -> None:
    """Raise one `RequestError` that lists everything wrong with `request`."""
    problems = [
        *_model_problems(request),
        *_message_problems(request),
        *_field_problems(request),
        *(_header_problems(request.headers) if request.headers else ()),
        *_recovery_problems(request),
        *_unsent_problems(request),
    ]
    if problems:
        raise RequestError("; ".join(problems))


def _model_problems(request: ChatRequest) -> list[str]:
    if isinstance(request.model, str) and request.model.strip():
        return []
    return ["model must be a non-empty name"]


def _message_problems(request: ChatRequest) -> list[str]:
    messages = request.messages
    if type(messages) is not list and (
        isinstance(messages, str | bytes) or not isinstance(messages, Sequence)
    ):
        return ["messages must be a prompt or a sequence of {'role': ..., 'content': ...}"]
    if not messages:
        return ["messages is empty; give at least one {'role': 'user', 'content': ...}"]
    problems = []
    for place, message in enumerate(messages):
        named = type(message) is dict or isinstance(message, Mapping)
        if not named or not isinstance(message.get("role"), str):
            problems.append(f"messages[{place}] must be a mapping with a 'role'")
    return problems


def _field_problems(request: ChatRequest) -> list[str]:
    problems = []
    for name in ("max_tokens", "n"):
        value = getattr(request, name)
        if value is not None and (not _whole(value) or value < 1):
            problems.append(f"{name} must be a whole number >= 1, not {_shown(value)}")
    for name, top in (("temperature", 2.0), ("top_p", 1.0)):
        value = getattr(request, name)
        if value is not None and not (_number(value) and 0 <= value <= top):
            problems.append(f"{name} must be between 0 and {top:g}, not {_shown(value)}")
    if request.seed is not None and not _whole(request.seed):
        problems.append(f"seed must be a whole number, not {_shown(request.seed)}")
    if request.response_format is not None and not isinstance(request.response_format, Mapping):
        what = _shown(request.response_format)
        problems.append(f"response_format must be a mapping or a class, not {what}")
    if type(request.extra) is not dict and not isinstance(request.extra, Mapping):
        problems.append("extra must be a mapping")
    elif "stream" in request.extra:
        problems.append("extra may not contain 'stream': the engine always streams")
    return problems


def _header_problems(headers: RequestHeaders) -> list[str]:
    if not isinstance(headers, Mapping):
        return [f"headers must be a mapping, not {_shown(headers)}"]
    problems = []
    for name, value in headers.items():
        pairs = value.items() if isinstance(value, Mapping) else [(name, value)]
        problems += [wrong for pair in pairs if (wrong := _header_problem(*pair))]
    return problems


def _header_problem(name: object, value: object) -> str | None:
    if not isinstance(name, str) or not isinstance(value, str | Secret):
        return f"headers hold text or Secret by name, not {_shown(value)}"
    if name.lower() in CREDENTIAL_HEADERS and not isinstance(value, Secret):
        return (
            f"header {name!r} would replace the endpoint's key: give it as Secret(...) if that is "
            "meant, or set `key` of the endpoint"
        )
    return check_header(name, value)


def headers_at(request: ChatRequest, endpoint: str, first: str) -> tuple[Header, ...]:
    """Its own headers for an attempt at `endpoint`, in lower case; `first` is its plan's first."""
    found: dict[str, str | Secret] = {}
    for name, value in request.headers.items():
        if isinstance(value, Mapping):
            if name == endpoint:
                found |= {own.lower(): text for own, text in value.items()}
        elif endpoint == first:
            found[name.lower()] = value
    return tuple(found.items())


def _recovery_problems(request: ChatRequest) -> list[str]:
    problems = []
    if request.on_interrupt is not None:
        try:
            ladder(request.on_interrupt)
        except ValueError as error:
            problems.append(str(error))
    if request.hedge_after is not None and (wrong := hedge_problem(request.hedge_after)):
        problems.append(wrong)
    if request.on_abort not in (None, "cancel", "drain"):
        problems.append(f"on_abort must be 'cancel' or 'drain', not {request.on_abort!r}")
    return problems


def _unsent_problems(request: ChatRequest) -> list[str]:
    problems = []
    for name, kind in _POLICIES.items():
        value = getattr(request, name)
        if value is not None and not isinstance(value, kind):
            choice = ", 'interactive' or 'batch'" if kind is Priority else ""
            problems.append(f"{name} must be a {kind.__name__}{choice}, not {_shown(value)}")
    if not isinstance(request.tenant, str) or len(request.tenant) > MAX_TENANT:
        problems.append(f"tenant must be a name of at most {MAX_TENANT} characters")
    if not isinstance(request.affinity, str):
        problems.append(f"affinity must be text, not {_shown(request.affinity)}")
    return problems


_NAMES = frozenset(attrs.fields_dict(ChatRequest))
_PRIORITIES: Mapping[str, Priority] = {priority.name.lower(): priority for priority in Priority}
_POLICIES: dict[str, type] = {"priority": Priority, "patience": Patience, "retries": Retries}


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """A number as it is; of anything else the type: it may be a prompt in the wrong place."""
    if isinstance(value, int) and abs(value) >= 10**18:
        return "a number of more than 18 digits"
    return repr(value) if isinstance(value, int | float) else type(value).__name__


def as_priority(value: object) -> Priority:
    """A `Priority` or its name.

    Raises:
        RequestError: it is neither.
    """
    found = _PRIORITIES.get(value) if isinstance(value, str) else value
    if not isinstance(found, Priority):
        msg = f"priority must be a Priority, 'interactive' or 'batch', not {value!r:.80}"
        raise RequestError(msg)
    return found
