"""A simulated provider on a real socket of this machine.

    server = await serve_loopback(provider, nursery=nursery)
    server.url                                          -> "http://127.0.0.1:41234/v1"
    await server.stop(grace=5)

Network faults happen to connections that the kernel has accepted: refused ones are reset, and
in a black hole nothing is ever read. `ResolveFail` has no place here.
"""

import ssl
from ipaddress import ip_address
from typing import TYPE_CHECKING

import trio

from streamnursery.serving.bounds import Bounds
from streamnursery.serving.listener import Listener, listen
from streamnursery.serving.service import Service, ServiceStatistics
from streamnursery.serving.stream import ServerStream
from streamnursery.simulator import network_faults
from streamnursery.simulator.handler import ProviderHandler
from streamnursery.simulator.page import PageHandler
from streamnursery.simulator.provider import Provider

if TYPE_CHECKING:
    from streamnursery.serving.call import Handler


class LoopbackServer:
    """A listening socket and the connections it has accepted. Made by `serve_loopback`."""

    def __init__(self, listener: Listener, service: Service, tls: bool) -> None:
        self._listener = listener
        self._service = service
        self._scheme = "https" if tls else "http"
        self.host, self.port = listener.host, listener.port

    @property
    def url(self) -> str:
        """The base URL for OpenAI clients."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self._scheme}://{host}:{self.port}/v1"

    def statistics(self) -> ServiceStatistics:
        return self._service.statistics()

    async def stop(self, grace: float = 0.0) -> None:
        """Accept no more, let answers end for `grace` seconds, and return when all connections
        are closed. Cancelled, it closes them at once."""
        self._listener.close()
        await self._service.stop(grace)

    def close(self) -> None:
        """End everything; tasks are gone after a few steps."""
        self._listener.close()
        self._service.close()


async def serve_loopback(
    provider: Provider,
    *,
    nursery: trio.Nursery,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    http2: bool = True,
    tick: float = 0.001,
    idle: float = 75.0,
    request_time: float = 120.0,
    body_bytes: int = 256 * 1024 * 1024,
    page: bool = False,
) -> LoopbackServer:
    """Listen at `host` and `port` (0: a free one) and serve `provider` in `nursery`.

    `http2` speaks that to clients that begin with it; over TLS the context's ALPN decides.
    `tick` is by how many seconds paced tokens may be late, so that those of many streams go
    out together; `idle` after how many seconds a silent connection is closed. `request_time` is
    how many seconds a request and its body may take to arrive (408 after it), `body_bytes` how
    large the bodies of all requests in progress may be together (503 beyond it). `page` shows the
    last requests at `/`; on the loopback to browsers that ask by a name of this machine.

    Raises:
        OSError: the address cannot be bound.
    """
    bounds = Bounds(bodies=body_bytes, idle=idle, request=request_time)
    service = Service(nursery, bounds, tick=tick, http2=http2)
    sock = await listen(host, port)
    handler: Handler = ProviderHandler(provider)
    if page:
        loopback = ip_address(sock.getsockname()[0]).is_loopback
        handler = PageHandler(provider, handler, loopback=loopback)

    def accept(stream: ServerStream) -> None:
        faults = provider._state.connection_faults(trio.current_time())
        network_faults.accept(service, stream, handler, faults, tls)

    listener = Listener(sock, accept)
    provider.elapsed(trio.current_time())
    nursery.start_soon(listener.run)
    return LoopbackServer(listener, service, tls is not None)
