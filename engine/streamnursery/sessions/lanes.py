"""Answers side by side on one session.

Rule 1: at most `max_in_flight` answers are under way, and on one lane one at a time. Who has no
        permit waits, first come first served among those that could go, and holds nothing else.
Rule 2: an answer that was left before its end is cancelled at the server, and its lane is not used
        again before the server has said that it ended: late events must not reach the next one.
Rule 3: an answer that is not read is not waited for: at its bound it fails, and the others go on.
Rule 4: a server that does not say which answer an event belongs to gets one answer at a time. Until
        it has shown that it does, that is assumed of it.
"""

from collections import deque
from copy import copy
from typing import TYPE_CHECKING

import attrs
import trio

from streamnursery.transport.ports import ByteSink
from streamnursery.values.errors import (
    ConnectionLostError,
    EngineError,
    OverloadedError,
    RequestError,
)
from streamnursery.wire.dialect import Envelope

if TYPE_CHECKING:
    from streamnursery.sessions.link import SessionLink


@attrs.define(eq=False)
class Permit:
    """One answer's right to be under way."""

    lane: str
    turn: "Turn | None" = None
    over: bool = False


class Turn:
    """One answer under way on a link; filled by the link's reader, read by an attempt."""

    def __init__(self, link: "SessionLink", permit: Permit) -> None:
        self.link = link
        self.permit = permit
        self.name: str | None = None
        """The server's name for the answer."""
        self.begun = trio.Event()
        """The first event is there, or none will ever be."""
        self.finished = False
        """The server has sent its last event."""
        self.left = False
        """It is not read any more."""
        self.over = trio.Event()
        """Nothing more will come for it."""
        self.error: EngineError | None = None
        self._early: list[bytes] = []
        self._sink: ByteSink | None = None
        self._paused = False

    def attach(self, sink: ByteSink) -> None:
        self._sink = sink
        early, self._early = self._early, []
        for data in early:
            self._feed(data)
        if self.error is not None:
            sink.end(self.error)

    def resume(self) -> None:
        self._paused = False

    def take(self, data: bytes, envelope: Envelope, *, last: bool) -> bool:
        """An event of this answer; False: it found no room, and the answer has failed."""
        self.name = self.name or envelope.answer
        if last:
            self.finished = True
            self.over.set()
        if self.left:
            return True
        if self._sink is None:
            self._early.append(data)
            self.begun.set()
            return True
        return self._feed(data)

    def fail(self, error: EngineError) -> None:
        """It will not go on."""
        if self.finished or self.error is not None:
            return
        self.error = error
        self.begun.set()
        if self._sink is not None and not self.left:
            self._sink.end(error)

    def _feed(self, data: bytes) -> bool:
        assert self._sink is not None
        if self._paused:
            msg = (
                "the stream's buffer is full and its connection cannot wait, because other answers "
                "come over it too; read faster, or raise buffer_events and buffer_bytes"
            )
            self.error = OverloadedError(msg)
            self._sink.end(self.error)
            return False
        self._paused = not self._sink.feed(data)
        return True


