"""Streams of the caller's own - a local model, another SDK - on the way that all streams take.

An async iterator takes the place of the exchange: the supervisor sees a transport whose answers it
gives, in its own language. So slots, clocks, retries, budgets, records and the one outcome are
those of every stream.

Rule 1: each attempt has its own iterator, and it is closed before the attempt's slots go back
        and before the stream's block is left.
Rule 2: no more is taken from an iterator than its reader has room for.
Rule 3: what an iterator raises fails its own stream and nothing else: an `EngineError` as it is,
        what `retry_on` names as a `ServerError`, anything else as a `CallbackError`.
"""

from collections.abc import AsyncIterable, Awaitable, Callable, Sequence
from math import inf
from typing import TypeAlias, get_args

import attrs
import trio

from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.course import Course
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.ports import Admission, AttemptLease
from streamnursery.supervisor.supervisor import Supervisor
from streamnursery.transport.ports import ByteSink, ConnectProgress, HeadListener, Phase
from streamnursery.transport.single_errors import bare_errors
from streamnursery.values.demand import Demand
from streamnursery.values.errors import (
    CallbackError,
    ConnectionLostError,
    EngineError,
    ServerError,
)
from streamnursery.values.events import (
    ChoiceFinished,
    Finished,
    FinishKind,
    ReasoningDelta,
    RefusalDelta,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from streamnursery.values.http import Header, HttpHead, HttpRequest
from streamnursery.values.origin import BaseUrl
from streamnursery.values.policy import AssistantPrefix
from streamnursery.values.rates import RateNews
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Auth, Endpoint
from streamnursery.values.usage import Usage
from streamnursery.wire.dialect import API, Cursor, EndpointOption, SessionDialect

OWN = "own"
"""What routes of such streams name in the place of an endpoint."""
OWN_ENDPOINT = Endpoint(OWN, BaseUrl.parse("http://own.invalid/v1"))

OwnItem: TypeAlias = str | Usage | StreamEvent
"""What an iterator gives: text, usage, or stream events."""
Make: TypeAlias = Callable[[], AsyncIterable[OwnItem]]

_PASSED_ON = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta, UsageReport, ChoiceFinished)
_EVENT_BYTES = 32
_HEAD = HttpHead(200, (("content-type", "text/event-stream"),), "own")


@attrs.define(eq=False)
class OwnDecoder:
    """Hands on what was put into it. The bytes that are fed only say how much there is."""

    given: list[StreamEvent] = attrs.field(factory=list, init=False)
    done: bool = attrs.field(default=False, init=False)
    failure: EngineError | None = attrs.field(default=None, init=False)
    _reason: str | None = attrs.field(default=None, init=False)

    trailing = False
    response_id: str | None = None
    response_model: str | None = None
    cursor: Cursor | None = None
    buffered = 0

    def feed(self, data: bytes) -> list[StreamEvent]:  # noqa: ARG002 - see above
        events, self.given = self.given, []
        for event in events:
            if isinstance(event, ChoiceFinished) and event.index == 0:
                self._reason = event.reason
        return events

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:  # noqa: ARG002 - nothing is cut
        if self.done or self.failure is not None:
            return []
        self.done = True
        reason = self._reason or "stop"
        kind: FinishKind = reason if reason in get_args(FinishKind) else "other"  # type: ignore[assignment]
        return [Finished(reason, kind)]


class OwnDialect:
    """Of one stream."""

    api = API
    name = OWN
    auth: Auth = "none"
    options: tuple[EndpointOption, ...] = ()
    session: SessionDialect | None = None

    def __init__(self) -> None:
        self.latest = OwnDecoder()
        """Of the attempt whose sink is attached next."""

    def path(self, _request: ChatRequest, _model: str) -> str:
        return "/"

    def headers(self, _endpoint: Endpoint) -> tuple[Header, ...]:
        return ()

    def encode(self, request: ChatRequest, endpoint: Endpoint, model: str) -> bytes:  # noqa: ARG002
        return b""

    def check_head(self, head: HttpHead) -> bool:  # noqa: ARG002 - it is always the same
        return True

    def decoder(self, _request: ChatRequest) -> OwnDecoder:
        self.latest = OwnDecoder()
        return self.latest

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:  # noqa: ARG002
        return request

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:  # noqa: ARG002
        raise AssertionError("its head is never refused")


