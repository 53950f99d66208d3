"""Takes the steps of answers: one task for all that wait for their time.

Rule 1: `Player.advance` does what is due without waiting, and says what it waits for.
Rule 2: while an answer waits for its time its own task watches the client, and the pacer
        advances it: a paced token costs no task step and no timer.
Rule 3: the pacer's task lives only while an answer waits. With a tick it wakes at most once
        per tick; without one, at the exact times.
"""

from bisect import bisect_right
from collections.abc import Iterator
from enum import Enum, auto
from heapq import heappop, heappush
from itertools import count
from math import ceil, inf
from typing import Protocol

import trio

from streamnursery.serving.steps import BATCH, How, Send, Step, Wait
from streamnursery.serving.stream import ServerStream

TURN = 64 * 1024
"""Bytes that one answer sends before it lets others go on."""


class Account(Protocol):
    """Learns what becomes of an answer."""

    def sent(self, nbytes: int, tokens: int, now: float) -> None:
        """Bytes were handed to the network, and with them the ends of `tokens` marks."""

    def ended(self, note: str, now: float) -> None:
        """The answer is over: the note of its `End`, "client gone" or "stopped"."""


class State(Enum):
    """What an answer waits for."""

    TIME = auto()
    """Until `Player.due`."""
    ROOM = auto()
    TURN = auto()
    NOTHING = auto()
    """It is over."""


class Player:
    """Sends one answer."""

    def __init__(self, stream: ServerStream, account: Account, steps: Iterator[Step]) -> None:
        self.due = -inf
        self.state = State.TURN
        self.how: How | None = None
        """What is to become of the connection; None: the client has gone."""
        self._stream = stream
        self._account = account
        self._steps = steps
        self._next: Step | None = None
        self._rest = memoryview(b"")
        self._apart = False
        self._marks: list[int] = []
        self._gone = 0

    def advance(self, now: float) -> State:
        """Do what is due. An error of the connection ends the answer."""
        if self.state is not State.NOTHING:
            try:
                self.state = self._advance(now)
            except OSError:
                self.abandon("client gone", now)
        return self.state

    def abandon(self, note: str, now: float) -> None:
        """The answer ends here; `note` goes into the log."""
        self.state = State.NOTHING
        self._account.ended(note, now)

    def _advance(self, now: float) -> State:
        turn = TURN
        while turn > 0:
            if now < self.due:
                return State.TIME
            if self._rest:
                turn -= len(self._rest)
                if not self._push(now):
                    return State.ROOM
                continue
            step = next(self._steps) if self._next is None else self._next
            self._next = None
            if isinstance(step, Send):
                self._load(step, now)
            elif isinstance(step, Wait):
                self.due = now + step.seconds
            else:
                self.how = step.how
                self._account.ended(step.note, now)
                return State.NOTHING
        return State.TURN

    def _load(self, send: Send, now: float) -> None:
        """Get `send` ready, together with what follows and is due: who is late joins."""
        self.due, self._apart = send.at, send.apart
        if send.at > now:
            self._next = send
            return
        parts, size = [send.data], len(send.data)
        self._marks, self._gone = list(send.marks), 0
        while not send.apart and size < BATCH:
            step = next(self._steps)
            if not isinstance(step, Send) or step.apart or step.at > now:
                self._next = step
                break
            parts.append(step.data)
            self._marks += [size + mark for mark in step.marks]
            size += len(step.data)
        self._rest = memoryview(parts[0] if len(parts) == 1 else b"".join(parts))

    def _push(self, now: float) -> bool:
        """Send on; whether all of what was ready is gone."""
        nbytes = self._stream.send_nowait(self._rest, apart=self._apart)
        if nbytes:
            before = self._gone
            self._gone += nbytes
            tokens = bisect_right(self._marks, self._gone) - bisect_right(self._marks, before)
            self._account.sent(nbytes, tokens, now)
            self._rest = self._rest[nbytes:]
        return not self._rest


class PacedPlayer:
    """A player that waits for its time, and the scope to cancel when its task is needed."""

    __slots__ = ("player", "scope", "valid")

    def __init__(self, player: Player, scope: trio.CancelScope) -> None:
        self.player = player
        self.scope = scope
        self.valid = True


class Pacer:
    """Advances players when they are due."""

    def __init__(self, nursery: trio.Nursery, tick: float = 0.0) -> None:
        self._nursery = nursery
        self._tick = tick
        self._queue: list[tuple[float, int, PacedPlayer]] = []
        self._order = count()
        self._waiting = 0
        self._running = False
        self._asleep: trio.CancelScope | None = None

    @property
    def waiting(self) -> int:
        return self._waiting

    def add(self, ticket: PacedPlayer) -> None:
        self._waiting += 1
        self._push(ticket)
        if not self._running:
            self._running = True
            self._nursery.start_soon(self._run)
        elif self._asleep is not None:
            self._asleep.deadline = min(self._asleep.deadline, self._rounded(ticket.player.due))

    def remove(self, ticket: PacedPlayer) -> None:
        if ticket.valid:
            ticket.valid = False
            self._waiting -= 1
            if not self._waiting and self._asleep is not None:
                self._asleep.cancel()

    def _push(self, ticket: PacedPlayer) -> None:
        heappush(self._queue, (ticket.player.due, next(self._order), ticket))

    def _rounded(self, due: float) -> float:
        return ceil(due / self._tick) * self._tick if self._tick and due < inf else due

    async def _run(self) -> None:
        try:
            while self._waiting:
                self._round(trio.current_time())
                # A deadline in the past makes this a checkpoint.
                due = self._queue[0][0] if self._queue else inf
                with trio.CancelScope(deadline=self._rounded(due)) as self._asleep:
                    if self._waiting:
                        await trio.sleep_forever()
                self._asleep = None
        finally:
            self._running = False
            self._asleep = None
            self._queue.clear()

    def _round(self, now: float) -> None:
        again = []
        while self._queue and self._queue[0][0] <= now:
            ticket = heappop(self._queue)[2]
            if not ticket.valid:
                continue
            state = ticket.player.advance(now)
            if state is State.TIME:
                self._push(ticket)
            elif state is State.TURN:
                again.append(ticket)
            else:
                self.remove(ticket)
                ticket.scope.cancel()
        for ticket in again:
            self._push(ticket)
