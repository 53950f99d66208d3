"""A simulated provider on a real socket of this machine.

    server = await serve_loopback(provider, nursery=nursery)
    server.url                                          -> "http://127.0.0.1:41234/v1"
    await server.stop(grace=5)

Network faults happen to connections that the kernel has accepted: refused ones are reset, and
in a black hole nothing is ever read. `ResolveFail` has no place here.
"""

import errno
import socket
import ssl

import trio

from streamnursery.simulator.provider import Provider
from streamnursery.simulator.service import Service, ServiceStatistics
from streamnursery.simulator.sockets import SocketStream

_BACKLOG = 4096
_AT_ONCE = 256
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class LoopbackServer:
    """A listening socket and the connections it has accepted. Made by `serve_loopback`."""

    def __init__(
        self,
        sock: socket.socket,
        provider: Provider,
        service: Service,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._sock = sock
        self._provider = provider
        self._service = service
        self._tls = tls
        self._scope = trio.CancelScope()
        self.host, self.port = sock.getsockname()[:2]

    @property
    def url(self) -> str:
        """The base URL for OpenAI clients."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self._tls else ''}://{host}:{self.port}/v1"

    async def accept_forever(self) -> None:
        """Run by `serve_loopback`; ends with `stop`, `close` or its nursery."""
        try:
            with self._scope:
                while True:
                    await trio.lowlevel.wait_readable(self._sock)
                    if not self._accept_some():
                        # Connections wait in the kernel until some of ours have ended.
                        await trio.sleep(0.1)
        finally:
            self._sock.close()

    def _accept_some(self) -> bool:
        """Accept what waits; False when the machine has no descriptors left."""
        for _ in range(_AT_ONCE):
            try:
                sock, _ = self._sock.accept()
            except BlockingIOError:
                return True
            except OSError as error:
                # The others are about a connection that broke before it was accepted.
                return error.errno not in _EXHAUSTED
            faults = self._provider.connection_faults(trio.current_time())
            self._service.accept(SocketStream(sock), self._provider, faults, self._tls)
        return True

    def statistics(self) -> ServiceStatistics:
        return self._service.statistics()

    async def stop(self, grace: float = 0.0) -> None:
        """Accept no more, let answers end for `grace` seconds, and return when all connections
        are closed. Cancelled, it closes them at once."""
        self._scope.cancel()
        await self._service.stop(grace)

    def close(self) -> None:
        """End everything; tasks are gone after a few steps."""
        self._scope.cancel()
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
) -> LoopbackServer:
    """Listen at `host` and `port` (0: a free one) and serve `provider` in `nursery`.

    `http2` speaks that to clients that begin with it; over TLS the context's ALPN decides.
    `tick` is by how many seconds paced tokens may be late, so that those of many streams go
    out together; `idle` after how many seconds a silent connection is closed.

    Raises:
        OSError: the address cannot be bound.
    """
    flags = socket.AI_PASSIVE
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    sock = socket.socket(found[0][0], socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(found[0][4])
        sock.listen(_BACKLOG)
    except BaseException:
        sock.close()
        raise
    provider.elapsed(trio.current_time())
    server = LoopbackServer(
        sock, provider, Service(nursery, tick=tick, idle=idle, http2=http2), tls
    )
    nursery.start_soon(server.accept_forever)
    return server
