"""Nothing is left: the check after every ending."""

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import trio

from streamnursery.facade import Engine
from streamnursery.testing.own_network import OwnNetwork

_LOOKS = 10
_OPEN_FILES = Path("/proc/self/fd")


def assert_quiescent(engine: Engine) -> None:
    """Slots, queue, stream tasks, buffers, busy connections and HTTP/2 streams are zero; idle
    connections are within their limit and, in a simulated world, in the transport's own books
    and nowhere else.

    Raises:
        AssertionError: naming everything that is left.
    """
    left = remains(engine)
    if left:
        msg = "the engine is not quiescent: " + "; ".join(left)
        raise AssertionError(msg)


async def wait_quiescent(engine: Engine, within: float = 0.1) -> None:
    """Give the engine at most `within` seconds to come to rest.

    Raises:
        AssertionError: naming everything that is left then.
    """
    for _ in range(_LOOKS):
        if not remains(engine):
            await trio.lowlevel.checkpoint()
            return
        await trio.sleep(within / _LOOKS)
    assert_quiescent(engine)


@contextmanager
def no_files_left_open() -> Iterator[None]:
    """Around a whole run: as many file descriptors after it as before.

    Does nothing where /proc is missing.

    Raises:
        AssertionError: naming what the new ones are.
    """
    before = open_files()
    yield
    new = {fd: name for fd, name in open_files().items() if before.get(fd) != name}
    if new:
        msg = f"file descriptors were left open: {new}"
        raise AssertionError(msg)


def remains(engine: Engine, *, closed: bool = False) -> list[str]:
    """What an engine at rest would not hold, or one that is closed."""
    statistics = engine.statistics()
    connections = statistics.connections
    counts = {
        "slots taken": statistics.active,
        "requests waiting": statistics.queued,
        "stream tasks": statistics.streams,
        "busy connections": connections.busy,
        "HTTP/2 streams": connections.http2_streams,
        "buffered bytes": statistics.buffered_bytes,
        "sessions": statistics.sessions,
        "reservations of money": engine._spending.reservations,
        "holds of money": engine._spending.ledger.holds,
        "requests waiting for a budget": engine._spending.waiting,
        **engine._admission.remains(),
    }
    left = [f"{count} {what}" for what, count in counts.items() if count]
    for name, model in statistics.models.items():
        if model.active:
            left.append(f"{model.active} slots of model {name!r}")
    most = 0 if closed else connections.max_idle
    if connections.idle > most:
        left.append(f"{connections.idle} idle connections, over the {most} allowed")
    network = engine._outside.network
    if isinstance(network, OwnNetwork):
        known = connections.idle + connections.busy + statistics.session_connections
        if network.open_connections > known:
            left.append(f"{network.open_connections - known} connections that no pool knows")
    return left


def open_files() -> dict[str, str]:
    """What each descriptor of this process stands for; empty where it cannot be known."""
    found = {}
    if _OPEN_FILES.is_dir():
        for fd in os.listdir(_OPEN_FILES):
            try:
                found[fd] = os.readlink(_OPEN_FILES / fd)
            except OSError:
                continue  # the one that listed the folder
    return found


def assert_nothing_real(threads: set[threading.Thread], files: Mapping[str, str]) -> None:
    """A virtual clock cannot wait for what is real: it would jump over it."""
    new = [thread.name for thread in threading.enumerate() if thread not in threads]
    opened = [name for fd, name in open_files().items() if files.get(fd) != name]
    if new or opened:
        msg = f"a simulated world has no threads and opens no files; there were {new + opened}"
        raise AssertionError(msg)
