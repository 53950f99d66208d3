"""A session as its user holds it."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Unpack

import msgspec
import trio

from streamnursery.pipeline.stream import TokenStream
from streamnursery.sessions.core import SessionCore
from streamnursery.sessions.messages import Receipt, make_entry
from streamnursery.sessions.typed import TypedEvents
from streamnursery.values.errors import ConnectionLostError, EngineError, RequestError
from streamnursery.values.request import ChatRequest
from streamnursery.values.request_fields import Prompt, SessionOptions
from streamnursery.values.session import SendOutcome, SessionState, SessionStatistics

StreamOpener = Callable[..., AbstractAsyncContextManager[TokenStream]]


class Session:
    """A connection to an endpoint that is kept: made by `Engine.session`, usable in its block.

    `async for event in session` gives the JSON objects that belong to no `stream`, as they come.
    One task reads; any task may send and stream.
    """

    def __init__(self, core: SessionCore, open_stream: StreamOpener) -> None:
        self._core = core
        self._open_stream = open_stream

    @property
    def number(self) -> int:
        """Within its engine, from 1; records of its connections carry it."""
        return self._core.number

    @property
    def endpoint(self) -> str:
        return self._core.endpoint

    @property
    def error(self) -> EngineError | None:
        """What it was lost by."""
        return self._core.error

    @property
    def state(self) -> SessionState:
        return self._core.state

    async def wait_open(self) -> None:
        """Until there is a connection.

        Raises:
            EngineError: there will be none.
        """
        await self._core.usable_link()

    async def beat(self) -> float:
        """Ask the other side for a sign of life; seconds that it took.

        Raises:
            EngineError: the session is over, or its connection ended meanwhile.
        """
        link = await self._core.usable_link()
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
        whether it may be sent again when it is not known to have arrived; None: only if that is
        certain to be harmless, as of a `session.update` or an item with its own id.

        Raises:
            OverloadedError: refused: the pending queue is full, or it was dropped for a newer one.
            ConnectionLostError: the session is lost; with code "maybe_sent", or its connection
                broke after the message had been sent and before its arrival was confirmed.
            RequestError: it cannot be said in JSON.
        """
        try:
            entry = make_entry(message, idempotent, self._core.dialect)
            self._core.check_usable()
            outcome = await self._core.messages.send(entry)
        except EngineError:
            await trio.lowlevel.checkpoint()
            raise
        if outcome is not SendOutcome.DELIVERED:
            raise self._core.undelivered(outcome)

    def send_nowait(
        self, message: Mapping[str, Any] | msgspec.Struct, *, idempotent: bool | None = None
    ) -> Receipt:
        """As `send`, but its outcome comes later: `await receipt.wait()`.

        Raises:
            OverloadedError: the pending queue is full.
            ConnectionLostError, EngineClosedError, RequestError: as `send`.
        """
        entry = make_entry(message, idempotent, self._core.dialect)
        self._core.check_usable()
        return self._core.messages.send_nowait(entry)

    def __aiter__(self) -> "Session":
        return self

    async def __anext__(self) -> dict[str, Any]:
        try:
            event: dict[str, Any] = await self._core.inbox.get()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        return event

    def typed(self) -> TypedEvents:
        """The same events as stream events (`TextDelta`, `Finished`, ...), for a session whose
        answers are asked for with `send`: a realtime one."""
        return TypedEvents(self, self._core.dialect.dialogue())

    def stream(
        self,
        model: str | ChatRequest,
        prompt: Prompt | None = None,
        *,
        lane: str | None = None,
        **options: Unpack[SessionOptions],
    ) -> AbstractAsyncContextManager[TokenStream]:
        """An answer over this session: takes what `Engine.stream` takes, gives the same stream.

        Answers on one `lane` come one after the other; without a lane each takes one that is free.
        `previous_response_id="resp_..."` goes on from an answer of before. A connection that breaks
        before the first token costs the answer nothing but time; after it `on_interrupt` decides.
        A reader that is too slow fails its own answer with `OverloadedError`.
        """
        self._core.check_usable()
        if lane is not None:
            if not isinstance(lane, str) or not 0 < len(lane) <= 64:
                raise RequestError("a lane is a name of 1 to 64 characters")
            self._core.lanes.name(lane)
        return self._open_stream(model, prompt, lane=lane, **options)

    def statistics(self) -> SessionStatistics:
        """A snapshot."""
        return self._core.statistics()

    def __repr__(self) -> str:
        return f"<Session {self.number} with {self.endpoint} {self.state.value}>"
