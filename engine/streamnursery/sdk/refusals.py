"""The engine's errors as an SDK knows them: answers that say no, and errors of the HTTP library."""

from math import ceil
from types import ModuleType

import msgspec

from streamnursery.values.errors import (
    AdmissionError,
    AuthError,
    BudgetExceededError,
    ConfigError,
    ConnectError,
    ConnectTimeoutError,
    ContentError,
    EngineClosedError,
    EngineError,
    ModelError,
    NetworkError,
    OverloadedError,
    PatienceError,
    ProtocolError,
    ProviderError,
    QueueDeadlineError,
    QuotaError,
    RateLimitedError,
    RequestError,
    StorageError,
    TooManyTokensError,
    TruncatedStreamError,
)

_STATUS: tuple[tuple[type[EngineError], int], ...] = (
    (QuotaError, 429),
    (RateLimitedError, 429),
    (AuthError, 401),
    (ModelError, 404),
    (ContentError, 400),
    (ProviderError, 503),
    (BudgetExceededError, 429),
    (TooManyTokensError, 429),
    (OverloadedError, 429),
    (QueueDeadlineError, 503),
    (EngineClosedError, 503),
    (AdmissionError, 503),
    (StorageError, 503),
    (RequestError, 400),
    (ConfigError, 400),
)
"""The first that fits."""
_KINDS = {
    400: ("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT"),
    401: ("authentication_error", "authentication_error", "UNAUTHENTICATED"),
    404: ("not_found_error", "not_found_error", "NOT_FOUND"),
    429: ("rate_limit_error", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    503: ("server_error", "overloaded_error", "UNAVAILABLE"),
}
"""By status: what OpenAI, Anthropic and Google call it."""
_MONEY = (QuotaError, BudgetExceededError)
Answer = tuple[int, tuple[tuple[str, str], ...], bytes]


def refused(error: EngineError, language: str, path: str) -> Answer | None:
    """`error` as an answer in the shape of its dialect; None: it is not a refusal."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), None)
    if status is None:
        return None
    headers = [("content-type", "application/json")]
    if error.retry_after is not None:
        headers.append(("retry-after", str(ceil(error.retry_after))))
        headers.append(("retry-after-ms", str(ceil(error.retry_after * 1000))))
    body = msgspec.json.encode(_shape(error, status, language_of(language, path)))
    return status, (*headers, ("content-length", str(len(body)))), body


def language_of(language: str, path: str) -> str:
    """The dialect that the SDK speaks: by the path, which may be another than the endpoint's."""
    if path.endswith("/messages") or "/messages/" in path:
        return "anthropic-messages"
    return "gemini" if ":generateContent" in path or ":stream" in path else language


def _shape(error: EngineError, status: int, language: str) -> dict[str, object]:
    openai, anthropic, google = _KINDS[status]
    text = str(error)
    if language == "anthropic-messages":
        return {"type": "error", "error": {"type": anthropic, "message": text}}
    if language == "gemini":
        return {"error": {"code": status, "message": text, "status": google}}
    kind = "insufficient_quota" if isinstance(error, _MONEY) else openai
    code = error.code or error.category
    return {"error": {"message": text, "type": kind, "param": None, "code": code}}


def broken(library: ModuleType, error: EngineError) -> Exception:
    """`error` as the HTTP library's own, with the engine's as its cause."""
    kind = library.ReadError
    if isinstance(error, ConnectTimeoutError):
        kind = library.ConnectTimeout
    elif isinstance(error, PatienceError):
        kind = library.ReadTimeout
    elif isinstance(error, ConnectError):
        kind = library.ConnectError
    elif isinstance(error, ProtocolError | TruncatedStreamError | ProviderError):
        kind = library.RemoteProtocolError
    elif isinstance(error, NetworkError):
        kind = library.ReadError
    made: Exception = kind(str(error))
    return made
