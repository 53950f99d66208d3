"""The network as two small protocols, and its real form on trio.

Rule 1: a connection is read without waiting; waiting and reading are two calls, so that one
        reader, or one pump for all, can do the waiting.
Rule 2: FIN and RST differ: b"" and `ConnectionResetError`.
Rule 3: closing is synchronous, may be repeated, and wakes the tasks that wait on the connection.
Rule 4: TLS, happy eyeballs and proxies are built above this, so that a simulated network
        tests them too; nothing else in the package touches a socket.
"""

import errno
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

import trio

from streamnursery.transport.names import Names

Address: TypeAlias = tuple[str, int]
"""A numeric IP address and a port."""

Buffer: TypeAlias = bytes | bytearray | memoryview

READ_SIZE = 64 * 1024
"""Bytes that one read takes at most."""

_PROBE_AFTER = 60
"""Seconds of silence after which TCP asks whether the peer is still there."""
_GIVE_UP_AFTER = 60
"""Seconds without acknowledgement after which the connection counts as dead."""


class Connection(Protocol):
    """A byte stream between two ends. One task may read while another one sends."""

    def recv_nowait(self, max_bytes: int) -> bytes:
        """What has arrived; b"" after FIN.

        Raises:
            trio.WouldBlock: nothing has arrived.
            OSError: the connection broke; ConnectionResetError after RST.
            trio.ClosedResourceError: closed here.
        """

    async def wait_readable(self) -> None:
        """Return once `recv_nowait` may have something to say; a checkpoint in any case.

        Raises:
            trio.ClosedResourceError: closed here, also while waiting.
        """

    async def send_all(self, data: Buffer) -> None:
        """Hand all of `data` to the network; cancelled, some of it may have gone. A cancel point,
        and a schedule point only where it has to wait.

        Raises:
            OSError: the connection broke; BrokenPipeError after the peer closed.
            trio.ClosedResourceError: closed here, also while waiting.
        """

    def close(self) -> None: ...

    def fileno(self) -> int | None:
        """The descriptor to poll; None where no real socket lies below."""


class Announcing(Connection, Protocol):
    """A connection that can say itself when it is readable: in memory, or TLS above that."""

    on_readable: Callable[[], None] | None
    """Called synchronously whenever `readable_at` has become earlier. It must not raise."""

    @property
    def readable_at(self) -> float:
        """When `recv_nowait` will have something to say, on trio's clock; inf: not known."""


class Network(Protocol):
    """Names and connections."""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Numeric addresses in order of preference.

        Raises:
            OSError: the name does not resolve.
        """

    async def connect(self, address: Address) -> Connection:
        """Connect to a numeric address.

        Raises:
            OSError: refused or unreachable.
        """


def without_frames(error: BaseException) -> BaseException:
    """`error` as a cause that can be shown: no traceback in its chain holds a frame, and
    so a traceback with local variables shows no request head."""
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    while todo:
        link = todo.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            todo += (link.__cause__, link.__context__)
    return error


class TrioNetwork:
    """The operating system's network."""

    def __init__(self) -> None:
        self._names = Names()

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        try:
            found = await self._names.addresses(host)
        except UnicodeError:
            raise OSError(errno.EINVAL, "not a host name") from None
        return [(ip, port) for ip in found]

    async def connect(self, address: Address) -> Connection:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        # Python's sockets are close-on-exec from the start (PEP 446).
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            _set_options(sock)
            await _connect(sock, address)
        except BaseException:
            sock.close()
            raise
        return SocketConnection(sock)


async def _connect(sock: socket.socket, address: Address) -> None:
    await trio.lowlevel.checkpoint()
    code = sock.connect_ex(address)
    if code in (errno.EINPROGRESS, errno.EINTR):
        await trio.lowlevel.wait_writable(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _set_options(sock: socket.socket) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # The default waits two hours before it asks.
    if sys.platform == "linux":
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _PROBE_AFTER)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GIVE_UP_AFTER * 1000)


class SocketConnection:
    """A connected, non-blocking socket, which it owns."""

    __slots__ = ("_closed", "_sock")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._closed = False

    def recv_nowait(self, max_bytes: int) -> bytes:
        if self._closed:
            self._check_open()
        try:
            return self._sock.recv(max_bytes)
        except BlockingIOError:
            raise trio.WouldBlock from None

    async def wait_readable(self) -> None:
        if self._closed:
            self._check_open()
        await trio.lowlevel.wait_readable(self._sock)
        if self._closed:
            self._check_open()

    async def send_all(self, data: Buffer) -> None:
        # No schedule point: a request would cost a pass of the loop more, and then waits anyway.
        await trio.lowlevel.checkpoint_if_cancelled()
        with memoryview(data) as view:
            sent = 0
            while sent < len(view):
                count = self._send(view, sent)
                if not count:
                    await trio.lowlevel.wait_writable(self._sock)
                sent += count

    def _send(self, view: memoryview, start: int) -> int:
        if self._closed:
            self._check_open()
        with view[start:] as rest:
            try:
                return self._sock.send(rest)
            except BlockingIOError:
                return 0

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    def fileno(self) -> int | None:
        return None if self._closed else self._sock.fileno()

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this connection was closed here")
