"""A listening socket, and what comes to it."""

import errno
import socket
from collections.abc import Callable

import trio

from streamnursery.serving.sockets import SocketStream

_BACKLOG = 4096
_AT_ONCE = 256
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


async def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at `host` and `port` (0: a free one).

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
    return sock


class Listener:
    """Gives what a listening socket accepts to `accept`."""

    def __init__(self, sock: socket.socket, accept: Callable[[SocketStream], None]) -> None:
        self._sock = sock
        self._accept = accept
        self._scope = trio.CancelScope()
        self.host, self.port = sock.getsockname()[:2]

    async def run(self) -> None:
        """Until `close`, or until it is cancelled; then the socket is closed."""
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
            self._accept(SocketStream(sock))
        return True

    def close(self) -> None:
        """Accept no more."""
        self._scope.cancel()
