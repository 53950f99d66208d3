"""The switch from HTTP to a WebSocket (RFC 6455 4.2)."""

from base64 import b64encode
from hashlib import sha1
from importlib.util import find_spec

from streamnursery.serving.head import RefusedError
from streamnursery.serving.steps import Headers

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def wants_websocket(headers: Headers) -> bool:
    """Whether the client asks for the switch."""
    given = dict(headers)
    return given.get("upgrade", "").lower() == "websocket" and "sec-websocket-key" in given


def accepted(headers: Headers) -> tuple[tuple[str, str], ...]:
    """The headers of the 101 that answers a request with `headers`.

    Raises:
        RefusedError: the client does not ask for a WebSocket, or the extra `ws` is missing.
    """
    if not wants_websocket(headers):
        raise RefusedError(426, "This is a WebSocket: send the headers of its handshake.")
    if find_spec("wsproto") is None:
        raise RefusedError(501, "WebSockets need the extra 'ws'.")
    key = dict(headers)["sec-websocket-key"].encode()
    digest = b64encode(sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    return ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", digest)
