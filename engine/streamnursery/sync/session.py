"""A session as plain threads use it."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import Any, TypeVar, Unpack

import msgspec
import trio

from streamnursery.bridge.deadlines import seconds_left
from streamnursery.bridge.hosts import SyncHost
from streamnursery.bridge.many import items_of
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.sessions import InPlace, SessionHalf
from streamnursery.bridge.streams import StreamHalf
from streamnursery.bridge.view import ask
from streamnursery.bridge.words import same_words
from streamnursery.facade import Engine
from streamnursery.scheduler.run.dispatcher import StreamBlock
from streamnursery.sessions.messages import Receipt
from streamnursery.sessions.session import Session
from streamnursery.sync.stream import SyncStreamBlock
from streamnursery.sync.waits import SyncBridge
from streamnursery.values.errors import EngineError, RequestError
from streamnursery.values.events import Failed, StreamEvent
from streamnursery.values.request import ChatRequest
from streamnursery.values.request_fields import Prompt, SessionOptions
from streamnursery.values.session import (
    SendOutcome,
    SessionSettings,
    SessionState,
    SessionStatistics,
)
from streamnursery.wire.dialect import DialogueDecoder

T = TypeVar("T")
Message = Mapping[str, Any] | msgspec.Struct
Heartbeat = Callable[["SyncSession"], object]

SECONDS_TO_LEAVE = 10.0
"""The other side has a moment to say goodbye."""


class SyncReceipt:
    """What `send_nowait` gives: where the outcome will be known."""

    def __init__(self, bridge: SyncBridge, receipt: Receipt) -> None:
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

    @same_words(Receipt.wait, "sync")
    def wait(self) -> SendOutcome:
        return self._bridge.ask_task(lambda _: self._receipt.wait())


class SyncSession:
    """A connection to an endpoint that is kept: made by `Engine.session`, usable in its block.

    `for event in session` gives the JSON objects that belong to no `stream`, as they come.
    One thread reads; any thread may send and stream.
    """

    def __init__(self, bridge: SyncBridge, host: SyncHost, half: SessionHalf) -> None:
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

    @same_words(Session.wait_open, "sync")
    def wait_open(self) -> None:
        self._bridge.ask_task(lambda _: self._session.wait_open())

    @same_words(Session.beat, "sync")
    def beat(self) -> float:
        return self._bridge.ask_task(lambda _: self._session.beat())

    @same_words(Session.send, "sync")
    def send(self, message: Message, *, idempotent: bool | None = None) -> None:
        self._bridge.ask_task(lambda _: self._session.send(message, idempotent=idempotent))

    @same_words(Session.send_nowait, "sync")
    def send_nowait(self, message: Message, *, idempotent: bool | None = None) -> SyncReceipt:
        def send(_: Engine) -> Receipt:
            return self._session.send_nowait(message, idempotent=idempotent)

        return SyncReceipt(self._bridge, ask(self._bridge.thread, send))

    def __iter__(self) -> "SyncSession":
        return self

    def __next__(self) -> dict[str, Any]:
        outbox, box = self._host.outbox, self._half.events
        if not self._reads:
            self._reads = True
            self._bridge.tell(partial(self._half.read, self._bridge.thread))
        while not self._events:
            self._host.wait_to_read(box, self._bridge.report)
            batches, _ = outbox.take(box)
            self._events.extend(items_of(batches))
            if not batches and box.ended:
                if box.error is not None:
                    raise box.error.with_traceback(None)
                raise StopIteration
        event = self._events.popleft()
        if isinstance(event, InPlace):
            raise event.error
        return event

    @same_words(Session.typed)
    def typed(self) -> "SyncTypedEvents":
        return SyncTypedEvents(self, self._session._core.dialect.dialogue())

    @same_words(Session.stream, "sync")
    def stream(
        self,
        model: str | ChatRequest,
        prompt: Prompt | None = None,
        *,
        lane: str | None = None,
        **options: Unpack[SessionOptions],
    ) -> SyncStreamBlock:
        deadline, timeout = options.pop("deadline", None), options.pop("timeout", None)
        rest: Any = options

        def make_half(host: SyncHost, box: Mailbox) -> StreamHalf:
            left = seconds_left(host.now(), deadline, timeout)

            def open_block(_: Engine) -> StreamBlock:
                found = self._session.stream(model, prompt, lane=lane, timeout=left, **rest)
                assert isinstance(found, StreamBlock)
                return found

            return StreamHalf(host, box, open_block, "block")

        return SyncStreamBlock(self._bridge, make_half)

    @same_words(Session.statistics, "sync")
    def statistics(self) -> SessionStatistics:
        return self._bridge.ask(lambda _: self._session.statistics())

    def __repr__(self) -> str:
        return f"<SyncSession {self.number} with {self.endpoint} {self.state.value}>"


class SyncTypedEvents:
    """One answer after the other, each ended by `Finished` or `Failed`. Events that say nothing of
    an answer are passed over."""

    def __init__(self, events: Iterator[dict[str, Any]], decoder: DialogueDecoder) -> None:
        self._events = events
        self._decoder = decoder
        self._ready: list[StreamEvent | Failed] = []

    def __iter__(self) -> "SyncTypedEvents":
        return self

    def __next__(self) -> StreamEvent | Failed:
        while not self._ready:
            self._ready += self._decoder.feed(next(self._events))
        return self._ready.pop(0)


class SyncSessionBlock(AbstractContextManager[SyncSession]):
    """`with` around a session."""

    def __init__(
        self,
        bridge: SyncBridge,
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
        self._host: SyncHost | None = None
        self._half: SessionHalf
        self._session: SyncSession

    def __enter__(self) -> SyncSession:
        if self._host is not None:
            raise RequestError("a session's block can be entered once; call session() again")
        self._host = host = self._bridge.host()
        half = self._half = SessionHalf(host, Mailbox(), self._open)
        self._session = SyncSession(self._bridge, host, half)
        self._bridge.thread.post(half)
        try:
            while half.session is None and not half.box.over:
                host.wait(half.box)
        except BaseException as error:
            self._leave(error)
            raise
        if half.session is None:
            assert half.error is not None
            raise half.error
        return self._session

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        host, half = self._host, self._half
        assert host is not None
        self._bridge.leave(host, half.box, lambda: half.release(error), SECONDS_TO_LEAVE)

    def _open(self, engine: Engine) -> AbstractAsyncContextManager[Session]:
        return engine.session(
            self._endpoint,
            path=self._path,
            settings=self._settings,
            heartbeat=None if self._heartbeat is None else self._beat,
        )

    async def _beat(self, _: Session) -> None:
        """In a thread of trio's pool: the calling thread may be anywhere."""
        assert self._heartbeat is not None
        await trio.to_thread.run_sync(self._heartbeat, self._session, abandon_on_cancel=True)
