"""A session as its user holds it.

Rule 1: a message that was accepted has one outcome, told once (`core/sessions/outbox`).
Rule 2: nothing here waits for a reader: events go into a bounded inbox or to the answer they
        belong to. What finds no room is told to its own reader and to nobody else.
Rule 3: LOST and CLOSED are final: everybody who waits is told then.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from copy import copy
from typing import Any

import msgspec
import trio

from streamnursery.core.sessions.state_machine import SessionSignal, next_state
from streamnursery.pipeline.channel import BufferTotal
from streamnursery.pipeline.stream import TokenStream
from streamnursery.sessions.inbox import Inbox
from streamnursery.sessions.lanes import Turn, TurnLanes
from streamnursery.sessions.link import Destination, LinkDeps, SessionLink
from streamnursery.sessions.messages import Messages, Receipt, make_entry
from streamnursery.sessions.reconnect import Keeper
from streamnursery.sessions.statistics import EndedLinks, session_statistics
from streamnursery.sessions.typed import TypedEvents
from streamnursery.supervisor.ports import Recorder
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.errors import (
    ConnectionLostError,
    EngineClosedError,
    EngineError,
    MalformedChunkError,
    OverloadedError,
    RequestError,
)
from streamnursery.values.session import (
    SendOutcome,
    SessionSettings,
    SessionState,
    SessionStatistics,
)
from streamnursery.wire.json_text import excerpt, read_json
from streamnursery.wire.openai_responses_lane import Envelope, is_limit, read_envelope

FORGIVEN = 30.0
"""Seconds that a server has to end a cancelled answer; then the connection is replaced."""
CLOSED = "the session is closed; open another one"

StreamOpener = Callable[..., AbstractAsyncContextManager[TokenStream]]


class Session:
    """A connection to an endpoint that is kept: made by `Engine.session`, usable in its block.

    `async for event in session` gives the JSON objects that belong to no `stream`, as they come.
    One task reads; any task may send and stream.
    """

    def __init__(
        self,
        *,
        number: int,
        destination: Destination,
        settings: SessionSettings,
        means: LinkDeps,
        recorder: Recorder,
        open_stream: StreamOpener,
        hook: Callable[["Session"], Awaitable[object]] | None,
    ) -> None:
        self.number = number
        """Within its engine, from 1; records of its connections carry it."""
        self.endpoint = destination.endpoint
        self.settings = settings
        self.recorder = recorder
        self.error: EngineError | None = None
        """What it was lost by."""
        self.lanes = TurnLanes(settings.max_in_flight, settings.max_lanes)
        self.messages = Messages(settings.pending, self._check_usable, self._look)
        self.buffers = BufferTotal(settings.max_buffered_bytes)
        self.dice = means.dice
        self.hook = None if hook is None else self._bound_hook(hook)
        self._destination = destination
        self._means = means
        self._open_stream = open_stream
        self._state = SessionState.CONNECTING
        self.inbox = Inbox(settings.buffer_events, settings.buffer_bytes)
        self.link: SessionLink | None = None
        self._links: dict[SessionLink, None] = {}
        self.keeper: Keeper | None = None
        self._nursery: trio.Nursery | None = None
        self._changed = trio.Event()
        self._scope = trio.CancelScope()
        self.past = EndedLinks()
        self.done = trio.Event()
        """Its tasks are over."""

    def _bound_hook(
        self, hook: Callable[["Session"], Awaitable[object]]
    ) -> Callable[[], Awaitable[object]]:
        def call() -> Awaitable[object]:
            return hook(self)

        return call

    # For users. -------------------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        return self._state

    async def wait_open(self) -> None:
        """Until there is a connection.

        Raises:
            EngineError: there will be none.
        """
        await self.usable_link()

    async def beat(self) -> float:
        """Ask the other side for a sign of life; seconds that it took.

        Raises:
            EngineError: the session is over, or its connection ended meanwhile.
        """
        link = await self.usable_link()
        began_at = trio.current_time()
        assert link.pulse is not None
        await link.pulse.ask()
        if not link.usable:
            raise ConnectionLostError("the connection ended before it had answered")
        return trio.current_time() - began_at

    async def send(
        self, message: Mapping[str, Any] | msgspec.Struct, *, idempotent: bool | None = None
    ) -> None:
        """Send a JSON object, and return when the other side has it.

        While there is no connection it waits for one, in the pending queue. `idempotent` says
        whether it may be sent again when nobody knows if it arrived; None: only if that is
        certain to be harmless, as of a `session.update` or an item with an id of its own.

        Raises:
            OverloadedError: refused: the pending queue is full, or it was dropped for a newer one.
            ConnectionLostError: the session is lost; with code "maybe_sent", or its connection
                broke after the message had been sent and before its arrival was confirmed.
            RequestError: it cannot be said in JSON.
        """
        try:
            entry = make_entry(message, idempotent)
            self._check_usable()
            outcome = await self.messages.send(entry)
        except EngineError:
            await trio.lowlevel.checkpoint()
            raise
        if outcome is not SendOutcome.DELIVERED:
            raise self._undelivered(outcome)

    def send_nowait(
        self, message: Mapping[str, Any] | msgspec.Struct, *, idempotent: bool | None = None
    ) -> Receipt:
        """As `send`, but its outcome comes later: `await receipt.wait()`.

        Raises:
            OverloadedError: the pending queue is full.
            ConnectionLostError, EngineClosedError, RequestError: as `send`.
        """
        entry = make_entry(message, idempotent)
        self._check_usable()
        return self.messages.send_nowait(entry)

    def __aiter__(self) -> "Session":
        return self

    async def __anext__(self) -> dict[str, Any]:
        try:
            event: dict[str, Any] = await self.inbox.get()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return event

    def typed(self) -> TypedEvents:
        """The same events as stream events (`TextDelta`, `Finished`, ...), for a session whose
        answers are asked for with `send`: a realtime one."""
        return TypedEvents(self)

    def stream(
        self, model: Any, prompt: object = None, *, lane: str | None = None, **options: Any
    ) -> AbstractAsyncContextManager[TokenStream]:
        """An answer over this session: takes what `Engine.stream` takes, gives the same stream.

        Answers on one `lane` come one after the other; without a lane each takes one that is free.
        `previous_response_id="resp_..."` goes on from an answer of before. A connection that breaks
        before the first token costs the answer nothing but time; after it `on_interrupt` decides.
        A reader that is too slow fails its own answer with `OverloadedError`.
        """
        self._check_usable()
        if lane is not None:
            if not isinstance(lane, str) or not 0 < len(lane) <= 64:
                raise RequestError("a lane is a name of 1 to 64 characters")
            self.lanes.name(lane)
        return self._open_stream(self, model, prompt, lane=lane, **options)

    def statistics(self) -> SessionStatistics:
        """A snapshot."""
        return session_statistics(self)

    def __repr__(self) -> str:
        return f"<Session {self.number} with {self.endpoint} {self._state.value}>"

    # For its tasks. ---------------------------------------------------------------------------

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
        """End it; with `in_order` the other side is told, and has a moment to answer."""
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

    def adopt(self, link: SessionLink) -> None:
        """`link` is the connection from now on."""
        self.link = link
        link.adopt()
        self._move(SessionSignal.OPENED)

    def on_connection_lost(self) -> None:
        self._move(SessionSignal.BROKE)

    def link_ended(self, link: SessionLink) -> None:
        """Called when a link is over, whoever used it."""
        self._links.pop(link, None)
        self.past.add(link)
        self.lanes.link_ended(link, link.error)
        self.confirmed()

    def received(self, link: SessionLink, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        self.past.received += 1
        envelope = read_envelope(data)
        if envelope is not None:
            if envelope.type == "error" and is_limit(data):
                self._worn_out(link)
            turn = self.lanes.find(link, envelope)
            if turn is not None:
                self._take(turn, data, envelope)
                return
            if envelope.stream_id is not None and envelope.stream_id in self.lanes.named:
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
            self._check_usable()
            await self._changed.wait()

    def leave(self, turn: Turn) -> None:
        """Nobody reads this answer any more."""
        if turn.left or turn.finished:
            return
        turn.left = True
        link = turn.link
        if link.usable and self._nursery is not None:
            cancel = {"type": "response.cancel"}
            if self.lanes.lanes_known:
                cancel["stream_id"] = turn.permit.lane
            link.post(msgspec.json.encode(cancel).decode())
            self._nursery.start_soon(self._forgive, turn)

    # Inside. ----------------------------------------------------------------------------------

    def _take(self, turn: Turn, data: bytes, envelope: Envelope) -> None:
        # The refusal of a cancel is not the end of what was to be cancelled.
        refusal = envelope.type == "error" and turn.left and not self.lanes.lanes_known
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

    def _check_usable(self) -> None:
        if self._state is SessionState.CLOSED:
            raise EngineClosedError(CLOSED)
        if self._state is SessionState.LOST:
            assert self.error is not None
            raise self._lost()

    def _lost(self) -> EngineError:
        assert self.error is not None
        return copy(self.error)

    def _undelivered(self, outcome: SendOutcome) -> EngineError:
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
