"""Provider errors from what a provider sent: an HTTP answer, or an object inside a stream.

Rule 1: a message quotes what the provider says for people: one line of at most 300 characters,
        without control characters and without what looks like a key. The keys of the endpoint are
        taken out where they are known, in the attempt (ADR 0024). All of it is on `.body`.
Rule 2: an error inside a stream keeps the status of its stream, 200; a status that it names
        itself only helps to class it.
Rule 3: `x-should-retry` overrides what the class says about retrying, but never for quota or for a
        prompt that is too long.
Rule 4: a request that is larger than a whole minute's limit is refused as a rate limit, and no
        wait cures it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from streamnursery.values.errors import (
    MAX_BODY,
    AuthError,
    ContentError,
    ContextTooLongError,
    EngineError,
    ModelError,
    ProviderError,
    QuotaError,
    RateLimitedError,
    ServerError,
    UnexpectedContentError,
)
from streamnursery.values.http import HttpHead
from streamnursery.values.secret import scrubbed
from streamnursery.wire.context_limits import context_numbers
from streamnursery.wire.error_classes import classify
from streamnursery.wire.error_details import detailed_words
from streamnursery.wire.json_text import clean, excerpt, read_json
from streamnursery.wire.rate_headers import named_reset
from streamnursery.wire.retry_after import hinted_delay, retry_after, retry_info

_MAX_CODE = 64
_MAX_WORDS = 300
_SHORTEST_PROMPT = 8
"""Characters of a text below which a message would lose its own words."""
_UNSHOWN = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")
"""What ends a line, moves a cursor or turns the direction of a text."""
_KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:bearer\s+\S{8,}|(?:sk|pk|rk|gsk|xai|hf|nvapi|AIza|eyJ)[-_.]?"
    r"[A-Za-z0-9_*.-]{12,})",
    re.IGNORECASE,
)
_WHOLE = 60 * 1024
"""Bytes below which a body was read to its end."""
_UNQUOTED = (b"", b"<", b"{", b"[")
"""How a body begins that has nothing for people but what was read of it."""
_TOO_LARGE = re.compile(r"request (?:is )?too large", re.IGNORECASE)

_ADVICE: dict[type[ProviderError], str] = {
    RateLimitedError: "too many requests or tokens; wait, or lower the model's max_streams",
    QuotaError: "no money or quota is left, and waiting does not help; top up or use another key",
    AuthError: "the key is missing, wrong or not allowed; check the endpoint's key",
    ModelError: "no such model for this key; check the model's name and the endpoint's url",
    ContentError: "it refuses the content or a parameter of the request",
    ContextTooLongError: "the prompt is too long for the model; shorten it, or use a model with a "
    "larger window",
    ServerError: "it failed or is overloaded; try again later or at another endpoint",
}

_UNEXPECTED: dict[str, tuple[bool, str]] = {
    # A page is a proxy's and passes like its 5xx; an API that answers JSON will do so again.
    "HTML": (True, "a proxy or the wrong url answered; check the endpoint's url"),
    "text": (True, "a proxy or the wrong url answered; check the endpoint's url"),
    "JSON": (False, "the server did not stream; check that the endpoint's url and model can"),
    "broken JSON": (True, "the server or a proxy garbled or cut its answer; try again"),
    "nothing": (False, "the server has no answer to give; check the endpoint's url"),
}
"""Kind of content: whether another attempt may help, and what to do."""


@attrs.frozen
class _Told:
    """What an error object says of itself."""

    words: tuple[str, ...] = ()
    message: str = ""
    status: int | None = None
    delay: float | None = None
    request_id: str | None = None
    tokens: int | None = None
    window: int | None = None
    """Of a prompt that is too long."""


def request_id(head: HttpHead) -> str | None:
    """The provider's id of the exchange: OpenAI, Anthropic, Azure, AWS in this order."""
    for name in ("x-request-id", "request-id", "apim-request-id", "x-amzn-requestid"):
        value = head.get(name)
        if value:
            return value
    return None