class OwnResponse:
    """One iterator under way: the supervisor's `HttpExchange`, and a task that pulls."""

    head = _HEAD
    unseen = False

    def __init__(self, stream: "OwnStream") -> None:
        self._stream = stream
        self._scope = trio.CancelScope()
        self._room: trio.Event | None = None

    @property
    def closing(self) -> bool:
        return self._scope.cancel_called

    def expect(self, on_head: HeadListener) -> None:
        """As `HttpExchange`: at once."""
        on_head(None)

    async def send(self, request: HttpRequest) -> None:
        """As `HttpExchange`: nothing is sent."""

    async def receive_some(self) -> bytes:
        raise ConnectionLostError("an own stream is pushed, and cannot be pulled")

    def attach(self, sink: ByteSink) -> None:
        decoder = self._stream.dialect.latest
        self._stream.pulled[self] = None
        self._stream.nursery.start_soon(self._pull, sink, decoder, name="own stream")

    def resume(self) -> None:
        if self._room is not None:
            self._room.set()

    async def catch_up(self) -> bool:
        """As `HttpResponse`: what an iterator has given is never unread."""
        await trio.lowlevel.checkpoint()
        return False

    def mark_unreusable(self) -> None:
        """There is no connection."""

    async def drain(self, until: float = inf, *, blank: bool = False, **_: object) -> None:  # noqa: ARG002
        """As `HttpResponse`: nothing is left to read."""
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        self._scope.cancel()

    async def _pull(self, sink: ByteSink, decoder: OwnDecoder) -> None:
        try:
            with self._scope:
                try:
                    await self._pull_all(sink, decoder)
                except Exception as error:  # noqa: BLE001 - fails its stream
                    sink.end(self._stream.as_engine_error(error))
                else:
                    sink.end(None)
        finally:
            self._stream.ended(self)

    async def _pull_all(self, sink: ByteSink, decoder: OwnDecoder) -> None:
        await trio.lowlevel.checkpoint()  # closed before it began: nothing is called
        iterator = aiter(self._stream.make())
        try:
            async for item in iterator:
                event = as_event(item)
                decoder.given.append(event)
                if not sink.feed(bytes(_size(event))):
                    self._room = trio.Event()
                    await self._room.wait()
                    self._room = None
        finally:
            aclose = getattr(iterator, "aclose", None)
            if aclose is not None:
                await aclose()


def _size(event: StreamEvent) -> int:
    """Bytes that count as buffered while it is unread."""
    said: str = getattr(event, "text", "") or getattr(event, "arguments", "")
    return _EVENT_BYTES + len(said)


@attrs.define(eq=False)
class OwnLease:
    """Slots that go back when the iterators that their attempt has closed have ended."""

    _inner: AttemptLease
    _stream: "OwnStream"
    _waits_for: list[OwnResponse] | None = attrs.field(default=None, init=False)
    """Once it was released."""

    def on_rate_headers(self, news: Sequence[RateNews], now: float) -> None:
        self._inner.on_rate_headers(news, now)

    def on_first_token(self, now: float) -> None:
        self._inner.on_first_token(now)

    def on_overload(self, now: float, *, limited: bool = False) -> None:
        self._inner.on_overload(now, limited=limited)

    def settle(self, usage: Usage | None) -> None:
        self._inner.settle(usage)

    def release(self) -> None:
        if self._waits_for is None:
            self._waits_for = [one for one in self._stream.pulled if one.closing]
            self._stream.leases[self] = None
            self.look()

    def look(self) -> None:
        """An iterator has ended."""
        if self._waits_for is not None and not any(
            one in self._stream.pulled for one in self._waits_for
        ):
            self._stream.leases.pop(self, None)
            self._inner.release()


