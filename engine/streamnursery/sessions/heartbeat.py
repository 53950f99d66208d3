"""The pulse of one connection: pings, and what follows from their answers.

Rule 1: one ping is out at a time. A ping asks whether the other side lives, and its answer also
        confirms every message that was written before it.
Rule 2: a missed beat is a lost connection at once, not at the next send.
Rule 3: before a verdict everything that has arrived is read (see `core/sessions/heartbeat.py`).
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from streamnursery.core.sessions.heartbeat import Beat, WallWatch
from streamnursery.core.sessions.outbox import Outbox
from streamnursery.transport.websocket import WebSocket
from streamnursery.values.errors import CallbackError, ConnectionLostError, EngineError
from streamnursery.values.session import SessionSettings

LOOK_EVERY = 5.0
"""Seconds between two looks at the wall clock."""
PASSES = 4
"""Rounds of the scheduler in which a reader gets to what has arrived: with 3, a pong that had come
was missed in three of ten orders of tasks."""
_AGAIN_AFTER = 0.1


class PulseLink(Protocol):
    """What a pulse needs of its link."""

    carries: bool
    outbox: Outbox
    settings: SessionSettings
    hook: Callable[[], Awaitable[object]] | None

    @property
    def socket(self) -> WebSocket:
        """The connection that is asked."""

    def confirmed(self) -> None:
        """Messages were confirmed."""

    def fail(self, error: EngineError) -> None:
        """End the link at once."""


class Pulse:
    """Beats while its link lasts."""

    def __init__(
        self, link: PulseLink, beat: Beat, watch: WallWatch, wall: Callable[[], float]
    ) -> None:
        self.beats = 0
        self.missed = 0
        self.wall_jumps = 0
        self.round_trip: float | None = None
        self._link = link
        self._beat = beat
        self._watch = watch
        self._wall = wall
        self._wanted = trio.Event()
        self._unconfirmed = False
        self._beaten = trio.Event()

    def confirm(self) -> None:
        """A message was written: its arrival is to be confirmed."""
        self._unconfirmed = True
        self._wanted.set()

    async def ask(self) -> None:
        """Beat now, and wait for the answer or the end of the link."""
        beaten = self._beaten
        self.confirm()
        await beaten.wait()

    def end(self) -> None:
        """No beat will be answered any more."""
        self._beaten.set()

    async def beat_forever(self, nursery: trio.Nursery) -> None:
        """Until a beat is missed; the nursery is the link's."""
        while True:
            await self._until_wanted()
            if not await self._ping(nursery):
                return

    async def _until_wanted(self) -> None:
        while not self._unconfirmed:
            now = trio.current_time()
            if self._watch.jumped(now, self._wall()) is not None:
                self.wall_jumps += 1
                self._beat.hurry(now)
            if now >= self._beat.due_at:
                return
            self._wanted = trio.Event()
            with trio.move_on_at(min(self._beat.due_at, now + LOOK_EVERY)):
                await self._wanted.wait()

    async def _ping(self, nursery: trio.Nursery) -> bool:
        link, beat = self._link, self._beat
        stream = link.socket.stream
        self._unconfirmed = False
        end = stream.queued
        beat.sent(trio.current_time())
        answered = trio.Event()
        nursery.start_soon(self._ask, self.beats.to_bytes(8, "big"), answered)
        deadline = beat.deadline
        while not answered.is_set():
            with trio.move_on_at(deadline):
                await answered.wait()
            if not answered.is_set():
                if await self._missed(answered):
                    return False
                deadline = trio.current_time() + _AGAIN_AFTER
        self.beats += 1
        self._beaten.set()
        self._beaten = trio.Event()
        at_beat = trio.current_time() >= beat.due_at
        self.round_trip = beat.on_answer(trio.current_time())
        if link.carries:
            link.outbox.confirmed(end)
            link.confirmed()
        if at_beat and link.hook is not None:
            await self._ask_hook(link.hook)
        return True

    async def _ask_hook(self, hook: Callable[[], Awaitable[object]]) -> None:
        """The caller's own sign of life, within the same timeout."""
        timeout = self._link.settings.heartbeat.timeout
        with trio.move_on_after(timeout) as scope:
            try:
                await hook()
            except Exception as error:  # noqa: BLE001 - the caller's code, whatever it raises
                msg = f"the session's heartbeat hook raised {type(error).__name__}; see __cause__"
                failure = CallbackError(msg)
                failure.__cause__ = error
                self._link.fail(failure)
        if scope.cancelled_caught:
            self.missed += 1
            msg = f"the heartbeat hook took longer than sessions.heartbeat.timeout = {timeout:g} s"
            self._link.fail(ConnectionLostError(msg))

    async def _ask(self, payload: bytes, answered: trio.Event) -> None:
        if await self._link.socket.ping(payload):
            answered.set()

    async def _missed(self, answered: trio.Event) -> bool:
        stream = self._link.socket.stream
        reads = stream.reads
        for _ in range(PASSES):
            await trio.lowlevel.checkpoint()
        unread = not stream.parked or stream.reads != reads
        if answered.is_set() or not self._beat.is_missed(trio.current_time(), unread=unread):
            return False
        self.missed += 1
        timeout = self._link.settings.heartbeat.timeout
        msg = f"no pong within sessions.heartbeat.timeout = {timeout:g} s: the connection is dead"
        self._link.fail(ConnectionLostError(msg))
        return True