def error_from_answer(head: HttpHead, body: bytes, *, now: float) -> EngineError:
    """The typed error for an answer that is not a stream.

    `body` may be cut. A 2xx gives `UnexpectedContentError`, or the provider's error if the
    body is a JSON error object. `now` is Unix time.
    """
    if head.status < 400:
        error = error_from_text(body, status=head.status)
    else:
        error = _provider_error(_told(read_json(body), _aws_type(head)), head.status, body)
    return with_headers(error, head, now)


def error_from_text(body: bytes, *, status: int = 200) -> EngineError:
    """The typed error for text that came where an event stream was expected."""
    value = read_json(body)
    if is_error(value):
        return _provider_error(_told(value), status, body)
    kind = _kind(body, value)
    retryable, advice = _UNEXPECTED[kind]
    says = _says(body.decode("utf-8", "replace")) if kind == "text" else ""
    msg = f"the provider answered {status} with {kind} instead of an event stream: {advice}{says}"
    return UnexpectedContentError(
        msg, status=status, body=excerpt(body, MAX_BODY), retryable=retryable
    )


def scrub_error(
    error: EngineError, secrets: Sequence[str], messages: Sequence[object] = ()
) -> None:
    """Take the keys that the request was sent with out of all that a provider said, and the whole
    text of each of its `messages` out of what is quoted."""
    if isinstance(error, ProviderError | UnexpectedContentError):
        message = scrubbed(str(error), secrets)
        for text in _texts(messages):
            message = message.replace(text, "[prompt]")
        error.args = (message,)
    for name in ("body", "code", "request_id"):
        text = getattr(error, name)
        if text is not None:
            setattr(error, name, scrubbed(text, secrets))


def _texts(messages: Sequence[object]) -> Iterator[str]:
    """Texts that may stand in a message as a whole, as they are shown there."""
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else None
        parts = content if isinstance(content, list | tuple) else [content]
        for part in parts:
            text = part.get("text") if isinstance(part, Mapping) else part
            if isinstance(text, str) and _SHORTEST_PROMPT <= len(text) <= 4 * _MAX_WORDS:
                yield _UNSHOWN.sub(" ", text).strip()


def error_in_stream(value: object, raw: bytes) -> ProviderError:
    """The typed error for an error object, or error text, inside an event stream.

    `raw` is the event's data as it came.
    """
    return _provider_error(_told(value), 200, raw)


def is_error(value: object) -> bool:
    """Whether a JSON value is an error object: `{"error": ...}` with something in it, one of
    vLLM's `{"object": "error", ...}`, or a list that opens with one (Google)."""
    value = _first(value)
    if not isinstance(value, Mapping):
        return False
    return bool(value.get("error")) or "error" in (value.get("object"), value.get("type"))


def is_complaint(value: object) -> bool:
    """Whether an object where a chunk was expected is an error without saying so: words, and
    nothing that a chunk has."""
    if not isinstance(value, Mapping) or value.keys() & {"choices", "usage", "object"}:
        return False
    return any(isinstance(value.get(name), str) for name in ("message", "detail"))


def _provider_error(told: _Told, status: int, body: bytes) -> ProviderError:
    in_stream = status < 400
    kind, word = classify(told.words, told.message, (told.status or 200) if in_stream else status)
    where = "reported an error inside the stream" if in_stream else f"answered {status}"
    advice = _ADVICE[kind] if kind is not ContextTooLongError else _too_long(told)
    words = told.message or (
        "" if body.lstrip()[:1] in _UNQUOTED else body.decode(errors="replace")
    )
    msg = f"the provider {where}{f' ({word})' if word else ''}: {advice}{_says(words)}"
    delay = told.delay
    if delay is None and kind.retryable_by_default:
        delay = hinted_delay(told.message)
    error = kind(
        msg,
        status=status,
        body=excerpt(body, MAX_BODY),
        code=clean(told.words[0])[:_MAX_CODE] if told.words else None,
        retry_after=delay,
        request_id=told.request_id,
        retryable=False if _TOO_LARGE.match(told.message) else None,
    )
    if isinstance(error, ContextTooLongError):
        error.tokens, error.window = told.tokens, told.window
    return error


