"""What a session has received and its caller has not read yet.

Rule 1: `put` never waits: the task that reads the connection must go on reading.
Rule 2: what finds no room is dropped, and counted; the reader gets a record of it in its place,
        once.
"""

from collections import deque
from typing import Any

import trio

from streamnursery.values.errors import EngineError, OverloadedError


class Inbox:
    """Events in order, bounded in number and bytes."""

    def __init__(self, max_events: int, max_bytes: int) -> None:
        self.nbytes = 0
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: deque[tuple[Any, int]] = deque()
        self._dropped = 0
        self._news = trio.Event()
        self._ended = False
        self._error: EngineError | None = None

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Any, nbytes: int) -> None:
        """Add an event, or an `EngineError` that is raised in its place."""
        full = len(self._events) >= self._max_events or self.nbytes + nbytes > self._max_bytes
        if self._dropped or (full and self._events):
            # Once one is missing the rest would follow a gap that was not reported.
            self._dropped += 1
            return
        self._events.append((event, nbytes))
        self.nbytes += nbytes
        self._news.set()

    def end(self, error: EngineError | None) -> None:
        """Nothing more will come; `error` is raised behind the last event."""
        if not self._ended:
            self._ended, self._error = True, error
            self._news.set()

    async def get(self) -> Any:
        """The next event.

        Raises:
            trio.EndOfChannel: nothing more will come.
            OverloadedError: events were dropped here for want of a reader.
            EngineError: what ended it, each time again.
        """
        await trio.lowlevel.checkpoint()
        while not self._events and not self._dropped and not self._ended:
            self._news = trio.Event()
            await self._news.wait()
        if self._events:
            event, nbytes = self._events.popleft()
            self.nbytes -= nbytes
            if isinstance(event, EngineError):
                raise event
            return event
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            msg = (
                f"{dropped} events of this session were dropped: they were not read in time; read "
                "faster, or raise sessions.buffer_events and sessions.buffer_bytes"
            )
            raise OverloadedError(msg)
        if self._error is not None:
            raise self._error.with_traceback(None)
        raise trio.EndOfChannel
