"""What keeps a session: its connection, its messages, its answers. `Session` is its user's side.

Rule 1: a message that was accepted has one outcome, given once (`core/sessions/outbox`).
Rule 2: nothing here waits for a reader: events go into a bounded inbox or to the answer they
        belong to. An event without room fails its own reader and no other.
Rule 3: LOST and CLOSED are final: every waiter is woken then.
"""

from copy import copy
from typing import TYPE_CHECKING, Any

import attrs
import trio

from streamnursery.core.sessions.state_machine import SessionSignal, next_state
from streamnursery.pipeline.channel import BufferTotal
from streamnursery.sessions.inbox import Inbox
from streamnursery.sessions.lanes import Turn, TurnLanes
from streamnursery.sessions.link import Destination, LinkDeps, SessionLink
from streamnursery.sessions.messages import Messages
from streamnursery.sessions.reconnect import Keeper
from streamnursery.sessions.statistics import EndedLinks, session_statistics
from streamnursery.supervisor.ports import Recorder
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.errors import (
    ConnectionLostError,
    EngineClosedError,
    EngineError,
    MalformedChunkError,
    OverloadedError,
)
from streamnursery.values.session import (
    SendOutcome,
    SessionSettings,
    SessionState,
    SessionStatistics,
)
from streamnursery.wire.dialect import Envelope, SessionDialect
from streamnursery.wire.json_text import excerpt, read_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

FORGIVEN = 30.0
"""Seconds that a server has to end a cancelled answer; then the connection is replaced."""
CLOSED = "the session is closed; open another one"


