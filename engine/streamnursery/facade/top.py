"""The local socket behind `streamnursery top`: each connection is given one snapshot as JSON, or
with the line `figures` what `facade/figures.py` has.

Rule 1: off unless it is asked for, and for its own user alone: the socket's mode is 0600 before
        anybody can connect, and what another user owns at its path is not touched.
Rule 2: bounded: a few readers at a time, each for a few seconds, and the oldest streams only. A
        reader that goes away or stands still costs the others nothing.
Rule 3: nothing is left: the socket goes when the engine does.
"""

import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import msgspec
import trio

from streamnursery.facade.figures import packed, totals
from streamnursery.values.errors import ConfigError

if TYPE_CHECKING:
    from streamnursery.facade.engine import Engine

MAX_STREAMS = 1000
"""The oldest streams that a snapshot on the socket holds."""
_READERS = 8
_SECONDS = 5.0
_ASKING = 0.2
"""Seconds for the line of a reader; one that says nothing is given the snapshot."""


async def serve_top(
    engine: "Engine",
    path: str,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve snapshots at `path` until cancelled.

    Raises:
        ConfigError: nothing can be served there.
    """
    listener = _listen(Path(path))
    try:
        task_status.started()
        readers = trio.CapacityLimiter(_READERS)
        async with trio.open_nursery() as nursery:
            while True:
                stream = await listener.accept()
                await readers.acquire_on_behalf_of(stream)
                nursery.start_soon(_tell, engine, stream, readers)
    finally:
        listener.socket.close()
        _remove(path)


def _listen(path: Path) -> trio.SocketListener:
    if not hasattr(socket, "AF_UNIX"):
        raise ConfigError("engine.top_socket: this system has no local sockets; leave it out")
    sock = socket.socket(socket.AF_UNIX)
    try:
        _clear(path)
        before = os.umask(0o177)  # synchronous: no other task makes a file meanwhile
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
        sock.listen(_READERS)
    except OSError as error:
        sock.close()
        what = error.strerror or str(error)
        msg = f"engine.top_socket: no socket can be made at {path}: {what}; name another place"
        raise ConfigError(msg) from None
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))


def _remove(path: str) -> None:
    Path(path).unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Take away a socket that an engine of this user left behind; one that answers stays."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.getuid():
        raise OSError(None, "something else is there")
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise OSError(None, "another engine is served there")
    path.unlink()


async def _tell(engine: "Engine", stream: trio.SocketStream, readers: trio.CapacityLimiter) -> None:
    try:
        with trio.move_on_after(_SECONDS), suppress(trio.BrokenResourceError):
            asked = b""
            with trio.move_on_after(_ASKING):
                asked = await stream.receive_some(64)
            text = await packed(engine) if asked.strip() == b"figures" else told(engine)
            await stream.send_all(text)
    finally:
        stream.socket.close()
        readers.release_on_behalf_of(stream)


def told(engine: "Engine") -> bytes:
    """The snapshot as one line of JSON."""
    snapshot = engine.snapshot()
    shown = attrs.evolve(
        snapshot,
        streams=tuple(snapshot.streams[:MAX_STREAMS]),
        limits=tuple(snapshot.limits),
        routes=dict(snapshot.routes),
    )
    body = {
        "streams_in_all": len(snapshot.streams),
        "totals": totals(engine),
        **attrs.asdict(shown),
    }
    return msgspec.json.encode(body) + b"\n"