@attrs.define(eq=False)
class OwnAdmission:
    """The engine's admission, for one stream."""

    _inner: Admission
    _stream: "OwnStream"
    max_queued: int = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.max_queued = self._inner.max_queued

    def acquire_nowait(self, demand: Demand) -> AttemptLease:
        return OwnLease(self._inner.acquire_nowait(demand), self._stream)

    async def acquire(self, demand: Demand) -> AttemptLease:
        return OwnLease(await self._inner.acquire(demand), self._stream)

    def binding_limit(self, demand: Demand) -> str:
        return self._inner.binding_limit(demand)


class OwnStream:
    """The way of one stream: what the dispatcher runs, and its transport."""

    def __init__(
        self, engine: Supervisor, make: Make, retry_on: tuple[type[Exception], ...]
    ) -> None:
        self.make = make
        self.dialect = OwnDialect()
        self.nursery: trio.Nursery
        self.pulled: dict[OwnResponse, None] = {}
        """Those whose iterators are not closed."""
        self.leases: dict[OwnLease, None] = {}
        """Released, but for that."""
        self._engine = engine
        self._retry_on = retry_on

    def run(self, delivery: Delivery, course: Course) -> Awaitable[None]:
        """See `Supervisor.run`."""
        return self._run(delivery, course)

    async def _run(self, delivery: Delivery, course: Course) -> None:
        engine = self._engine
        outlets = {**engine.outlets, OWN: Outlet.of(OWN_ENDPOINT, self.dialect, self)}
        admission = OwnAdmission(engine.admission, self)
        supervisor = attrs.evolve(engine, admission=admission, outlets=outlets)
        supervisor.routes = engine.routes
        with bare_errors():
            async with trio.open_nursery() as self.nursery:
                await supervisor.run(delivery, course)
                self.nursery.cancel_scope.cancel()

    async def open(self, request: HttpRequest, progress: ConnectProgress) -> OwnResponse:  # noqa: ARG002
        """See `supervisor.ports.Transport`: an iterator is there at once."""
        await trio.lowlevel.checkpoint()
        progress.enter(Phase.CONNECTED)
        progress.enter(Phase.SENDING)
        return OwnResponse(self)

    async def begin(
        self, request: HttpRequest, progress: ConnectProgress, after: object = None
    ) -> OwnResponse:
        """See `supervisor.ports.Transport`."""
        assert after is None, "an iterator that is there is not asked for again"
        return await self.open(request, progress)

    def ended(self, response: OwnResponse) -> None:
        """Its iterator is closed."""
        del self.pulled[response]
        for lease in tuple(self.leases):
            lease.look()

    def as_engine_error(self, error: Exception) -> EngineError:
        """What an iterator has raised, as a stream fails with it."""
        if isinstance(error, EngineError):
            return error
        kind = ServerError if isinstance(error, self._retry_on) else CallbackError
        failure = kind(f"the iterator failed: {type(error).__name__}: {error!s:.200}")
        failure.__cause__ = error
        return failure


def as_event(item: object) -> StreamEvent:
    """What an iterator has given, as an event.

    Raises:
        TypeError: it is none.
    """
    if isinstance(item, str):
        return TextDelta(item)
    if isinstance(item, Usage):
        return UsageReport(item)
    if isinstance(item, _PASSED_ON):
        return item
    msg = (
        f"it gave a {type(item).__name__}; text, Usage, TextDelta, ReasoningDelta, RefusalDelta, "
        "ToolCallDelta, UsageReport and ChoiceFinished are what a stream is made of"
    )
    raise TypeError(msg)