def _too_long(told: _Told) -> str:
    numbers = [
        f"{count} tokens {what}"
        for count, what in ((told.tokens, "asked for"), (told.window, "possible"))
        if count is not None
    ]
    advice = _ADVICE[ContextTooLongError]
    return advice.replace(";", f" ({', '.join(numbers)});", 1) if numbers else advice


def _says(text: str) -> str:
    """What the provider says for people, as the end of a message."""
    line = _KEY.sub("***", _UNSHOWN.sub(" ", clean(text[: 4 * _MAX_WORDS])).strip())
    if len(line) > _MAX_WORDS or len(text) > 4 * _MAX_WORDS:
        # At a blank: a key that was cut in two could not be found any more.
        line = f"{line[: _MAX_WORDS + 1].rpartition(' ')[0]}..."
    return f'; it says: "{line}"' if line else ""


def with_headers(error: EngineError, head: HttpHead, now: float) -> EngineError:
    """`error` with what the head of its answer says of the wait and of another attempt."""
    error.request_id = request_id(head) or error.request_id
    asked = retry_after(head, now=now)
    if asked is not None:
        error.retry_after = asked
    elif error.retry_after is None and isinstance(error, RateLimitedError) and head.status == 429:
        error.retry_after = named_reset(head, now=now)
    verdict = (head.get("x-should-retry") or "").strip().lower()
    final = isinstance(error, QuotaError | ContextTooLongError)
    if verdict in {"true", "false"} and not final:
        error.retryable = verdict == "true"
    return error


def _kind(body: bytes, value: object) -> str:
    opening = body.lstrip()[:1]
    if not opening:
        return "nothing"
    if opening == b"<":
        return "HTML"
    if value is not None:
        return "JSON"
    if opening != b"{":
        return "text"
    # A first line that is whole is JSON lines; what is as long as we read at most, was cut by us.
    whole = len(body) >= _WHOLE or read_json(body.lstrip().partition(b"\n")[0]) is not None
    return "JSON" if whole else "broken JSON"


def _aws_type(head: HttpHead) -> str:
    """AWS names its errors in a header: `ThrottlingException:http://...`."""
    return _aws_name(head.get("x-amzn-errortype"))


def _aws_name(kind: object) -> str:
    return str(kind).rpartition("#")[2].partition(":")[0] if kind else ""


def _told(value: object, name: str = "") -> _Told:
    told = _told_by(value)
    return attrs.evolve(told, words=(name, *told.words)) if name else told


def _told_by(value: object) -> _Told:
    """Read any of the shapes in use: `{"error": {...}}` (OpenAI, Anthropic, Google),
    `{"error": "text"}`, `{"message": ...}` (Cohere, AWS), `[{"error": ...}]` (Google)."""
    value = _first(value)
    if isinstance(value, str):
        return _Told(message=value)
    if not isinstance(value, Mapping):
        return _Told()
    inner = value.get("error")
    if isinstance(inner, str):
        return attrs.evolve(_from_object(value), message=inner)
    told = _from_object(inner if isinstance(inner, Mapping) else value)
    return attrs.evolve(told, request_id=_text(value.get("request_id")))


def _first(value: object) -> object:
    """Google wraps the answer of a stream, errors too, in a list."""
    return value[0] if isinstance(value, list) and value else value


def _from_object(error: Mapping[str, object]) -> _Told:
    code, kind, name = error.get("code"), error.get("type"), error.get("status")
    aws = _aws_name(error.get("__type"))
    exact = detailed_words(error.get("details"))
    words = [_text(word) for word in (*exact, code, kind, name, error.get("error_type"), aws)]
    statuses = [_status(n) for n in (code, error.get("status_code"), name)]
    message = _text(error.get("message")) or _text(error.get("detail")) or ""
    tokens, window = context_numbers(error, message)
    return _Told(
        words=tuple(word for word in words if word),
        message=message,
        status=next((status for status in statuses if status), None),
        delay=retry_info(error),
        tokens=tokens,
        window=window,
    )


def _text(value: object) -> str | None:
    """Text, or a whole number as text: `code` comes as either."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _status(value: object) -> int | None:
    """400 to 599, as number or text."""
    text = _text(value) or ""
    return int(text) if len(text) == 3 and text.isdecimal() and text[0] in "45" else None
