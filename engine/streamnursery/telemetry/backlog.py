"""Work that is done in its own thread, so that an exporter which is slow, down or broken costs
no stream anything.

Rule 1: `put` never waits. Beyond `MOST` items the new one is dropped and counted.
Rule 2: what is dropped, and work that raises, is logged once for each of the two.
Rule 3: the thread gives way every half millisecond: without that the engine's thread would wait for
        the interpreter's switch interval, 5 ms, whenever it wakes. After every item would cost
        85 us of each request where many run.
"""

import atexit
import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")

MOST: Final = 10_000
"""Items that may wait."""
_COLLECT: Final = 0.02
"""Seconds between the first item and the work on it: one wake-up of the thread for many items."""
_TURN: Final = 0.0005
"""Seconds of work after which the engine's thread may go on."""
_log = logging.getLogger("streamnursery.telemetry")


class Backlog(Generic[T]):
    """Gives items to `work`, in order, in a thread that is started with the first item; without
    `in_thread` at once, in the caller's."""

    def __init__(self, work: Callable[[T], None], *, in_thread: bool) -> None:
        self.dropped = 0
        """Items that found no room."""
        self.failed = 0
        """Items whose work raised."""
        self._work = work
        self._in_thread = in_thread
        self._items: deque[T] = deque()
        self._news = threading.Event()
        self._hurry = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def put(self, item: T) -> None:
        """Have `item` worked on soon; from any thread."""
        if not self._in_thread:
            self._do(item)
            return
        if len(self._items) >= MOST:
            self.dropped += 1
            if self.dropped == 1:
                _log.warning(
                    "telemetry is dropped: %d requests wait for the exporter, which is too slow; "
                    "see Otel.dropped",
                    MOST,
                )
            return
        with self._lock:
            self._items.append(item)
            self._idle.clear()
            if self._thread is None or not self._thread.is_alive():  # as in the child of a fork
                self._thread = threading.Thread(
                    target=self._run, name="streamnursery telemetry", daemon=True
                )
                self._thread.start()
                _live.add(self)
        self._news.set()

    def flush(self, timeout: float) -> bool:
        """Wait until everything that was put is done; whether it is, after `timeout` seconds."""
        self._hurry.set()
        self._news.set()
        return self._idle.wait(timeout)

    def _run(self) -> None:
        while True:
            self._news.wait()
            self._news.clear()
            self._hurry.wait(_COLLECT)
            self._hurry.clear()
            self._do_all()

    def _do_all(self) -> None:
        until = time.monotonic() + _TURN
        while True:
            with self._lock:
                if not self._items:
                    self._idle.set()
                    return
                item = self._items.popleft()
            self._do(item)
            now = time.monotonic()
            if now >= until:
                time.sleep(0)
                until = now + _TURN

    def _do(self, item: T) -> None:
        try:
            self._work(item)
        except Exception:  # noqa: BLE001 - the exporter is the user's code
            self.failed += 1
            if self.failed == 1:
                _log.warning("telemetry of a request could not be made", exc_info=True)


_live: "weakref.WeakSet[Backlog[Any]]" = weakref.WeakSet()


def _at_exit() -> None:
    # Registered behind the SDK's own, and so called before them: they export what this makes.
    for backlog in list(_live):
        backlog.flush(1.0)


atexit.register(_at_exit)
