"""Heads that are not taken: redirects, and bodies in a coding that was not asked for."""

import re
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from streamnursery.values.errors import EngineError, RedirectRefusedError, UnexpectedContentError
from streamnursery.values.http import HttpHead, Peer

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_LOCATION = 200


class Answered(Protocol):
    """An exchange whose head is there."""

    peer: Peer

    @property
    def head(self) -> HttpHead: ...

    def skip_body(self) -> None:
        """Take the head for the whole answer."""


def head_refusal(exchange: Answered, head: HttpHead, target: str) -> EngineError | None:
    """Why the answer to a request for `target` is not taken; then it is to be closed."""
    refusal: EngineError | None = None
    if head.get("content-encoding") is not None:
        refusal = encoding_refusal(exchange)
    if refusal is None and head.status in _REDIRECTS:
        refusal = redirect_refusal(exchange, target)
    return refusal


def redirect_refusal(exchange: Answered, target: str) -> RedirectRefusedError | None:
    """The error to raise; made here, so that no traceback holds the whole Location."""
    head = exchange.head
    if head.status not in _REDIRECTS:
        return None
    location = head.get("location")
    if location is None:
        return None
    origin = str(exchange.peer.origin)
    return RedirectRefusedError(
        f"{origin} redirects ({head.status}) to {_shown(origin, target, location)}; keys "
        "and prompts do not follow. If you trust the target, set the endpoint's url to it",
        status=head.status,
    )


def encoding_refusal(exchange: Answered) -> UnexpectedContentError | None:
    """Nothing is decoded, so nothing can blow up. An error keeps its status and loses its body."""
    head = exchange.head
    if head.get("content-encoding") is None:
        return None
    codings = [v.lower() for k, v in head.headers if k == "content-encoding"]
    if codings == ["identity"]:
        return None
    if not 200 <= head.status < 300:
        exchange.skip_body()
        return None
    msg = (
        f"{exchange.peer.origin} sent content-encoding {', '.join(codings)!r:.60} though "
        "'identity' was asked for; check for a proxy that compresses on its own"
    )
    return UnexpectedContentError(msg, status=head.status)


def _shown(origin: str, target: str, location: str) -> str:
    """Origin and path of a Location; its query may hold secrets."""
    try:
        parts = urlsplit(urljoin(origin + target.partition("?")[0], location))
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        return "a location that cannot be read"
    text = f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
    return re.sub(r"[^\x21-\x7e]", "?", text)[:_MAX_LOCATION]