class SessionCore:
    """One session. Made by `Sessions`; used by its tasks, its answers and its `Session`."""

    def __init__(
        self,
        *,
        number: int,
        dialect: SessionDialect,
        destination: Destination,
        settings: SessionSettings,
        means: LinkDeps,
        recorder: Recorder,
    ) -> None:
        self.number = number
        self.dialect = dialect
        self.endpoint = destination.endpoint
        self.settings = settings
        self.recorder = recorder
        self.hook: Callable[[], Awaitable[object]] | None = None
        """Called with each beat; set before the first connection is made."""
        self.error: EngineError | None = None
        """What it was lost by."""
        self.lanes = TurnLanes(settings.max_in_flight, settings.max_lanes)
        self.messages = Messages(settings.pending, self.check_usable, self._look)
        self.buffers = BufferTotal(settings.max_buffered_bytes)
        self.dice = means.dice
        self.inbox = Inbox(settings.buffer_events, settings.buffer_bytes)
        self.link: SessionLink | None = None
        self.keeper: Keeper | None = None
        self.past = EndedLinks()
        self.done = trio.Event()
        """Its tasks are over."""
        self._destination = destination
        self._means = means
        self._state = SessionState.CONNECTING
        self._links: dict[SessionLink, None] = {}
        self._nursery: trio.Nursery | None = None
        self._changed = trio.Event()
        self._scope = trio.CancelScope()

    @property
    def state(self) -> SessionState:
        return self._state

    def statistics(self) -> SessionStatistics:
        """A snapshot."""
        return session_statistics(
            self._state,
            self.link,
            self.keeper,
            self.past.with_links(self.links),
            (self.messages.outbox, self.inbox, self.lanes),
            self.buffers.current_bytes,
        )

    @property
    def links(self) -> tuple[SessionLink, ...]:
        return tuple(self._links)

    @property
    def connections(self) -> int:
        """Sockets that are open or being opened."""
        return len(self._links)

    async def run(self) -> None:
        """Keep it connected until it is closed or lost."""
        try:
            with self._scope, bare_errors():
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    self.keeper = Keeper(self, nursery)
                    try:
                        await self.keeper.run()
                    except EngineError as error:
                        self.keeper.gave_up(error)
                        self._end(SessionSignal.GAVE_UP, error)
                    nursery.cancel_scope.cancel()
        finally:
            self._end(SessionSignal.CLOSED, None)
            self.done.set()

    async def close(self, *, in_order: bool) -> None:
        """End it; with `in_order` the peer gets a close frame, and a moment to answer."""
        link = self.link
        self._end(SessionSignal.CLOSED, None)
        if in_order and link is not None:
            await link.goodbye()
        self._scope.cancel()
        await self.done.wait()

    def mark_closed(self) -> None:
        """End it at once, because the engine ends."""
        self._end(SessionSignal.CLOSED, None)
        self._scope.cancel()

    def make_link(self) -> SessionLink:
        link = SessionLink(
            self, self._destination, self.settings, self._means, self.messages.outbox
        )
        self._links[link] = None
        return link

    def renew_key(self) -> bool:
        """Whether the key file of the endpoint has another key than the connections were made
        with; the next ones are made with it."""
        headers = self._destination.read_headers()
        if headers == self._destination.headers:
            return False
        self._destination = attrs.evolve(self._destination, headers=headers)
        return True

    def adopt(self, link: SessionLink) -> None:
        """`link` is the connection from now on."""
        self.link = link
        link.adopt()
        self._move(SessionSignal.OPENED)

    def on_connection_lost(self) -> None:
        self._move(SessionSignal.BROKE)

    def link_ended(self, link: SessionLink) -> None:
        """Called when a link is over."""
        self._links.pop(link, None)
        self.past.add(link)
        self.lanes.link_ended(link, link.error)
        self.confirmed()

    def received(self, link: SessionLink, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        self.past.received += 1
        envelope = self.dialect.envelope(data)
        if envelope is not None:
            if envelope.worn_out:
                self._worn_out(link)
            turn = self.lanes.find(link, envelope)
            if turn is not None:
                self._take(turn, data, envelope)
                return
            if envelope.lane is not None and envelope.lane in self.lanes.named:
                return  # late news of an answer that is over
        self.inbox.put(_object(data), len(data))

    def confirmed(self) -> None:
        self.messages.confirmed()

    async def wait_confirmed(self, link: SessionLink) -> None:
        """Until nothing that was written on `link` is unconfirmed, or it ends."""
        await trio.lowlevel.checkpoint()
        while link.outbox.unconfirmed and not link.ended.is_set():
            await self.messages.wait_confirmed()

    async def usable_link(self) -> SessionLink:
        """The connection that answers may begin on; waits while there is none."""
        await trio.lowlevel.checkpoint()
        while True:
            if self.link is not None and self.link.usable and self.link.takes:
                return self.link
            self.check_usable()
            await self._changed.wait()

    def leave(self, turn: Turn) -> None:
        """This answer is not read any more."""
        if turn.left or turn.finished:
            return
        turn.left = True
        link = turn.link
        if link.usable and self._nursery is not None:
            lane = turn.permit.lane if self.lanes.lanes_known else None
            link.post(self.dialect.cancel(lane))
            self._nursery.start_soon(self._forgive, turn)

    def _take(self, turn: Turn, data: bytes, envelope: Envelope) -> None:
        # The refusal of a cancel is not the end of what was to be cancelled.
        refusal = envelope.is_error and turn.left and not self.lanes.lanes_known
        last = envelope.ends_answer and not refusal
        if not turn.take(data, envelope, last=last):
            self.leave(turn)
        if last:
            self.lanes.ended(turn)

    async def _forgive(self, turn: Turn) -> None:
        """A cancelled answer that does not end keeps its lane: replace the connection in time."""
        with trio.move_on_after(FORGIVEN):
            await turn.over.wait()
            return
        if turn.link.usable:
            self._worn_out(turn.link)

    def _look(self) -> None:
        if self.link is not None:
            self.link.look()

    def _worn_out(self, link: SessionLink) -> None:
        link.worn_out = True
        if self.keeper is not None:
            self.keeper.renew_now(link)

    def _move(self, signal: SessionSignal) -> None:
        self._state = next_state(self._state, signal)
        self._changed.set()
        self._changed = trio.Event()

    def _end(self, signal: SessionSignal, error: EngineError | None) -> None:
        if error is not None and self.error is None:
            self.error = error
        before = self._state
        self._move(signal)
        if self._state is before:
            return
        self.messages.close()
        self.inbox.end(self.error)

    def check_usable(self) -> None:
        if self._state is SessionState.CLOSED:
            raise EngineClosedError(CLOSED)
        if self._state is SessionState.LOST:
            assert self.error is not None
            raise self._lost()

    def _lost(self) -> EngineError:
        assert self.error is not None
        return copy(self.error)

    def undelivered(self, outcome: SendOutcome) -> EngineError:
        if outcome is SendOutcome.UNKNOWN:
            return ConnectionLostError(
                "the connection broke before the message was confirmed: it may have arrived, or "
                "not; ask the other side, or send it with idempotent=True if twice does no harm",
                code="maybe_sent",
                retryable=False,
            )
        if self._state in (SessionState.LOST, SessionState.CLOSED):
            return self._lost() if self.error is not None else EngineClosedError(CLOSED)
        return OverloadedError("the message was dropped from the pending queue for a newer one")


def _object(data: bytes) -> dict[str, Any] | EngineError:
    value = read_json(data)
    if isinstance(value, dict):
        return value
    msg = "the session received a message that is no JSON object; .body has its beginning"
    return MalformedChunkError(msg, body=excerpt(data, 200))