class TurnLanes:
    """Who may begin an answer, and whose an event is."""

    def __init__(self, max_in_flight: int, max_lanes: int) -> None:
        self.named: dict[str, None] = {}
        """Lanes that were used, in order."""
        self.lanes_known: bool | None = None
        """Whether the server says which lane an event belongs to; None: it has not spoken yet."""
        self._max_in_flight = max_in_flight
        self._max_lanes = max_lanes
        self._permits: dict[str, Permit] = {}
        self._waiting: deque[tuple[str | None, trio.Event, list[Permit]]] = deque()
        self._turns: dict[str, Turn] = {}
        self._done = trio.Event()

    @property
    def in_flight(self) -> int:
        return len(self._permits)

    @property
    def turns(self) -> tuple[Turn, ...]:
        return tuple(self._turns.values())

    # Permits. ---------------------------------------------------------------------------------

    async def enter(self, lane: str | None) -> Permit:
        """Wait for the right to begin an answer on `lane`, or on any."""
        await trio.lowlevel.checkpoint()
        if not self._waiting and (permit := self._grant(lane)) is not None:
            return permit
        granted: list[Permit] = []
        ticket = (lane, trio.Event(), granted)
        self._waiting.append(ticket)
        try:
            await ticket[1].wait()
        except trio.Cancelled:
            if granted:  # granted and cancelled in the same instant
                self.leave(granted[0])
            else:
                self._waiting.remove(ticket)
            raise
        return granted[0]

    def enter_nowait(self, lane: str | None) -> Permit:
        if not self._waiting and (permit := self._grant(lane)) is not None:
            return permit
        raise trio.WouldBlock

    def leave(self, permit: Permit) -> None:
        """The answer is not read any more. Idempotent."""
        if permit.over:
            return
        permit.over = True
        turn = permit.turn
        if turn is None or turn.over.is_set():
            self._free(permit)
        self._tell()

    def _tell(self) -> None:
        """A task may wait for answers to be done."""
        self._done.set()
        self._done = trio.Event()

    def _grant(self, lane: str | None) -> Permit | None:
        most = self._max_in_flight if self.lanes_known else 1
        if len(self._permits) >= most:
            return None
        if lane is None:
            lane = self._any_lane()
        if lane is None or lane in self._permits:
            return None
        self.named.setdefault(lane)
        permit = self._permits[lane] = Permit(lane)
        return permit

    def _any_lane(self) -> str | None:
        free = next((name for name in self.named if name not in self._permits), None)
        if free is not None or len(self.named) >= self._max_lanes:
            return free
        return next(n for i in range(1, 10_000) if (n := f"sn-{i}") not in self.named)

    def name(self, lane: str) -> None:
        """Raises `RequestError` for one lane more than a connection may have."""
        if lane not in self.named and len(self.named) >= self._max_lanes:
            msg = (
                f"lane {lane!r:.80} would be one more than sessions.max_lanes = {self._max_lanes}; "
                "use one of those that there are, or none"
            )
            raise RequestError(msg)
        self.named.setdefault(lane)

    def _free(self, permit: Permit) -> None:
        if self._permits.get(permit.lane) is permit:
            del self._permits[permit.lane]
            self._turns.pop(permit.lane, None)
            self._tell()
            self.look()

    def look(self) -> None:
        """Grant what can be granted."""
        for ticket in list(self._waiting):
            permit = self._grant(ticket[0])
            if permit is not None:
                self._waiting.remove(ticket)
                ticket[2].append(permit)
                ticket[1].set()

    # Turns. -----------------------------------------------------------------------------------

    def begin(self, permit: Permit, link: "SessionLink") -> Turn:
        turn = permit.turn = Turn(link, permit)
        self._turns[permit.lane] = turn
        return turn

    def find(self, link: "SessionLink", envelope: Envelope) -> Turn | None:
        """Whose event it is; None: of no answer here."""
        if envelope.lane is not None:
            turn = self._turns.get(envelope.lane)
        elif envelope.of_answer and len(self._turns) == 1:
            turn = next(iter(self._turns.values()))
        else:
            turn = None
        if turn is None or turn.link is not link:
            return None
        if self.lanes_known is None and not envelope.is_error:
            self.lanes_known = envelope.lane is not None
            self.look()
        return turn

    def ended(self, turn: Turn) -> None:
        """The server has said its last word on it."""
        if turn.permit.over:
            self._free(turn.permit)

    def link_ended(self, link: "SessionLink", error: EngineError | None) -> None:
        """Its answers will not go on."""
        lost = error or ConnectionLostError("the session's connection was ended")
        for turn in self.turns:
            if turn.link is link:
                # Each has its own error: it carries what that answer had delivered.
                turn.fail(copy(lost))
                turn.over.set()
                self.ended(turn)
        if not any(turn.link is not link for turn in self._turns.values()):
            self.named = dict.fromkeys(self._permits)
        self._tell()

    async def wait_done(self, link: "SessionLink") -> None:
        """Until no answer is under way on `link`."""
        while any(t.link is link and not (t.finished or t.left) for t in self.turns):
            if link.ended.is_set():
                return
            await self._done.wait()
