"""Answers that say nothing is served at the path that was asked for.

A 404 means two things: the model is not there, or the path is not. Only the body distinguishes
them, and where it says neither, the endpoint's url may.
"""

import re
from collections.abc import Mapping

from streamnursery.values.errors import (
    MAX_BODY,
    ContentError,
    EngineError,
    ModelError,
    UnexpectedContentError,
)
from streamnursery.values.origin import BaseUrl
from streamnursery.wire.json_text import excerpt, read_json

_REACH = 2000
"""Bytes of a body that are looked at."""
_NOT_FOUND, _METHOD_NOT_ALLOWED = 404, 405
_OPERATION = re.compile(r"/(?:chat/completions|completions|responses|messages|embeddings|models)$")
_VERSION = re.compile(r"/(?:v\d+\w*|openai)(?:/|$)", re.IGNORECASE)
_OF_THE_PATH = re.compile(
    r"/chat/completions|/responses\b|cannot (?:post|get)\b|no route|route .{0,60}not found"
    r"|(?:unknown|invalid|unrecogni[sz]ed|unexpected) (?:request )?(?:url|path|route|endpoint)",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"\W*(?:404\W*)?(?:(?:the )?(?:page|file|resource|path|url|endpoint|requested url) )?"
    r"(?:was )?not[ _]?found\W*",
    re.IGNORECASE,
)
"""Words of a server that does not know what a model is."""


def url_advice(url: BaseUrl) -> str | None:
    """What looks wrong with the path of a base URL, and how to write it; None: nothing does."""
    operation = _OPERATION.search(url.path)
    if operation is not None:
        base = f"{url.origin}{url.path[: operation.start()]}"
        return f"its url ends in {operation[0]}, which the engine adds itself; write {base:.200}"
    if not _VERSION.search(url.path):
        return f"its url may lack /v1; try {url!s:.200}/v1"
    return None


def wrong_path(
    error: EngineError, body: bytes, *, model: str, url: BaseUrl, endpoint: str
) -> EngineError:
    """`error`, or what it really is: an answer about the path and not about `model`."""
    status, advice = error.status, url_advice(url)
    if status == _NOT_FOUND and isinstance(error, ModelError):
        if not _is_of_the_path(body, model, suspect=advice is not None):
            return error
    elif status != _METHOD_NOT_ALLOWED or not isinstance(error, ContentError):
        return error
    found = UnexpectedContentError(
        f"the server of endpoint {endpoint!r} answered {status}: it serves nothing at the path "
        f"that was asked for; {advice or 'check the path of its url'}",
        status=status,
        body=excerpt(body, MAX_BODY),
        code=error.code,
        request_id=error.request_id,
        retryable=False,
    )
    found.retry_after = error.retry_after
    return found


def wrong_handshake_path(error: EngineError, *, url: BaseUrl, endpoint: str) -> EngineError:
    """`error` of a WebSocket handshake, which names no model: a 404 or 405 is about its path."""
    if error.status not in (_NOT_FOUND, _METHOD_NOT_ALLOWED):
        return error
    return UnexpectedContentError(
        f"the server of endpoint {endpoint!r} answered {error.status}: it serves no WebSocket at "
        f"the path that was asked for; {url_advice(url) or 'check its url, or give path='}",
        status=error.status,
        body=error.body,
        code=error.code,
        request_id=error.request_id,
        retryable=False,
    )


def _is_of_the_path(body: bytes, model: str, *, suspect: bool) -> bool:
    text = body[:_REACH].decode("utf-8", "replace")
    said = _message(body) if read_json(body) is not None else text
    if _OF_THE_PATH.search(said):
        return True
    if model in text or re.search(r"\bmodel|deployment", text, re.IGNORECASE):
        return False
    page = text.lstrip()[:1] not in ("{", "[", "")
    return page or _BARE.fullmatch(said[:200]) is not None or (suspect and not said.strip())


def _message(body: bytes) -> str:
    """The words of an error object, in any of the usual places."""
    value: object = read_json(body)
    for _ in range(2):
        value = value[0] if isinstance(value, list) and value else value
        if not isinstance(value, Mapping):
            break
        inner = next((value[n] for n in ("error", "message", "detail") if value.get(n)), "")
        value = inner
    return value if isinstance(value, str) else ""
