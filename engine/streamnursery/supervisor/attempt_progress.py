"""What is known of an attempt, and how far it has come.

Rule 1: the state says what the provider may have seen, and never goes back.
"""

from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from streamnursery.core.measure.meter import Meter
from streamnursery.core.recovery.patience import PatienceClock
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.allowance import Allowance
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.outgoing import Outgoing
from streamnursery.supervisor.ports import AttemptLease, HttpExchange, Phase, Recorder
from streamnursery.supervisor.resume import Asking
from streamnursery.supervisor.sink import StreamSink
from streamnursery.supervisor.timeouts import timed_out
from streamnursery.values.errors import (
    AttemptRecord,
    AttemptState,
    ConnectError,
    EngineError,
)
from streamnursery.values.http import Header, HttpHead, HttpRequest
from streamnursery.values.usage import Usage
from streamnursery.wire.dialect import StreamDecoder


class AttemptBooks(Protocol):
    """To whom an attempt is reported."""

    recorder: Recorder
    lease: AttemptLease

    def started(self, attempt: "AttemptProgress") -> None:
        """For those who listen, of whom there are some."""

    def first_token(self, now: float) -> None:
        """Its first content has come."""

    def resent(self, error: EngineError) -> float:
        """The request is about to go out once more, since no server has looked at it; seconds to
        wait before. Raises `error` if it may not."""

    def over(self, attempt: "AttemptProgress") -> None:
        """It is over: whole, failed, or left by us."""


@attrs.define(eq=False)
class AttemptProgress:
    """The state of an attempt; it is its own `ConnectProgress`."""

    booking: AttemptBooks
    number: int
    stop: PlannedRoute
    outlet: Outlet
    asking: Asking
    delivery: Delivery
    clock: PatienceClock
    meter: Meter
    wall_time: float
    """Unix time at the start, for dates in headers."""
    allowance: Allowance
    outgoing: Outgoing
    started_at: float
    current_time: Callable[[], float]
    """On trio's clock."""
    headers: tuple[Header, ...] = ()
    hedge: bool = False
    """Made beside another attempt."""
    may_claim: Callable[[], bool] | None = attrs.field(default=None, init=False)
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
    requests: int = attrs.field(default=0, init=False)
    """That were sent for it."""
    connections: int = attrs.field(default=0, init=False)
    """That were begun for it."""
    credentials: int = attrs.field(default=0, init=False)
    """Which ones of its outlet it was sent with."""
    _unsent: HttpRequest | None = attrs.field(default=None, init=False)
    _resent_after: EngineError | None = attrs.field(default=None, init=False)
    _exchange: HttpExchange | None = attrs.field(default=None, init=False)
    _sink: StreamSink | None = attrs.field(default=None, init=False)
    _told: HttpHead | None = attrs.field(default=None, init=False)
    """The head, where an error in the body may need it."""
    _watch: trio.CancelScope | None = attrs.field(default=None, init=False)
    """What sleeps until the next date of the clocks; not moved per read: it wakes at an old date
    and looks at them."""
    _sleeper: trio.lowlevel.Task | None = attrs.field(default=None, init=False)
    _woken: bool = attrs.field(default=False, init=False)
    """There is nothing to sleep for."""
    _problem: Exception | None = attrs.field(default=None, init=False)
    """What there is in the place of a head, or has gone wrong with it."""
    _booked: bool = attrs.field(default=False, init=False)

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

    def enter(self, phase: Phase) -> None:
        if phase is Phase.SENDING:
            self.requests += 1
            self.outgoing.requests += 1
            self.state = AttemptState.MAYBE_SENT
            self.delivery.under_way = True
            return
        now, name = self.current_time(), self.outlet.endpoint.name
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
        now = self.current_time()
        clock = self.clock.expired(now)
        if clock is not None and not self.clock.put_off(now):
            raise timed_out(self.stop.route, self.clock, clock)

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
        await trio.sleep(self.booking.resent(error))

    def _waits_for(self, what: str) -> None:
        if not self.lost:
            self.delivery.waits = what

    def record(self, now: float) -> AttemptRecord:
        """What the attempt did, once it is over."""
        return AttemptRecord(
            number=self.number,
            route=self.stop.route.name,
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
