"""The face that httpx shows to its users; the only module that imports it.

Rule 1: it lives inside `async with open_transport()`, because readers need a nursery; used
        outside, it says so.
Rule 2: httpx frames nothing: what it writes into a head on its own (Host, Accept-Encoding,
        Connection, lengths) is dropped and written by the transport.
Rule 3: errors arrive as the httpx exception that a user of httpx catches; ours is the cause.
Rule 4: httpx2 is httpx under another name. A request says by its class which of the two asked;
        its answer is made of that one's classes, because each client checks for its own.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from math import inf
from typing import Any, NoReturn

import attrs
import httpx
import trio

from streamnursery.transport.client import Exchange, HttpTransport, TransportStatistics
from streamnursery.transport.network import Network
from streamnursery.transport.ports import Phase, Unhurried
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.errors import (
    ConfigError,
    ConnectError,
    EngineClosedError,
    EngineError,
    NetworkError,
    ProtocolError,
    RateLimitedError,
    RequestError,
    TlsError,
)
from streamnursery.values.http import Header, HttpRequest, HttpVersion, Peer
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.origin import Origin
from streamnursery.values.secret import Secret

_WRITTEN_BY_US = frozenset({
    "host",
    "connection",
    "accept-encoding",
    "content-length",
    "transfer-encoding",
})
_MAPPED: tuple[tuple[type[EngineError], str], ...] = (
    (ConnectError, "ConnectError"),
    (TlsError, "ConnectError"),
    (NetworkError, "ReadError"),
    (ProtocolError, "RemoteProtocolError"),
    (RateLimitedError, "RemoteProtocolError"),
    (RequestError, "LocalProtocolError"),
    (ConfigError, "UnsupportedProtocol"),
)
_FACES = ("httpx", "httpx2")


@asynccontextmanager
async def open_transport(
    *,
    ca_file: str = "",
    client_cert: str = "",
    client_key: str = "",
    proxy: str = "",
    deny_private: bool = False,
    trust_env: bool = False,
    max_idle: int = 100,
    http: HttpVersion = "auto",
    http2: Http2Settings | None = None,
    network: Network | None = None,
) -> AsyncIterator["StreamNurseryTransport"]:
    """A transport for `AsyncClient` of httpx or httpx2, usable inside this block.

    `ca_file`, `client_cert`, `client_key`, `proxy` and `http` are as for an endpoint: over TLS the
    server chooses between HTTP/2 and 1.1 unless `http` does. `max_idle` bounds the idle
    connections, per peer and in all; connections in use are not limited: limit your tasks.
    Leaving the block closes every connection; answers still being read end with `httpx.ReadError`.

    Raises:
        RequestError: not called under trio.
    """
    _require_trio()
    await trio.lowlevel.checkpoint()
    with bare_errors():
        async with trio.open_nursery() as nursery:
            inner = HttpTransport(
                nursery,
                network,
                max_idle_per_peer=max_idle,
                max_idle=max_idle,
                trust_env=trust_env,
                http2=http2,
            )
            try:
                alike = _Alike(ca_file, client_cert, client_key, proxy, deny_private, http)
                yield StreamNurseryTransport(inner, alike)
            finally:
                inner.close()
                nursery.cancel_scope.cancel()


def transport_over(inner: HttpTransport, *, http: HttpVersion = "auto") -> "StreamNurseryTransport":
    """httpx's face of a transport with another owner."""
    return StreamNurseryTransport(inner, _Alike("", "", "", "", False, http))


def _require_trio() -> None:
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        msg = "the transport runs under trio: call your main function with trio.run(main)"
        raise RequestError(msg) from None


@attrs.frozen
class _Alike:
    """What the connections to all servers have in common."""

    ca_file: str
    client_cert: str
    client_key: str
    proxy: str = attrs.field(repr=False)
    deny_private: bool
    http: HttpVersion

    def peer(self, origin: Origin) -> Peer:
        return Peer(
            origin,
            ca_file=self.ca_file,
            client_cert=self.client_cert,
            client_key=self.client_key,
            proxy=self.proxy,
            deny_private=self.deny_private,
            http=self.http,
        )


