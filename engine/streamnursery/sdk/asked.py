"""What an SDK asks, as a relay."""

from collections.abc import Mapping
from typing import Any

import attrs

from streamnursery.values.errors import RequestError
from streamnursery.values.request import CREDENTIAL_HEADERS
from streamnursery.values.secret import Secret
from streamnursery.values.settings import Endpoint, EngineConfig

_OURS = "x-streamnursery-"
_TENANT, _PRIORITY, _DEADLINE = (f"{_OURS}{name}" for name in ("tenant", "priority", "deadline"))
_PORTS = {"http": 80, "https": 443}


@attrs.frozen
class Asked:
    """A request of an SDK."""

    method: str
    path: str
    body: bytes = attrs.field(repr=False)
    headers: Mapping[str, str | Secret] = attrs.field(repr=False)
    endpoint: str
    """The name of one, or an origin that no endpoint has."""
    language: str
    """The dialect of that endpoint; empty for none."""
    tenant: str
    priority: Any
    timeout: float | None


def asked_of(request: Any, body: bytes, config: EngineConfig) -> Asked:
    """`request` of an HTTP client, for an engine of that configuration.

    Raises:
        RequestError: a header for the engine cannot be read.
    """
    url = request.url
    target = bytes(url.raw_path).decode("ascii")
    given = {name.lower(): value for name, value in request.headers.items()}
    found = _endpoint(url, config)
    path = target
    if found is not None:
        path = target[len(found.url.path.rstrip("/")) :] or "/"
    headers = {
        name: Secret(value) if name in CREDENTIAL_HEADERS else value
        for name, value in given.items()
        if not name.startswith(_OURS)
    }
    return Asked(
        request.method,
        path,
        body,
        headers,
        found.name if found is not None else f"{url.scheme}://{_authority(url)}",
        (found.dialect or "openai-chat") if found is not None else "",
        given.get(_TENANT, ""),
        given.get(_PRIORITY),
        _seconds(given.get(_DEADLINE)),
    )


def _endpoint(url: Any, config: EngineConfig) -> Endpoint | None:
    """The one whose base URL the request is below, the longest of them."""
    port = url.port or _PORTS.get(url.scheme)
    path = url.raw_path.partition(b"?")[0].decode("ascii")
    best: Endpoint | None = None
    for endpoint in config.endpoints.values():
        origin, base = endpoint.url.origin, endpoint.url.path.rstrip("/")
        if (origin.scheme, origin.host, origin.port) != (url.scheme, url.host, port):
            continue
        if not (path + "/").startswith(base + "/"):
            continue
        if best is None or len(base) > len(best.url.path.rstrip("/")):
            best = endpoint
    return best


def _authority(url: Any) -> str:
    host = f"[{url.host}]" if ":" in url.host else url.host
    return f"{host}:{url.port}" if url.port else str(host)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        msg = f"header {_DEADLINE!r} holds seconds from now, such as 30, not {text!r:.40}"
        raise RequestError(msg)
    return seconds
