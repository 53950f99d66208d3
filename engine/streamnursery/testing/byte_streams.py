"""Byte streams of a world, for protocols of your own: `stream = await world.connect(server)`.

Rule 1: both ends are trio streams; between them lie links of the simulator, with their latency,
        bandwidth and segments, on the world's clock.
Rule 2: a cut takes effect after a number of bytes from the server, wherever its sends begin and
        end: FIN ("end"), or RST ("reset"), which also loses what the client has not read.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Literal, TypeAlias

import trio

from streamnursery.serving.stream import Buffer
from streamnursery.simulator import Link
from streamnursery.simulator.pipe import PipeConnection, pipe

Ending: TypeAlias = Literal["end", "reset"]
_READ_SIZE = 64 * 1024


class WorldStream(trio.abc.HalfCloseableStream):
    """One end of a byte stream in memory; trio's errors, as `trio.SocketStream` raises them."""

    def __init__(self, pipe_end: PipeConnection) -> None:
        self._end = pipe_end

    @property
    def closed(self) -> bool:
        return self._end.closed

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            await trio.lowlevel.checkpoint()
            msg = f"max_bytes is at least 1, not {max_bytes}"
            raise ValueError(msg)
        try:
            await self._end.wait_readable()
            return self._end.recv_nowait(max_bytes or _READ_SIZE)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def send_all(self, data: Buffer) -> None:
        try:
            await self._end.send_all(data)
        except OSError as error:
            raise trio.BrokenResourceError(str(error)) from error

    async def wait_send_all_might_not_block(self) -> None:
        await self._end.wait_writable()

    async def send_eof(self) -> None:
        await trio.lowlevel.checkpoint()
        self._end.send_eof()

    async def aclose(self) -> None:
        self._end.close()
        await trio.lowlevel.checkpoint()

    def reset(self) -> None:
        """Close with RST: the other end loses what it has not read."""
        self._end.reset()


class _CutStream(WorldStream):
    """A server's end that is gone after so many bytes."""

    def __init__(self, pipe_end: PipeConnection, cut: int, how: Ending) -> None:
        super().__init__(pipe_end)
        self._left = cut
        self._how = how

    async def send_all(self, data: Buffer) -> None:
        with memoryview(data) as view, view[: self._left] as part:
            self._left -= len(part)
            await super().send_all(part)
            if len(part) == len(view):
                return
        if self._how == "reset":
            self.reset()
        else:
            self._end.send_eof()
            self._end.close()
        raise trio.BrokenResourceError("this world has cut the connection")


Server: TypeAlias = Callable[[WorldStream], Awaitable[object]]
"""What a server does with one connection, which is closed when it returns."""


def connect(
    nursery: trio.Nursery,
    server: Server,
    *,
    link: Link | None = None,
    back: Link | None = None,
    cut: int | None = None,
    how: Ending = "end",
) -> WorldStream:
    """The client's end; `server` runs in the nursery."""
    if cut is not None and cut < 0:
        msg = f"cut is a number of bytes, 0 or more, not {cut}"
        raise ValueError(msg)
    if how not in ("end", "reset"):
        msg = f'how is "end" or "reset", not {how!r}'
        raise ValueError(msg)
    ours, theirs = pipe(link, back)
    end = WorldStream(theirs) if cut is None else _CutStream(theirs, cut, how)
    nursery.start_soon(_serve, server, end)
    return WorldStream(ours)


async def _serve(server: Server, end: WorldStream) -> None:
    # A client that goes, and a cut, are what a server of one's own is there to meet.
    with suppress(trio.BrokenResourceError):
        async with end:
            await server(end)
