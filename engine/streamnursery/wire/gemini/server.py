"""The Gemini API from its server's side: requests read as questions of the chat API, refused where
Google refuses them, and answers written as its records. As in `openai_chat.server`, nothing is
shared with the client's half.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import attrs
import msgspec

from streamnursery.wire.gemini.signing import check_signatures, sign
from streamnursery.wire.openai_chat.server import ApiError, ChatQuestion, Part, question_from

_encode = msgspec.json.encode
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_FIELDS = frozenset([
    "cachedContent",
    "contents",
    "generationConfig",
    "labels",
    "safetySettings",
    "serviceTier",
    "systemInstruction",
    "toolConfig",
    "tools",
])
_REASONS = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS"}
_REASONS |= {"content_filter": "SAFETY"}
_RPC = "type.googleapis.com/google.rpc."


def error_body(error: ApiError) -> bytes:
    """An error in Google's shape."""
    return _encode(error_value(error.status, str(error), error.error["code"], error.headers))


def error_value(
    status: int, message: str, code: str | None = None, headers: Any = ()
) -> dict[str, Any]:
    details: list[dict[str, Any]] = []
    wait = dict(headers).get("retry-after")
    if wait is not None:
        details.append({"@type": f"{_RPC}RetryInfo", "retryDelay": f"{wait}s"})
    if code == "invalid_api_key":
        details.append({"@type": f"{_RPC}ErrorInfo", "reason": "API_KEY_INVALID"})
    named = _STATUSES.get(status, "INVALID_ARGUMENT" if status < 500 else "INTERNAL")
    shown: dict[str, Any] = {"code": status, "message": message, "status": named}
    return {"error": shown | ({"details": details} if details else {})}


