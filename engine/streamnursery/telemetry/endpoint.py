"""A small HTTP server for scrapes, in the engine's own run.

Rule 1: a scrape keeps no stream waiting: its text is made in slices, by one scrape at a time.
Rule 2: it listens on this machine alone unless it is asked to do more, and there it answers only to
        names of this machine: a web page could ask by another name (DNS rebinding).
Rule 3: what goes wrong in an answer is answered with 500 and logged; the engine goes on.
"""

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final

import trio

from streamnursery.facade import Engine
from streamnursery.serving.bounds import Bounds
from streamnursery.serving.call import ServerCall, Unlogged
from streamnursery.serving.head import RequestHead
from streamnursery.serving.listener import Listener, listen
from streamnursery.serving.local_names import is_local
from streamnursery.serving.service import Service
from streamnursery.telemetry.engines import AnyEngine, thread_of
from streamnursery.telemetry.prometheus import CONTENT_TYPE, scrape
from streamnursery.values.errors import ConfigError, EngineClosedError, RequestError

PATH: Final = "/metrics"
_BOUNDS: Final = Bounds(connections=64, idle=75.0, request=10.0, body=1024, bodies=64 * 1024)
_TEXT: Final = ("content-type", "text/plain; charset=utf-8")
_log = logging.getLogger("streamnursery.telemetry")


def serve_metrics(eng: AnyEngine, *, host: str = "127.0.0.1", port: int = 9464) -> "MetricsBlock":
    """Answer Prometheus at `http://host:port/metrics` for the length of the block:
    `async with serve_metrics(eng) as server:`, or `with` for an engine of `sync`. Port 0 takes a
    free one, `server.port`.

    The default address is of this machine alone. There is no password and no TLS: another one
    shows the names of models and tenants to everybody who reaches it.

    Raises:
        ConfigError: on entry, the address cannot be listened at.
        RequestError: `eng` is not an engine, `port` is not a port, or the block is not of its kind.
        EngineClosedError: on entry, the engine has ended.
    """
    thread_of(eng)
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 65536:
        msg = f"port must be a whole number from 0 to 65535, not {port!r}"
        raise RequestError(msg)
    return MetricsBlock(eng, host, port)


class MetricsServer:
    """A server of metrics that listens."""

    def __init__(self, listener: Listener, service: Service) -> None:
        self._listener = listener
        self._service = service
        self.host, self.port = listener.host, listener.port

    @property
    def url(self) -> str:
        """What a scrape asks for."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{PATH}"

    async def _stop(self, _: Engine) -> None:
        self._listener.close()
        await self._service.stop()


class MetricsBlock:
    """The block of `serve_metrics`; it can be entered once."""

    def __init__(self, eng: AnyEngine, host: str, port: int) -> None:
        self._eng = eng
        self._at = (host, port)
        self._server: MetricsServer | None = None

    async def __aenter__(self) -> MetricsServer:
        self._check(asynchronous=True)
        if isinstance(self._eng, Engine):
            server = await self._open(self._eng)
        else:
            server = await self._bridge.ask_task(self._open)
        self._server = server
        return server

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        if isinstance(self._eng, Engine):
            await self._server._stop(self._eng)
            return
        with suppress(EngineClosedError):
            await self._bridge.ask_task(self._server._stop)

    def __enter__(self) -> MetricsServer:
        self._check(asynchronous=False)
        server: MetricsServer = self._bridge.ask_task(self._open)
        self._server = server
        return server

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        with suppress(EngineClosedError):
            self._bridge.ask_task(self._server._stop)

    @property
    def _bridge(self) -> Any:
        assert not isinstance(self._eng, Engine)
        return self._eng._bridge

    def _check(self, *, asynchronous: bool) -> None:
        if self._server is not None:
            raise RequestError("this block can be entered once; call serve_metrics() again")
        is_async = isinstance(self._eng, Engine) or inspect.iscoroutinefunction(
            self._bridge.ask_task
        )
        if is_async != asynchronous:
            word = "async with" if is_async else "with"
            msg = f"the metrics of this engine are served by `{word} serve_metrics(eng):`"
            raise RequestError(msg)

    async def _open(self, engine: Engine) -> MetricsServer:
        return await listen_for_scrapes(engine._nursery, *self._at, partial(scrape, engine))


async def listen_for_scrapes(
    nursery: trio.Nursery, host: str, port: int, make_text: Callable[[], Awaitable[str]]
) -> MetricsServer:
    """Answer scrapes with what `make_text` gives, in tasks of `nursery`.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    try:
        sock = await listen(host, port)
    except OSError as error:
        msg = f"metrics cannot be served at {host}:{port}: {error}; name another host or port"
        raise ConfigError(msg) from None
    service = Service(nursery, _BOUNDS, http2=False)
    loopback = ip_address(sock.getsockname()[0]).is_loopback
    handler = _MetricsHandler(make_text, loopback=loopback)
    listener = Listener(sock, lambda stream: service.accept(stream, handler))
    nursery.start_soon(listener.run)
    return MetricsServer(listener, service)


class _MetricsHandler:
    """Answers scrapes."""

    def __init__(self, make_text: Callable[[], Awaitable[str]], *, loopback: bool) -> None:
        self.make_text = make_text
        self.one_at_a_time = trio.Lock()
        self._loopback = loopback

    def begin(self, _: ServerCall) -> "_Scrape":
        return _Scrape(self)

    def problem(self, head: RequestHead) -> tuple[int, str] | None:
        """Why a request is not answered, with its status."""
        if head.target.partition("?")[0] != PATH:
            return 404, f"Metrics are at {PATH}."
        if head.method not in ("GET", "HEAD"):
            return 405, "Ask with GET."
        host = dict(head.headers).get("host", "")
        if self._loopback and not is_local(host):
            return 403, "Ask by a name of this machine: localhost or 127.0.0.1."
        return None


class _Scrape(Unlogged):
    def __init__(self, handler: _MetricsHandler) -> None:
        self._handler = handler

    async def serve(self, call: ServerCall) -> None:
        await call.body()
        problem = self._handler.problem(call.head)
        if problem is not None:
            status, message = problem
            await call.reply(status, [_TEXT], f"{message}\n".encode())
            return
        try:
            async with self._handler.one_at_a_time:
                text = (await self._handler.make_text()).encode()
        except Exception:  # noqa: BLE001 - no fault in a figure may end the engine
            _log.exception("the metrics could not be made")
            await call.reply(500, [_TEXT], b"The metrics could not be made; see the log.\n")
            return
        await call.reply(200, [("content-type", CONTENT_TYPE)], text)
