"""One attempt: one HTTP exchange under the provider's clocks.

Start reading here: this is where transport, wire and channel meet.

Rule 1: the task of the attempt sleeps, under one scope, until the attempt has ended; whoever reads
        the connection calls what goes on: `on_head`, then the sink. A clock strikes when what has
        arrived was read, and nothing moved it: this task may be waked before whoever reads, and
        the process may have stood still. What a strike has not ended goes on under a new scope.
Rule 2: whatever happens, `close()` of the exchange runs, synchronously: the socket is back in the
        pool or closed before the attempt is over, and then the books are. Only a clean end waits,
        50 ms at most, for the last bytes that make the connection reusable, and not beyond the
        deadline.
Rule 3: an exception in a call of the reader's is kept, and raised in the attempt's own task.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import attrs
import trio

from streamnursery.core import buggify
from streamnursery.core.recovery.patience import Clock
from streamnursery.supervisor.attempt_progress import AttemptProgress
from streamnursery.supervisor.error_body import error_body
from streamnursery.supervisor.ports import HttpExchange
from streamnursery.transport.reader import MOST_UNREAD
from streamnursery.values.errors import (
    AttemptState,
    ConnectionLostError,
    EngineError,
)
from streamnursery.values.events import Restarted, StreamEvent
from streamnursery.values.http import HttpHead
from streamnursery.values.rates import RateNews
from streamnursery.values.secret import scrubbed
from streamnursery.wire.error_answers import request_id, scrub_error, with_headers
from streamnursery.wire.rate_headers import rate_news
from streamnursery.wire.wrong_path import wrong_path

if TYPE_CHECKING:
    from streamnursery.wire.dialect import StreamDecoder


@attrs.define(eq=False)
class Attempt(AttemptProgress):
    """One exchange, and the owner of its sink."""

    async def run(self) -> None:
        """Deliver the answer to its end; what ended it stands in `error`, the books are closed and
        the lease is given back."""
        try:
            if self.booking.recorder.listening:
                self.booking.started(self)
            await self._begin()
            while not self._woken:
                with trio.CancelScope(deadline=self.clock.deadline) as self._watch:
                    if buggify.world is not None and buggify.world.strikes("attempt.watch"):
                        self._strike_soon(self._watch)
                    await self._send()
                    if not self._woken:
                        # No coroutine of ours: thousands sleep here, and each frame counts.
                        self._sleeper = trio.lowlevel.current_task()
                        await trio.lowlevel.wait_task_rescheduled(self._abort_sleep)
                if not self._woken:
                    await self._outlast()
                if self._problem is not None:
                    await self._send_again(self._problem)
            await self._end()
        except EngineError as error:
            self._failed(error)
        finally:
            if self._exchange is not None:
                self._exchange.close()
            self._let_go()
            if not self.lost:
                self.delivery.under_way = False
            try:
                self.book()
            finally:
                self.booking.lease.release()

    def book(self) -> None:
        """It is over, or has lost: report it, once."""
        if not self._booked:
            self._booked = True
            self.booking.over(self)

    def give_up(self) -> None:
        """Another attempt owns the stream: nothing of this one is taken any more."""
        self.lost = True
        if self._sink is not None:
            self._sink.give_up()
        else:
            self.wake()

    async def _begin(self, after: HttpExchange | None = None) -> None:
        outlet = self.outlet
        if outlet.token is not None:
            # Not under the clocks: it is ours to get, and no provider is waited for.
            self._waits_for(f"a token for {outlet.endpoint.name}")
            await outlet.take_token()
        self.credentials = outlet.credentials
        request = self.asking.http_request(outlet, self.stop, self.headers)
        self._exchange = exchange = await outlet.transport.begin(request, self, after)
        self._unsent = request
        exchange.expect(self.on_head)

    async def _send(self) -> None:
        request, self._unsent = self._unsent, None
        if request is not None and not self._woken:
            assert self._exchange is not None
            await self._exchange.send(request)

    async def _send_again(self, problem: Exception) -> None:
        """There will be no head: raise why, unless no server has looked at the request."""
        exchange, self._problem = self._exchange, None
        assert exchange is not None
        if not (isinstance(problem, ConnectionLostError) and exchange.unseen):
            raise problem.with_traceback(None)
        exchange.close()
        await self.resends(problem)
        self._woken = False
        await self._begin(exchange)

    # The clocks. ----------------------------------------------------------------------------

    def wake(self) -> None:
        """There is nothing more to wait for."""
        self._woken = True
        if self._sleeper is not None:
            trio.lowlevel.reschedule(self._sleeper)
            self._sleeper = None

    def rearm(self) -> None:
        """Wake at the clocks' next date at the latest; at an older one they are looked at again."""
        watch, date = self._watch, self.clock.deadline
        if watch is not None and date < watch.deadline:  # moving it is a dozen calls
            watch.deadline = date

    def _abort_sleep(self, _: object) -> trio.lowlevel.Abort:
        self._sleeper = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _strike_soon(self, watch: trio.CancelScope) -> None:
        watch.deadline = min(watch.deadline, self.current_time() + 0.01)

    async def _outlast(self) -> None:
        """A clock may have struck: what lies unread is read first."""
        assert self._exchange is not None
        for _ in range(MOST_UNREAD):
            if self._expired() is None or not await self._exchange.catch_up():
                break
        if not self._woken and self._expired() is not None:
            self.strike()

    def _expired(self) -> Clock | None:
        now = self.current_time()
        if now >= self.clock.deadline and self.content_events:
            self.clock.measure(now, self.allowance.received(self.content_events))
        return self.clock.expired(now)

    # The head. ------------------------------------------------------------------------------

    def on_head(self, problem: EngineError | None) -> None:
        """The head is there; where it is not, `problem` says why."""
        try:
            if problem is not None:
                raise problem
            self._take_head(self.current_time())
        except Exception as error:  # noqa: BLE001 - rule 3
            self._problem = error
            self.wake()

    def _take_head(self, now: float) -> None:
        assert self._exchange is not None
        outlet, head = self.outlet, self._exchange.head
        self.clock.on_head(now)
        self.status = head.status
        self.request_id = request_id(head)
        if self.request_id is not None:
            self.request_id = scrubbed(self.request_id, outlet.secrets())
        if not self.lost:
            self.delivery.request_id = self.request_id
        self.booking.lease.on_rate_headers(self._news(head, now), now)
        if self.lost or not self.asking.accepts(outlet, head):
            self.wake()
            return
        self._sink = self.asking.sink(
            self.asking.decoder(outlet, self.stop, head),
            self.delivery,
            self.clock,
            self.meter,
            head,
            hold=self.asking.hides_beginning,
            owner=self,
            allowance=self.allowance,
        )
        self._waits_for(f"content from {outlet.endpoint.name}")
        # JSON that came instead of a stream may be an error; other bodies do not keep their head.
        if "json" in (head.get("content-type") or ""):
            self._told = head
        self.rearm()
        self._exchange.attach(self._sink)

    def _news(self, head: HttpHead, now: float) -> Sequence[RateNews]:
        if not self.outlet.endpoint.learn_rates:
            return ()
        return rate_news(head, now=self.wall_time + now - self.started_at)

    # What the sink says. --------------------------------------------------------------------

    def claim(self) -> list[StreamEvent] | None:
        """As `SinkOwner`."""
        over = self.delivery.outcome is not None and not self.delivery.draining
        if over or not (self.may_claim is None or self.may_claim()):
            return None
        self.delivery.route, self.delivery.request_id = self.stop.route.name, self.request_id
        self.delivery.channel.on_room = self._on_room
        mark = self.asking.mark(self.number, self.delivery)
        if type(mark) is Restarted:
            self.allowance.begin_again()
        return [] if mark is None else [mark]

    def first_token(self, now: float) -> None:
        """As `SinkOwner`."""
        self.booking.first_token(now)

    def mark_unreusable(self) -> None:
        """As `SinkOwner`."""
        assert self._exchange is not None
        self._exchange.mark_unreusable()

    def finish(self) -> None:
        """As `SinkOwner`: said before the last event can be read."""
        assert self._sink is not None
        decoder: StreamDecoder = self._sink.decoder
        self.state = AttemptState.DONE
        self.delivery.waits = None
        self.delivery.response_id = decoder.response_id
        self.delivery.response_model = decoder.response_model
        self.delivery.dialect = self.outlet.dialect.name
        self.whole = self.record(self.current_time())
        self.delivery.attempts.append(self.whole)

    def _on_room(self) -> None:
        assert self._sink is not None
        assert self._exchange is not None
        self._sink.room()
        self._exchange.resume()

    # The end. -------------------------------------------------------------------------------

    async def _end(self) -> None:
        """The attempt is over, but for what is left of its answer."""
        sink, response = self._sink, self._exchange
        if response is None or (self.lost and sink is None):
            return
        if sink is None:
            await self._refuse(response)
            return
        if sink.failure is not None:
            told = self._told
            raise sink.failure if told is None else with_headers(sink.failure, told, self.wall_time)
        if sink.claimed and not sink.body_ended:
            self._let_go()
            await response.drain(self.delivery.deadline, blank=True, rest=sink.rest)

    async def _refuse(self, response: HttpExchange) -> None:
        """Raise what an answer says that says no."""
        head, asked = response.head, self.outlet.endpoint
        body = await error_body(response)
        error = self.outlet.dialect.error_from_answer(head, body, now=self.wall_time)
        error = wrong_path(
            error, body, model=self.stop.route.model, url=asked.url, endpoint=asked.name
        )
        self.asking.refused(self.outlet, head, body, error)
        raise error

    def _let_go(self) -> None:
        """Nothing more is fed."""
        sink = self._sink
        if sink is None:
            return
        sink.let_go()
        if sink.claimed:
            self.delivery.channel.on_room = None
        if sink.committed and self.state is not AttemptState.DONE:
            self.state = AttemptState.COMMITTED

    def _failed(self, error: EngineError) -> None:
        self.error = error
        scrub_error(error, self.outlet.secrets(), self.delivery.request.messages)
        error.endpoint = error.endpoint or self.outlet.endpoint.name
        error.status = error.status if error.status is not None else self.status
        error.request_id = error.request_id or self.request_id

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