def question_of_contents(body: Mapping[str, Any], model: str, *, stream: bool) -> ChatQuestion:
    """The question in a request body's object; the model stands in the path.

    Raises:
        ApiError: with status 400.
    """
    for name in body:
        if name not in _FIELDS:
            _refuse(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    contents = _contents(body)
    config = body.get("generationConfig") or {}
    thinking = config.get("thinkingConfig") or {}
    thinks = bool(thinking) and thinking.get("thinkingBudget") != 0
    check_signatures(contents, thinking=thinks)
    names = _names(body)
    chat = {
        "model": model,
        "messages": [*_system(body.get("systemInstruction")), *_messages(contents)],
        "stream": stream,
        "n": config.get("candidateCount"),
        "seed": config.get("seed"),
        "max_tokens": config.get("maxOutputTokens"),
        "stop": config.get("stopSequences"),
        "tools": [{"type": "function", "function": function} for function in names],
        "tool_choice": _tool_choice(body.get("toolConfig") or {}),
    }
    return attrs.evolve(question_from(chat), include_usage=True)


def _refuse(message: str) -> NoReturn:
    raise ApiError(400, message)


def _contents(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    contents = body.get("contents")
    if not isinstance(contents, list) or not contents:
        _refuse("* GenerateContentRequest.contents: contents is not specified")
    calls = 0
    for place, content in enumerate(contents):
        if not isinstance(content, dict) or content.get("role", "user") not in ("user", "model"):
            _refuse("Please use a valid role: user, model.")
        parts = content.get("parts")
        if not isinstance(parts, list) or not parts or not all(isinstance(p, dict) for p in parts):
            _refuse(f"* GenerateContentRequest.contents[{place}].parts: contents.parts is empty")
        results = sum("functionResponse" in part for part in parts)
        if results != calls and (results or calls):
            _refuse(
                "Please ensure that the number of function response parts is equal to the number "
                "of function call parts of the function call turn."
            )
        calls = sum("functionCall" in part for part in parts)
    if calls:
        _refuse("Please ensure that function call turn comes before a function response turn.")
    return contents


def _names(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    tools = body.get("tools")
    return [
        {"name": declared.get("name"), "parameters": declared.get("parametersJsonSchema")}
        for tool in (tools if isinstance(tools, list) else ())
        for declared in tool.get("functionDeclarations") or ()
    ]


def _system(instruction: object) -> Iterator[dict[str, Any]]:
    if isinstance(instruction, dict):
        yield {"role": "system", "content": _texts(instruction)}


def _messages(contents: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for place, content in enumerate(contents):
        parts = content["parts"]
        if content.get("role") == "model":
            calls = [part["functionCall"] for part in parts if "functionCall" in part]
            message: dict[str, Any] = {"role": "assistant", "content": _texts(content) or None}
            if calls:
                message["tool_calls"] = [
                    {
                        "id": f"{place}-{number}",
                        "type": "function",
                        "function": {
                            "name": call.get("name"),
                            "arguments": _encode(call.get("args") or {}).decode(),
                        },
                    }
                    for number, call in enumerate(calls)
                ]
            yield message
            continue
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        for number, result in enumerate(results):
            told = _encode(result.get("response")).decode()
            yield {"role": "tool", "tool_call_id": f"{place - 1}-{number}", "content": told}
        if len(results) < len(parts):
            yield {"role": "user", "content": _texts(content)}


def _texts(content: Mapping[str, Any]) -> str:
    parts = content.get("parts")
    found = [p for p in (parts if isinstance(parts, list) else ()) if isinstance(p, dict)]
    return "".join(part.get("text", "") for part in found if not part.get("thought"))


def _tool_choice(config: Mapping[str, Any]) -> object:
    calling = config.get("functionCallingConfig") or {}
    if calling.get("mode") != "ANY":
        return None
    allowed = calling.get("allowedFunctionNames")
    if allowed:
        return {"type": "function", "function": {"name": allowed[0]}}
    return "required"


@attrs.define
class _OpenCall:
    """A call until its arguments are whole: this API sends it at once."""

    name: str
    pieces: list[str] = attrs.field(factory=list)


class GenerateWriter:
    """One answer, record by record."""

    def __init__(
        self,
        id: str,  # noqa: A002
        model: str,
        input_tokens: int,
        *,
        cached_tokens: int = 0,
    ) -> None:
        self._id = id
        self._model = model
        self._input = input_tokens
        self._cached = cached_tokens
        self._thoughts = 0
        self._said = 0
        self._calls: dict[int, _OpenCall] = {}
        self._signed = False
        self.thinks = False
        """Its calls and its end are signed."""

    def token(self, index: int, part: Part, content: Any) -> list[bytes]:
        """The records of a token; none for a piece of a call, which is sent when it is whole."""
        if part == "tool_calls":
            function = content[0]["function"]
            told = self.end_call(index) if "id" in content[0] else []
            self._said += 1
            if "id" in content[0]:
                self._calls[index] = _OpenCall(function["name"])
            else:
                self._calls[index].pieces.append(function["arguments"])
            return told
        if part in ("reasoning", "reasoning_content"):
            self.thinks = True
            self._thoughts += 1
            return [self._record(index, {"text": content, "thought": True})]
        self._said += 1
        return [self._record(index, {"text": content})]

    def end_call(self, index: int) -> list[bytes]:
        call = self._calls.pop(index, None)
        if call is None:
            return []
        part: dict[str, Any] = {"functionCall": {"name": call.name, "args": _object(call.pieces)}}
        if self.thinks and not self._signed:  # of several calls at once the first is signed
            part["thoughtSignature"] = sign(part)
            self._signed = True
        return [self._record(index, part)]

    def closing(self, index: int, finish: str | None, usage: object) -> list[bytes]:
        """The last record of a candidate; without `finish`, the reason in the words of the chat
        API, none but what was open."""
        told = self.end_call(index)
        if finish is None:
            return told
        part: dict[str, Any] = {"text": ""}
        if self.thinks:
            part["thoughtSignature"] = sign(part)
        reason = _REASONS.get(finish, finish.upper())
        return [*told, self._record(index, part, reason, usage)]

    def whole(self, candidates: list[dict[str, Any]], usage: object) -> bytes:
        """An answer that is not streamed."""
        return _encode(self._value(candidates, usage))

    def counts(self) -> dict[str, Any]:
        """As they stand now."""
        return {
            "promptTokenCount": self._input,
            "candidatesTokenCount": self._said,
            "totalTokenCount": self._input + self._said + self._thoughts,
            **({"cachedContentTokenCount": self._cached} if self._cached else {}),
            **({"thoughtsTokenCount": self._thoughts} if self._thoughts else {}),
        }

    def _record(
        self, index: int, part: dict[str, Any], reason: str | None = None, usage: object = None
    ) -> bytes:
        candidate: dict[str, Any] = {"content": {"parts": [part], "role": "model"}, "index": index}
        if reason is not None:
            candidate["finishReason"] = reason
        return _encode(self._value([candidate], self.counts() if usage is None else usage))

    def _value(self, candidates: list[dict[str, Any]], usage: object) -> dict[str, Any]:
        return {
            "candidates": candidates,
            "usageMetadata": usage,
            "modelVersion": self._model,
            "responseId": self._id,
        }


def _object(pieces: list[str]) -> Any:
    """The arguments of a call; those that broke off are sent as text."""
    text = "".join(pieces)
    try:
        value = msgspec.json.decode(text or "{}")
    except msgspec.DecodeError:
        return {"text": text}
    return value if isinstance(value, dict) else {"value": value}
