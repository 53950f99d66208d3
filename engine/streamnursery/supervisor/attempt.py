"""One attempt: one HTTP exchange under the provider's clocks.

Start reading here: this is where transport, wire and channel meet.

Rule 1: every wait on the provider is under exactly one scope, and the clock that ends it is named.
        It strikes when what has arrived was read, and nothing moved it: this task may be waked
        before whoever reads, and the process may have stood still.
Rule 2: whatever happens, `response.close()` runs, synchronously: the socket is back in the pool or
        closed before the attempt is over. Only a clean end waits, 50 ms at most, for the last
        bytes that make the connection reusable, and not beyond the deadline.
Rule 3: the state says what the provider may have seen, and never goes back.
"""

from collections.abc import Callable, Sequence
from functools import partial

import attrs
import trio

from streamnursery.core import buggify
from streamnursery.core.measure.meter import Meter
from streamnursery.core.recovery.patience import Clock, PatienceClock
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.allowance import Allowance
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.error_body import error_body
from streamnursery.supervisor.outgoing import Outgoing
from streamnursery.supervisor.ports import HttpResponse, Phase
from streamnursery.supervisor.resume import Asking
from streamnursery.supervisor.sink import StreamSink
from streamnursery.transport.reader import MOST_UNREAD
from streamnursery.values.errors import (
    AttemptRecord,
    AttemptState,
    ConnectError,
    ConnectTimeoutError,
    EngineError,
    FirstByteTimeoutError,
    FirstTokenTimeoutError,
    IdleTimeoutError,
    PatienceError,
    TotalTimeoutError,
)
from streamnursery.values.events import Restarted, StreamEvent
from streamnursery.values.http import Header, HttpHead
from streamnursery.values.rates import RateNews
from streamnursery.values.secret import scrubbed
from streamnursery.values.usage import Usage
from streamnursery.wire.dialect import StreamDecoder
from streamnursery.wire.error_answers import request_id, scrub_error, with_headers
from streamnursery.wire.rate_headers import rate_news
from streamnursery.wire.wrong_path import wrong_path

_TIMEOUTS: dict[Clock, tuple[type[PatienceError], str]] = {
    Clock.CONNECT: (ConnectTimeoutError, "no connection"),
    Clock.FIRST_BYTE: (FirstByteTimeoutError, "no response head"),
    Clock.FIRST_TOKEN: (FirstTokenTimeoutError, "no first token"),
    Clock.IDLE: (IdleTimeoutError, "no further content"),
    Clock.PACE: (IdleTimeoutError, "too few tokens"),
    Clock.TOTAL: (TotalTimeoutError, "no end of the answer"),
}


