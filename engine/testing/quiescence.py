"""Nothing is left: the check after every ending."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from engine.facade import Engine

_OPEN_FILES = Path("/proc/self/fd")


def assert_quiescent(engine: Engine) -> None:
    """Slots, queue, stream tasks, buffers and busy connections are zero; idle connections are
    within their limit.

    Raises:
        AssertionError: naming everything that is left.
    """
    left = _left(engine)
    if left:
        msg = "the engine is not quiescent: " + "; ".join(left)
        raise AssertionError(msg)


async def wait_quiescent(engine: Engine, within: float = 0.1) -> None:
    """Give the engine at most `within` seconds to come to rest.

    Raises:
        AssertionError: naming everything that is left then.
    """
    deadline = trio.current_time() + within
    while _left(engine) and trio.current_time() < deadline:
        await trio.sleep(within / 10)
    assert_quiescent(engine)


@contextmanager
def no_files_left_open() -> Iterator[None]:
    """Around a whole run: as many file descriptors after it as before.

    Does nothing where /proc is missing.

    Raises:
        AssertionError: naming what the new ones are.
    """
    before = _open_files()
    yield
    new = {fd: name for fd, name in _open_files().items() if before.get(fd) != name}
    if new:
        msg = f"file descriptors were left open: {new}"
        raise AssertionError(msg)


def _left(engine: Engine) -> list[str]:
    statistics = engine.statistics()
    counts = {
        "slots taken": statistics.active,
        "requests waiting": statistics.queued,
        "stream tasks": statistics.streams,
        "busy connections": statistics.connections.busy,
        "buffered bytes": statistics.buffered_bytes,
    }
    left = [f"{count} {what}" for what, count in counts.items() if count]
    for name, model in statistics.models.items():
        if model.active:
            left.append(f"{model.active} slots of model {name!r}")
    limit = statistics.connections.max_idle
    if statistics.connections.idle > limit:
        left.append(f"{statistics.connections.idle} idle connections, over the limit of {limit}")
    return left


def _open_files() -> dict[str, str]:
    found = {}
    if _OPEN_FILES.is_dir():
        for fd in os.listdir(_OPEN_FILES):
            try:
                found[fd] = os.readlink(_OPEN_FILES / fd)
            except OSError:
                continue  # the one that listed the folder
    return found
