"""A session as its user holds it.

Rule 1: a message that was accepted has one outcome, told once (`core/outbox`).
Rule 2: nothing here waits for a reader: events go into a bounded inbox or to the answer they
        belong to. What finds no room is told to its own reader and to nobody else.
Rule 3: LOST and CLOSED are final: everybody who waits is told then.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from copy import copy
from typing import Any

import attrs
import msgspec
import trio

from engine.core.outbox import Entry, Outbox
from engine.core.session_machine import Signal, next_state
from engine.pipeline.channel import BufferTotal
from engine.pipeline.stream import TokenStream
from engine.sessions.inbox import Inbox
from engine.sessions.lanes import Lanes, Turn
from engine.sessions.link import Destination, Link, Means
from engine.sessions.reconnect import Keeper
from engine.sessions.typed import TypedEvents
from engine.supervisor.ports import Recorder
from engine.transport.bare import bare_errors
from engine.values.errors import (
    ConnectionLostError,
    EngineClosedError,
    EngineError,
    MalformedChunkError,
    OverloadedError,
    RequestError,
)
from engine.values.session import (
    SendOutcome,
    SessionSettings,
    SessionState,
    SessionStatistics,
)
from engine.wire.json_body import encode_body
from engine.wire.json_text import excerpt, read_json
from engine.wire.openai_responses_lane import Envelope, is_limit, read_envelope, repeatable

FORGIVEN = 30.0
"""Seconds that a server has to end a cancelled answer; then the connection is replaced."""
CLOSED = "the session is closed; open another one"

StreamOpener = Callable[..., AbstractAsyncContextManager[TokenStream]]


class Receipt:
    """What `send_nowait` gives: where the outcome will be known."""

    def __init__(self, entry: Entry) -> None:
        self._entry = entry
        self._settled = trio.Event()
        entry.on_settled = self._tell

    def _tell(self, _: Entry) -> None:
        self._settled.set()

    @property
    def outcome(self) -> SendOutcome | None:
        """None until it is known."""
        return self._entry.outcome

    @property
    def maybe_sent(self) -> bool:
        """A connection broke under it: it will be sent again, or its outcome is UNKNOWN."""
        return self._entry.maybe_sent

    async def wait(self) -> SendOutcome:
        """Until the outcome is known; it is known in the end."""
        await self._settled.wait()
        assert self._entry.outcome is not None
        return self._entry.outcome


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
        means: Means,
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
        self.lanes = Lanes(settings.max_in_flight, settings.max_lanes)
        self.outbox = Outbox(settings.pending)
        self.buffers = BufferTotal(settings.max_buffered_bytes)
        self.dice = means.dice
        self.hook = None if hook is None else self._bound_hook(hook)
        self._destination = destination
        self._means = means
        self._open_stream = open_stream
        self._state = SessionState.CONNECTING
        self._inbox = Inbox(settings.buffer_events, settings.buffer_bytes)
        self._link: Link | None = None
        self._links: dict[Link, None] = {}
        self._keeper: Keeper | None = None
        self._nursery: trio.Nursery | None = None
        self._changed = trio.Event()
        self._confirmed = trio.Event()
        self._room: deque[tuple[Entry, trio.Event]] = deque()
        """Those that wait to be accepted, in order."""
        self._scope = trio.CancelScope()
        self._past = _Past()
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
        entry = self._entry(message, idempotent)
        self._check_usable()
        receipt = Receipt(entry)
        if self.settings.pending.when_full == "wait":
            await self._accept_in_turn(entry)
        else:
            self._accept(entry)
        try:
            outcome = await receipt.wait()
        except trio.Cancelled:
            self.outbox.withdraw(entry)
            self.confirmed()
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
        entry = self._entry(message, idempotent)
        self._check_usable()
        receipt = Receipt(entry)
        self._accept(entry)
        return receipt

    def __aiter__(self) -> "Session":
        return self

    async def __anext__(self) -> dict[str, Any]:
        try:
            event: dict[str, Any] = await self._inbox.get()
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
        link, keeper, past = self._link, self._keeper, self._past
        usable = link is not None and link.usable
        pulse = link.pulse if link is not None else None
        beats, missed, jumps = past.with_links(tuple(self._links))
        return SessionStatistics(
            state=self._state,
            connections=keeper.connections if keeper else 0,
            reconnects=keeper.reconnects if keeper else 0,
            renewals=keeper.renewals if keeper else 0,
            beats=beats,
            missed_beats=missed,
            wall_jumps=jumps,
            round_trip=pulse.round_trip if pulse else None,
            connected_at=link.opened_at if link is not None and usable else None,
            pending_messages=len(self.outbox),
            pending_bytes=self.outbox.nbytes,
            outcomes={o.value: n for o, n in self.outbox.outcomes.items()},
            received=past.received,
            buffered_events=len(self._inbox),
            buffered_bytes=self._inbox.nbytes + self.buffers.current_bytes,
            streams=self.lanes.in_flight,
            lanes=len(self.lanes.named),
        )

    def __repr__(self) -> str:
        return f"<Session {self.number} with {self.endpoint} {self._state.value}>"

    # For its tasks. ---------------------------------------------------------------------------

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
                    self._keeper = Keeper(self, nursery)
                    try:
                        await self._keeper.run()
                    except EngineError as error:
                        self._keeper.gave_up(error)
                        self._end(Signal.GAVE_UP, error)
                    nursery.cancel_scope.cancel()
        finally:
            self._end(Signal.CLOSED, None)
            self.done.set()

    async def close(self, *, in_order: bool) -> None:
        """End it; with `in_order` the other side is told, and has a moment to answer."""
        link = self._link
        self._end(Signal.CLOSED, None)
        if in_order and link is not None:
            await link.goodbye()
        self._scope.cancel()
        await self.done.wait()

    def shut(self) -> None:
        """End it at once, because the engine ends."""
        self._end(Signal.CLOSED, None)
        self._scope.cancel()

    def make_link(self) -> Link:
        link = Link(self, self._destination, self.settings, self._means, self.outbox)
        self._links[link] = None
        return link

    def adopt(self, link: Link) -> None:
        """`link` is the connection from now on."""
        self._link = link
        link.adopt()
        self._move(Signal.OPENED)

    def broke(self) -> None:
        self._move(Signal.BROKE)

    def link_ended(self, link: Link) -> None:
        """Called when a link is over, whoever used it."""
        self._links.pop(link, None)
        self._past.add(link)
        self.lanes.link_ended(link, link.error)
        self.confirmed()

    def received(self, link: Link, message: str | bytes) -> None:
        data = message.encode() if isinstance(message, str) else message
        self._past.received += 1
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
        self._inbox.put(_object(data), len(data))

    def confirmed(self) -> None:
        self._confirmed.set()
        self._confirmed = trio.Event()
        while self._room and self.outbox.fits(len(self._room[0][0].data)):
            entry, accepted = self._room.popleft()
            self.outbox.add(entry)
            accepted.set()
        if self._link is not None and self.outbox.has_waiting:
            self._link.look()

    async def wait_confirmed(self, link: Link) -> None:
        """Until nothing that was written on `link` is unconfirmed, or it ends."""
        while self.outbox.unconfirmed and not link.ended.is_set():
            await self._confirmed.wait()

    async def usable_link(self) -> Link:
        """The connection that answers may begin on; waits while there is none."""
        while True:
            if self._link is not None and self._link.usable and self._link.takes:
                return self._link
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

    def _worn_out(self, link: Link) -> None:
        link.worn_out = True
        if self._keeper is not None:
            self._keeper.renew_now(link)

    def _move(self, signal: Signal) -> None:
        self._state = next_state(self._state, signal)
        self._changed.set()
        self._changed = trio.Event()

    def _end(self, signal: Signal, error: EngineError | None) -> None:
        if error is not None and self.error is None:
            self.error = error
        before = self._state
        self._move(signal)
        if self._state is before:
            return
        self.outbox.close()
        self._inbox.end(self.error)
        while self._room:
            self._room.popleft()[1].set()

    def _check_usable(self) -> None:
        if self._state is SessionState.CLOSED:
            raise EngineClosedError(CLOSED)
        if self._state is SessionState.LOST:
            assert self.error is not None
            raise self._lost()

    def _lost(self) -> EngineError:
        assert self.error is not None
        return copy(self.error)

    def _entry(self, message: object, idempotent: bool | None) -> Entry:
        if isinstance(message, msgspec.Struct):
            message = msgspec.to_builtins(message)
        if not isinstance(message, Mapping):
            msg = f"a message is a mapping or a msgspec struct, not a {type(message).__name__}"
            raise RequestError(msg)
        fields = dict(message)
        data = encode_body(fields)
        if isinstance(data, str):
            raise RequestError(data)
        return Entry(data, repeatable(fields) if idempotent is None else idempotent)

    def _accept(self, entry: Entry) -> None:
        self._check_usable()
        if self._room or not self.outbox.accept(entry):
            pending = self.settings.pending
            msg = (
                f"the session's pending queue is full ({len(self.outbox)} messages, "
                f"{self.outbox.nbytes} bytes; sessions.pending.max_messages = "
                f"{pending.max_messages}, max_bytes = {pending.max_bytes}); send less, or raise it"
            )
            raise OverloadedError(msg)
        if self._link is not None:
            self._link.look()

    async def _accept_in_turn(self, entry: Entry) -> None:
        """Wait for room, first come first served."""
        await trio.lowlevel.checkpoint()
        if not self._room and self.outbox.fits(len(entry.data)):
            return self._accept(entry)
        ticket = (entry, trio.Event())
        self._room.append(ticket)
        try:
            await ticket[1].wait()
        except trio.Cancelled:
            if ticket in self._room:
                self._room.remove(ticket)
            else:
                self.outbox.withdraw(entry)
            raise
        self._check_usable()

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


@attrs.define
class _Past:
    """What links that are over have counted."""

    received: int = 0
    beats: int = 0
    missed: int = 0
    wall_jumps: int = 0

    def add(self, link: Link) -> None:
        if link.pulse is not None:
            self.beats += link.pulse.beats
            self.missed += link.pulse.missed
            self.wall_jumps += link.pulse.wall_jumps

    def with_links(self, links: tuple[Link, ...]) -> tuple[int, int, int]:
        """Beats, missed beats and jumps of the wall clock, those of living links included."""
        pulses = [link.pulse for link in links if link.pulse is not None]
        return (
            self.beats + sum(p.beats for p in pulses),
            self.missed + sum(p.missed for p in pulses),
            self.wall_jumps + sum(p.wall_jumps for p in pulses),
        )
