"""A session as coroutines use it."""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any, TypeVar, Unpack

import msgspec

from streamnursery.aio.stream import AioStreamBlock
from streamnursery.aio.waits import Bridge
from streamnursery.bridge.deadlines import seconds_left
from streamnursery.bridge.hosting import AsyncHost, Spawned
from streamnursery.bridge.many import items_of
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.sessions import InPlace, SessionHalf, beat_on
from streamnursery.bridge.streams import StreamHalf
from streamnursery.bridge.view import ask
from streamnursery.bridge.words import same_words
from streamnursery.facade import Engine
from streamnursery.scheduler.run.dispatcher import StreamBlock
from streamnursery.sessions.messages import Receipt
from streamnursery.sessions.session import Session
from streamnursery.sessions.typed import TypedEvents
from streamnursery.values.errors import EngineError, RequestError
from streamnursery.values.request import ChatRequest
from streamnursery.values.request_fields import Prompt, SessionOptions
from streamnursery.values.session import (
    SendOutcome,
    SessionSettings,
    SessionState,
    SessionStatistics,
)

T = TypeVar("T")
Message = Mapping[str, Any] | msgspec.Struct
Heartbeat = Callable[["AioSession"], Awaitable[object]]

SECONDS_TO_LEAVE = 10.0
"""The other side has a moment to say goodbye."""


class AioReceipt:
    """What `send_nowait` gives: where the outcome will be known."""

    def __init__(self, bridge: Bridge, receipt: Receipt) -> None:
        self._bridge = bridge
        self._receipt = receipt

    @property
    @same_words(Receipt.outcome)
    def outcome(self) -> SendOutcome | None:
        return self._receipt.outcome

    @property
    @same_words(Receipt.maybe_sent)
    def maybe_sent(self) -> bool:
        return self._receipt.maybe_sent

    @same_words(Receipt.wait, "aio")
    async def wait(self) -> SendOutcome:
        return await self._bridge.ask_task(lambda _: self._receipt.wait())


class AioSession:
    """A connection to an endpoint that is kept: made by `Engine.session`, usable in its block.

    `async for event in session` gives the JSON objects that belong to no `stream`, as they come.
    One task reads; any task may send and stream.
    """

    def __init__(self, bridge: Bridge, host: AsyncHost, half: SessionHalf) -> None:
        self._bridge = bridge
        self._host = host
        self._half = half
        self._events: deque[dict[str, Any] | InPlace] = deque()
        self._reads = False

    @property
    def _session(self) -> Session:
        assert self._half.session is not None
        return self._half.session

    @property
    @same_words(Session.number)
    def number(self) -> int:
        return self._session.number

    @property
    def endpoint(self) -> str:
        return self._session.endpoint

    @property
    @same_words(Session.error)
    def error(self) -> EngineError | None:
        return self._session.error

    @property
    def state(self) -> SessionState:
        return self._session.state

    @same_words(Session.wait_open, "aio")
    async def wait_open(self) -> None:
        await self._bridge.ask_task(lambda _: self._session.wait_open())

    @same_words(Session.beat, "aio")
    async def beat(self) -> float:
        return await self._bridge.ask_task(lambda _: self._session.beat())

    @same_words(Session.send, "aio")
    async def send(self, message: Message, *, idempotent: bool | None = None) -> None:
        await self._bridge.ask_task(lambda _: self._session.send(message, idempotent=idempotent))

    @same_words(Session.send_nowait, "aio")
    def send_nowait(self, message: Message, *, idempotent: bool | None = None) -> AioReceipt:
        def send(_: Engine) -> Receipt:
            return self._session.send_nowait(message, idempotent=idempotent)

        return AioReceipt(self._bridge, ask(self._bridge.thread, send))

    def __aiter__(self) -> "AioSession":
        return self

    async def __anext__(self) -> dict[str, Any]:
        outbox, box = self._host.outbox, self._half.events
        if not self._reads:
            self._reads = True
            self._bridge.tell(partial(self._half.read, self._bridge.thread))
        while not self._events:
            parked, report = outbox.ask(box)
            if report:
                self._bridge.report(box)
            if parked:
                await self._host.wait(box)
            else:
                await self._host.checkpoint()
            batches, _ = outbox.take(box)
            self._events.extend(items_of(batches))
            if not batches and box.ended:
                if box.error is not None:
                    raise box.error.with_traceback(None)
                raise StopAsyncIteration
        event = self._events.popleft()
        if isinstance(event, InPlace):
            raise event.error
        return event

    @same_words(Session.typed)
    def typed(self) -> TypedEvents:
        return TypedEvents(self, self._session._core.dialect.dialogue())

    @same_words(Session.stream, "aio")
    def stream(
        self,
        model: str | ChatRequest,
        prompt: Prompt | None = None,
        *,
        lane: str | None = None,
        **options: Unpack[SessionOptions],
    ) -> AioStreamBlock:
        deadline, timeout = options.pop("deadline", None), options.pop("timeout", None)
        rest: Any = options

        def make_half(host: AsyncHost, box: Mailbox) -> StreamHalf:
            left = seconds_left(host.now(), deadline, timeout, host.caller_deadline())

            def open_block(_: Engine) -> StreamBlock:
                found = self._session.stream(model, prompt, lane=lane, timeout=left, **rest)
                assert isinstance(found, StreamBlock)
                return found

            return StreamHalf(host, box, open_block, "block")

        return AioStreamBlock(self._bridge, make_half)

    @same_words(Session.statistics, "aio")
    async def statistics(self) -> SessionStatistics:
        return await self._bridge.ask(lambda _: self._session.statistics())

    def __repr__(self) -> str:
        return f"<AioSession {self.number} with {self.endpoint} {self.state.value}>"


