"""A network between an engine and its world that fails once, at the n-th use."""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from math import inf
from typing import cast

import trio

from streamnursery.transport.network import Address, Announcing, Buffer, Connection, Network


class FlakyNetwork:
    """Counts what can fail: look-ups, connects, reads that bring something, sends."""

    def __init__(self, fails_at: int | None) -> None:
        self.uses = 0
        self._fails_at = fails_at
        self._below: Network | None = None

    def around(self, network: Network) -> Network:
        """Stand between `network` and its users."""
        self._below = network
        return self

    def fails_now(self) -> bool:
        """Count one use; whether it is the one that fails."""
        self.uses += 1
        return self.uses == self._fails_at

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        assert self._below is not None
        if self.fails_now():
            await trio.lowlevel.checkpoint()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return await self._below.resolve(host, port)

    async def connect(self, address: Address) -> Connection:
        assert self._below is not None
        if self.fails_now():
            await trio.lowlevel.checkpoint()
            raise _error(errno.ECONNREFUSED)
        return _FlakyConnection(await self._below.connect(address), self)


class _FlakyConnection:
    """Once it has failed, every use of it fails, and the provider has lost its client."""

    def __init__(self, below: Connection, network: FlakyNetwork) -> None:
        self._below = below
        self._network = network
        self._broken = False
        self._closed = False

    def recv_nowait(self, max_bytes: int) -> bytes:
        if not self._broken:
            data = self._below.recv_nowait(max_bytes)
            if not self._network.fails_now():
                return data
            self._break()
        self._check_open()
        raise _error(errno.ECONNRESET)

    @property
    def readable_at(self) -> float:
        return -inf if self._broken else cast("Announcing", self._below).readable_at

    @property
    def on_readable(self) -> Callable[[], None] | None:
        return cast("Announcing", self._below).on_readable

    @on_readable.setter
    def on_readable(self, callback: Callable[[], None] | None) -> None:
        cast("Announcing", self._below).on_readable = callback

    async def wait_readable(self) -> None:
        if self._broken:
            await trio.lowlevel.checkpoint()
            self._check_open()
        else:
            await self._below.wait_readable()

    async def send_all(self, data: Buffer) -> None:
        if not self._broken and not self._network.fails_now():
            await self._below.send_all(data)
            return
        await trio.lowlevel.checkpoint()
        self._break()
        self._check_open()
        raise _error(errno.EPIPE)

    def _break(self) -> None:
        self._broken = True
        self._below.close()  # which calls `on_readable`

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this connection was closed here")

    def close(self) -> None:
        self._closed = True
        self._below.close()

    @property
    def closed(self) -> bool:
        return self._closed

    def fileno(self) -> int | None:
        return self._below.fileno()


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