class StreamNurseryTransport(httpx.AsyncBaseTransport):
    """Made by `open_transport`."""

    def __init__(self, inner: HttpTransport, alike: _Alike) -> None:
        self._inner = inner
        self._alike = alike

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        face = _face_of(request)
        try:
            outgoing = await self._translate(request, face)
        except face.RequestError:
            await trio.lowlevel.checkpoint()
            raise
        watch = _ResponseWatch(request.extensions.get("timeout", {}))
        exchange: Exchange | None = None
        failure: EngineError | None = None
        with watch.scope:
            try:
                exchange = await self._inner.exchange(outgoing, watch)
            except EngineError as error:
                failure = error
        if failure is not None:
            await trio.lowlevel.checkpoint()
            _raise_mapped(failure, request, face)
        if exchange is None:
            raise watch.timed_out(request, face)
        answer: httpx.Response = face.Response(
            exchange.head.status,
            headers=[(k.encode("latin-1"), v.encode("latin-1")) for k, v in exchange.head.headers],
            stream=_body_of(face)(exchange, request, watch.read, face),
            extensions={"http_version": exchange.head.http_version.encode()},
        )
        return answer

    async def _translate(self, request: httpx.Request, face: Any) -> HttpRequest:
        url = request.url
        if url.scheme not in {"http", "https"}:
            msg = f"{url.scheme or 'no scheme'} cannot be spoken; the url must be http or https"
            raise face.UnsupportedProtocol(msg, request=request)
        host = url.raw_host.decode("ascii")
        origin = Origin(url.scheme, host, url.port or (443 if url.scheme == "https" else 80))
        if request.headers.get("host", origin.authority).lower() != origin.authority.lower():
            msg = "the Host header differs from the url; write the host into the url"
            raise face.LocalProtocolError(msg, request=request)
        peer = self._alike.peer(origin)
        target = url.raw_path.decode("ascii")
        return HttpRequest(peer, request.method, target, _headers(request), await request.aread())

    def statistics(self) -> TransportStatistics:
        return self._inner.statistics()

    async def aclose(self) -> None:
        """Close the idle connections; httpx calls it when a client ends. The transport itself
        lasts as long as its block."""
        self._inner.close_idle()
        await trio.lowlevel.checkpoint()


class _ResponseWatch(Unhurried):
    """httpx's timeouts for one request, as one scope that follows the phases."""

    def __init__(self, timeouts: dict[str, float | None]) -> None:
        self.scope = trio.CancelScope()
        self.read = _seconds(timeouts.get("read"))
        self._connect = _seconds(timeouts.get("connect"))
        self._phase = Phase.CONNECTING

    def enter(self, phase: Phase) -> None:
        self._phase = phase
        after = self._connect if phase is Phase.CONNECTING else self.read
        self.scope.deadline = trio.current_time() + after

    def timed_out(self, request: httpx.Request, face: Any) -> Exception:
        connecting = self._phase is Phase.CONNECTING
        kind = face.ConnectTimeout if connecting else face.ReadTimeout
        what = "connection" if connecting else "response head"
        error: Exception = kind(f"no {what} within the timeout", request=request)
        return error


class _Body:
    """The body of one response; `_body_of` makes it one of httpx or of httpx2."""

    def __init__(self, exchange: Exchange, request: httpx.Request, read: float, face: Any) -> None:
        self._face = face
        self._exchange = exchange
        self._request = request
        self._timeout = read

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        data: bytes | None = None
        failure: EngineError | None = None
        with trio.CancelScope(deadline=trio.current_time() + self._timeout):
            try:
                data = await self._exchange.receive_some()
            except EngineError as error:
                failure = error
        if failure is not None:
            _raise_mapped(failure, self._request, self._face)
        if data is None:
            self._exchange.close()
            raise self._face.ReadTimeout("no data within the timeout", request=self._request)
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        """Give the connection back if the rest comes at once; cancelled, do not even wait."""
        if trio.current_effective_deadline() > -inf:
            await self._exchange.drain()
        self._exchange.close()
        await trio.lowlevel.checkpoint()


@cache
def _body_of(face: Any) -> type[_Body]:
    return type("ResponseBody", (_Body, face.AsyncByteStream), {})


def _face_of(request: httpx.Request) -> Any:
    """The module whose client asked."""
    for kind in type(request).__mro__:
        name = kind.__module__.partition(".")[0]
        if name in _FACES:
            return sys.modules[name]
    msg = f"the transport serves clients of httpx and httpx2, not a {type(request).__name__}"
    raise RequestError(msg)


def _headers(request: httpx.Request) -> tuple[Header, ...]:
    """As they will be sent. All values are secrets: we cannot know which ones are."""
    found = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.headers.raw]
    return tuple(
        (name, Secret(value) if value.strip() else value)
        for name, value in found
        if name.lower() not in _WRITTEN_BY_US
    )


def _seconds(timeout: float | None) -> float:
    return inf if timeout is None else timeout


def _raise_mapped(error: EngineError, request: httpx.Request, face: Any) -> NoReturn:
    if isinstance(error, EngineClosedError):
        msg = f"{error}; it works inside `async with sn.open_transport() as transport:`"
        raise EngineClosedError(msg)
    for ours, theirs in _MAPPED:
        if isinstance(error, ours):
            raise getattr(face, theirs)(str(error), request=request) from error
    raise error