class AioSessionBlock(AbstractAsyncContextManager[AioSession]):
    """`async with` around a session."""

    def __init__(
        self,
        bridge: Bridge,
        endpoint: str,
        path: str | None,
        settings: SessionSettings | None,
        heartbeat: Heartbeat | None,
    ) -> None:
        self._bridge = bridge
        self._endpoint = endpoint
        self._path = path
        self._settings = settings
        self._heartbeat = heartbeat
        self._host: AsyncHost | None = None
        self._half: SessionHalf
        self._session: AioSession
        self._beats: set[Spawned] = set()

    async def __aenter__(self) -> AioSession:
        if self._host is not None:
            raise RequestError("a session's block can be entered once; call session() again")
        self._host = host = self._bridge.hosts.current()
        half = self._half = SessionHalf(host, Mailbox(), self._open)
        self._session = AioSession(self._bridge, host, half)
        self._bridge.thread.post(half)
        try:
            if host.outbox.park(half.box):
                await host.wait(half.box)
        except BaseException as error:
            await self._leave(error)
            raise
        if half.session is None:
            assert half.error is not None
            raise half.error
        return self._session

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        await self._leave(error)

    async def _leave(self, error: BaseException | None) -> None:
        host, half = self._host, self._half
        assert host is not None
        await self._bridge.leave(host, half.box, lambda: half.release(error), SECONDS_TO_LEAVE)

    def _open(self, engine: Engine) -> AbstractAsyncContextManager[Session]:
        beat = None if self._heartbeat is None else beat_on(self._beat_here)
        return engine.session(
            self._endpoint,
            path=self._path,
            settings=self._settings,
            heartbeat=None if beat is None else lambda _: beat(),
        )

    def _beat_here(self, done: Callable[[BaseException | None], None]) -> None:
        """In the engine's thread: run the heartbeat on the loop."""
        heartbeat, host = self._heartbeat, self._host
        assert heartbeat is not None and host is not None

        async def beat() -> None:
            try:
                await heartbeat(self._session)
            except Exception as error:  # noqa: BLE001 - the caller's code, whatever it raises
                done(error)
            else:
                done(None)

        host.call_soon(lambda: self._beats.add(host.spawn(beat)))