@attrs.define(eq=False)
class Attempt:
    """One exchange; it is its own `Progress`."""

    number: int
    stop: PlannedRoute
    outlet: Outlet
    asking: Asking
    delivery: Delivery
    clock: PatienceClock
    meter: Meter
    wall_time: float
    """Unix time at the start, for dates in headers."""
    first_token: Callable[[float], None]
    """Called with the time at which the first content arrived."""
    on_rate_headers: Callable[[Sequence[RateNews], float], None]
    """Called when the head of the answer has come, with what it says of the provider's limits."""
    allowance: Allowance
    outgoing: Outgoing
    on_resent: Callable[[EngineError], float]
    """Called when the request is about to go out once more within this attempt; seconds to wait
    before, or it raises the error."""
    headers: tuple[Header, ...] = ()
    hedge: bool = False
    """Made beside another attempt."""
    may_claim: Callable[[], bool] = lambda: True
    """Whether the stream is to be had, asked once, with the first content."""
    lost: bool = attrs.field(default=False, init=False)
    """Another attempt owns the stream; this one says nothing more."""
    state: AttemptState = attrs.field(default=AttemptState.NOT_SENT, init=False)
    status: int | None = attrs.field(default=None, init=False)
    request_id: str | None = attrs.field(default=None, init=False)
    error: EngineError | None = attrs.field(default=None, init=False)
    """What ended it, if something did."""
    whole: AttemptRecord | None = attrs.field(default=None, init=False)
    """Its record, made when its answer was whole."""
    started_at: float = attrs.field(factory=trio.current_time, kw_only=True)
    requests: int = attrs.field(default=0, init=False)
    """That were sent for it."""
    connections: int = attrs.field(default=0, init=False)
    """That were begun for it."""
    credentials: int = attrs.field(default=0, init=False)
    """Which ones of its outlet it was sent with."""
    _resent_after: EngineError | None = attrs.field(default=None, init=False)
    _sink: StreamSink | None = attrs.field(default=None, init=False)

    @property
    def done(self) -> bool:
        """The answer is whole."""
        return self.state is AttemptState.DONE

    @property
    def committed(self) -> bool:
        """Content of it was put into the stream."""
        return self._sink is not None and self._sink.committed

    @property
    def claimed(self) -> bool:
        """Something of it was put into the stream; in most ways of asking that is content."""
        return self._sink is not None and self._sink.claimed

    @property
    def first_token_at(self) -> float | None:
        return self._sink.first_token_at if self._sink is not None else None

    @property
    def content_events(self) -> int:
        return self._sink.content_events if self._sink is not None else 0

    @property
    def decoder(self) -> StreamDecoder | None:
        """Its cursor stands behind everything that was put."""
        return self._sink.decoder if self._sink is not None else None

    @property
    def usage(self) -> Usage | None:
        """As reported; without a report at least what was delivered, as an estimate."""
        if self._sink is None:
            return None
        if self._sink.usage is None and self.committed:
            return Usage(output_tokens=self.content_events, estimated=True)
        return self._sink.usage

    async def run(self) -> None:
        """Deliver the answer to its end.

        Raises:
            EngineError: what ended it, with endpoint, status and request id filled in.
        """
        try:
            response = await self._open()
            try:
                now = trio.current_time()
                self.clock.on_head(now)
                await self._check(response, response.head, now)
                await self._receive(response)
            finally:
                response.close()
        except EngineError as error:
            self.error = error
            scrub_error(error, self.outlet.secrets(), self.delivery.request.messages)
            error.endpoint = error.endpoint or self.outlet.endpoint.name
            error.status = error.status if error.status is not None else self.status
            error.request_id = error.request_id or self.request_id
            raise
        finally:
            if not self.lost:
                self.delivery.under_way = False

    def enter(self, phase: Phase) -> None:
        if phase is Phase.SENDING:
            self.requests += 1
            self.outgoing.requests += 1
            self.state = AttemptState.MAYBE_SENT
            self.delivery.under_way = True
            return
        now, name = trio.current_time(), self.outlet.endpoint.name
        if phase is Phase.CONNECTING:
            self.clock.connecting(now)
            self._waits_for(f"a connection to {name}")
        else:
            self.clock.connected(now)
            self.outlet.connected = True
            self._waits_for(f"the answer of {name}")

    @property
    def deadline(self) -> float:
        """As `ConnectProgress`."""
        return self.clock.deadline

    def strike(self) -> None:
        """As `ConnectProgress`."""
        now = trio.current_time()
        clock = self.clock.expired(now)
        if clock is not None and not self.clock.put_off(now):
            raise self._timed_out(clock)

    def connects(self) -> None:
        """As `ConnectProgress`."""
        if not self.outgoing.may_connect():
            msg = (
                f"{self.stop.route}: the {self.connections} connections that this attempt has "
                "begun came to nothing; no more are begun for it"
            )
            raise self._resent_after or ConnectError(msg)
        self.connections += 1

    async def resends(self, error: EngineError) -> None:
        """As `ConnectProgress`."""
        self._resent_after = error
        await trio.sleep(self.on_resent(error))

    def give_up(self) -> None:
        """Another attempt owns the stream: nothing of this one is taken any more."""
        self.lost = True
        if self._sink is not None:
            self._sink.give_up()

    def _waits_for(self, what: str) -> None:
        if not self.lost:
            self.delivery.waits = what

    def record(self, now: float) -> AttemptRecord:
        """What the attempt did, once it is over."""
        return AttemptRecord(
            number=self.number,
            route=str(self.stop.route),
            state=self.state,
            started_at=self.started_at,
            ended_at=now,
            error=self.error,
            status=self.status,
            request_id=self.request_id,
            usage=self.usage,
            hedge=self.hedge,
            requests=self.requests,
            connections=self.connections,
            bill=self.allowance.bill(self.content_events),
        )

    async def _open(self) -> HttpResponse:
        outlet = self.outlet
        if outlet.token is not None:
            # Not under the clocks: it is ours to get, and no provider is waited for.
            self._waits_for(f"a token for {outlet.endpoint.name}")
            await outlet.take_token()
        self.credentials = outlet.credentials
        request = self.asking.http_request(outlet, self.stop, self.headers)
        return await outlet.transport.open(request, self)

    async def _check(self, response: HttpResponse, head: HttpHead, now: float) -> None:
        """Raise what the head says, if it says no."""
        self.status = head.status
        self.request_id = request_id(head)
        if self.request_id is not None:
            self.request_id = scrubbed(self.request_id, self.outlet.secrets())
        if not self.lost:
            self.delivery.request_id = self.request_id
        self.on_rate_headers(self._news(head, now), now)
        if not self.asking.accepts(self.outlet, head):
            body = await error_body(response)
            error = self.outlet.dialect.error_from_answer(head, body, now=self.wall_time)
            asked = self.outlet.endpoint
            error = wrong_path(
                error, body, model=self.stop.route.model, url=asked.url, endpoint=asked.name
            )
            self.asking.refused(self.outlet, head, body, error)
            raise error

    async def _receive(self, response: HttpResponse) -> None:
        head = response.head
        sink = self._sink = self.asking.sink(
            self.asking.decoder(self.outlet, self.stop, head),
            self.delivery,
            self.clock,
            self.meter,
            head,
            hold=self.asking.hides_beginning,
            claim=partial(self._claim, response),
            first_token=self.first_token,
            before_finish=self._finish,
            allowance=self.allowance,
            mark_unreusable=response.mark_unreusable,
        )
        self._waits_for(f"content from {self.outlet.endpoint.name}")
        # JSON that came instead of a stream may be an error; other bodies do not keep their head.
        told = head if "json" in (head.get("content-type") or "") else None
        del head  # or its twenty fields stay for as long as the stream
        try:
            response.attach(sink)
            await self._watch_over(sink, response)
        finally:
            sink.let_go()
            if sink.claimed:
                self.delivery.channel.on_room = None
            if sink.committed and self.state is not AttemptState.DONE:
                self.state = AttemptState.COMMITTED
        if sink.failure is not None:
            raise sink.failure if told is None else with_headers(sink.failure, told, self.wall_time)
        if sink.claimed and not sink.body_ended:
            await response.drain(self.delivery.deadline, blank=True, rest=sink.rest)

    def _news(self, head: HttpHead, now: float) -> Sequence[RateNews]:
        if not self.outlet.endpoint.learn_rates:
            return ()
        return rate_news(head, now=self.wall_time + now - self.started_at)

    def _claim(self, response: HttpResponse) -> list[StreamEvent] | None:
        """Take the stream: what comes before the first content; None: it is not to be had."""
        assert self._sink is not None
        over = self.delivery.outcome is not None and not self.delivery.draining
        if over or not self.may_claim():
            return None
        self.delivery.route, self.delivery.request_id = str(self.stop.route), self.request_id
        self.delivery.channel.on_room = partial(_on_room, self._sink, response)
        mark = self.asking.mark(self.number, self.delivery)
        if type(mark) is Restarted:
            self.allowance.begin_again()
        return [] if mark is None else [mark]

    async def hand_out_end(self) -> None:
        """Give the consumer the end of a whole answer, where that was withheld.

        Raises:
            StorageError: what the answer has cost is not on the disk, and may not get there.
        """
        if self.allowance.withheld:
            self.delivery.waits = "the ledger's disk"
            await self.allowance.reservation.written()
            self.delivery.waits = None
            self.delivery.put(self.allowance.withheld, 0)

    def _finish(self) -> None:
        """The answer is whole: say so before its last event can be read."""
        assert self._sink is not None
        decoder: StreamDecoder = self._sink.decoder
        self.state = AttemptState.DONE
        self.delivery.waits = None
        self.delivery.response_id = decoder.response_id
        self.delivery.response_model = decoder.response_model
        self.delivery.dialect = self.outlet.dialect.name
        self.whole = self.record(trio.current_time())
        self.delivery.attempts.append(self.whole)

    async def _watch_over(self, sink: StreamSink, response: HttpResponse) -> None:
        # The scope is not moved per read: it wakes at an old date and looks at the clocks.
        while not sink.ended:
            with trio.CancelScope(deadline=self.clock.deadline) as sink.watch:
                if buggify.world is not None and buggify.world.strikes("attempt.watch"):
                    sink.watch.deadline = min(self.clock.deadline, trio.current_time() + 0.01)
                # No coroutine of the sink's: thousands sleep here, and each frame counts.
                sink.sleeper = trio.lowlevel.current_task()
                await trio.lowlevel.wait_task_rescheduled(sink.abort_sleep)
                return
            for _ in range(MOST_UNREAD):
                if self._expired() is None or not await response.catch_up():
                    break
            if not sink.ended and self._expired() is not None:
                self.strike()

    def _expired(self) -> Clock | None:
        now = trio.current_time()
        if now >= self.clock.deadline and self.content_events:
            self.clock.measure(now, self.allowance.received(self.content_events))
        return self.clock.expired(now)

    def _timed_out(self, clock: Clock) -> PatienceError:
        kind, what = _TIMEOUTS[clock]
        limit = f"{clock.value} = {self.clock.length(clock):g} s"
        if clock is Clock.FIRST_TOKEN and self.clock.reasoning:
            limit = f"first_token_reasoning = {self.clock.length(clock):g} s"
        elif clock is Clock.PACE:
            patience = self.clock.patience
            limit = f"pace_window = {patience.pace_window:g} s"
            what = f"fewer than {patience.min_tokens_per_second:g} tokens a second"
        return kind(f"{self.stop.route}: {what} within patience.{limit}")


def _on_room(sink: StreamSink, response: HttpResponse) -> None:
    sink.room()
    response.resume()
