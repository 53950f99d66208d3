"""What an SDK asks, as a relay."""

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

import attrs

from streamnursery.config import providers
from streamnursery.values.errors import RequestError
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import CREDENTIAL_HEADERS
from streamnursery.values.secret import Secret
from streamnursery.values.settings import EngineConfig

_log = logging.getLogger("streamnursery")
_OURS = "x-streamnursery-"
_RETRIES = "x-stainless-retry-count"
"""OpenAI's and Anthropic's SDKs number their own attempts in it, from 0."""
_TENANT, _PRIORITY, _DEADLINE = (f"{_OURS}{name}" for name in ("tenant", "priority", "deadline"))
DEFAULT = "openai-chat"
"""The dialect of an endpoint that names none."""
_PORTS = {"http": 80, "https": 443}


@attrs.frozen
class Asked:
    """A request of an SDK."""

    method: str
    path: str
    body: bytes = attrs.field(repr=False)
    headers: Mapping[str, str | Secret] = attrs.field(repr=False)
    endpoint: str
    """The name of one, or the base URL of a server that the configuration does not have."""
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
    if given.get(_RETRIES, "0") != "0":
        _say_once()
    name, base, language = _server(url, config)
    path = target[len(base) :] or "/"
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
        name,
        language,
        given.get(_TENANT, ""),
        given.get(_PRIORITY),
        _seconds(given.get(_DEADLINE)),
    )


@cache
def _say_once() -> None:
    _log.warning(
        "an SDK has asked again by itself: give it max_retries=0, as the engine has retried what "
        "may be retried (docs/sdk.md)"
    )


def _server(url: Any, config: EngineConfig) -> tuple[str, str, str]:
    """Where the request goes: the name of an endpoint or a base URL, its path, its dialect.

    That is the endpoint whose base URL the request is below, the longest of them; else a provider
    that is known by its host, and else a server that is not configured.
    """
    above = [endpoint for endpoint in config.endpoints.values() if _is_below(url, endpoint.url)]
    if above:
        found = max(above, key=lambda endpoint: len(endpoint.url.path))
        return found.name, found.url.path.rstrip("/"), found.dialect or DEFAULT
    origin = f"{url.scheme}://{_authority(url)}"
    for preset in providers.PROVIDERS:
        if f"{origin}{_path(url)}/".startswith(f"{preset.url}/"):
            return preset.url, preset.url.removeprefix(origin), preset.dialect or DEFAULT
    return origin, "", ""


def _is_below(url: Any, base: BaseUrl) -> bool:
    origin = base.origin
    port = url.port or _PORTS.get(url.scheme)
    if (origin.scheme, origin.host, origin.port) != (url.scheme, url.host, port):
        return False
    return f"{_path(url)}/".startswith(base.path.rstrip("/") + "/")


def _path(url: Any) -> str:
    return str(url.raw_path.partition(b"?")[0].decode("ascii"))


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
