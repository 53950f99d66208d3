"""An answer on a session, as the supervisor sees it: a transport like any other.

Rule 1: the permit for the session's lane comes first, the engine's slots second, and both go back
        together: no request holds a slot that others need while it waits for its own lane.
Rule 2: leaving an answer before its end sends the dialect's cancel for it, and for no other.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import TYPE_CHECKING

import attrs
import trio

from streamnursery.sessions.lanes import Permit, Turn, TurnLanes
from streamnursery.supervisor.ports import Admission, AttemptLease
from streamnursery.transport.ports import ByteSink, ConnectProgress, HeadListener, Phase
from streamnursery.transport.reader import MOST_UNREAD
from streamnursery.values.demand import Demand
from streamnursery.values.errors import ConnectionLostError
from streamnursery.values.http import HttpHead, HttpRequest
from streamnursery.values.rates import RateNews
from streamnursery.values.usage import Usage

if TYPE_CHECKING:
    from streamnursery.sessions.core import SessionCore


@attrs.define(eq=False)
class TurnLease:
    """A lane and the engine's slots."""

    _inner: AttemptLease
    _lanes: TurnLanes
    _permit: Permit
    _unused: deque[Permit]

    def on_rate_headers(self, news: Sequence[RateNews], now: float) -> None:
        self._inner.on_rate_headers(news, now)

    def on_first_token(self, now: float) -> None:
        self._inner.on_first_token(now)

    def on_overload(self, now: float, *, limited: bool = False) -> None:
        self._inner.on_overload(now, limited=limited)

    def settle(self, usage: Usage | None) -> None:
        self._inner.settle(usage)

    def release(self) -> None:
        if self._permit in self._unused:
            self._unused.remove(self._permit)
        self._lanes.leave(self._permit)
        self._inner.release()


class TurnAdmission:
    """The engine's admission behind the session's lanes, for one request."""

    def __init__(self, inner: Admission, lanes: TurnLanes, lane: str | None) -> None:
        self.max_queued = inner.max_queued
        self.permits: deque[Permit] = deque()
        """Granted, and not yet used by an attempt."""
        self._inner = inner
        self._lanes = lanes
        self._lane = lane

    def acquire_nowait(self, demand: Demand) -> AttemptLease:
        permit = self._lanes.enter_nowait(self._lane)
        try:
            return self._lease(permit, self._inner.acquire_nowait(demand))
        except BaseException:
            self._lanes.leave(permit)
            raise

    async def acquire(self, demand: Demand) -> AttemptLease:
        permit = await self._lanes.enter(self._lane)
        try:
            return self._lease(permit, await self._inner.acquire(demand))
        except BaseException:
            self._lanes.leave(permit)
            raise

    def binding_limit(self, demand: Demand) -> str:
        return self._inner.binding_limit(demand)

    def _lease(self, permit: Permit, inner: AttemptLease) -> AttemptLease:
        self.permits.append(permit)
        return TurnLease(inner, self._lanes, permit, self.permits)


class TurnTransport:
    """Begins answers; the supervisor's `Transport` for one request."""

    def __init__(self, session: "SessionCore", admission: TurnAdmission) -> None:
        self._session = session
        self._admission = admission

    async def begin(
        self, request: HttpRequest, progress: ConnectProgress, after: object = None
    ) -> "TurnResponse":
        """As `Transport`; its answer has begun."""
        assert after is None, "an answer that did not begin is not asked for again"
        return await self.open(request, progress)

    async def open(self, request: HttpRequest, progress: ConnectProgress) -> "TurnResponse":
        """Ask, and return when the first event of the answer is there.

        Raises:
            EngineError: the connection broke first, or the session is over.
        """
        permit = self._admission.permits.popleft()
        progress.enter(Phase.CONNECTING)
        link = None
        while link is None:
            with trio.CancelScope(deadline=progress.deadline):
                link = await self._session.usable_link()
            if link is None:
                progress.strike()
        progress.enter(Phase.CONNECTED)
        turn = self._session.lanes.begin(permit, link)
        progress.enter(Phase.SENDING)
        link.post(self._session.dialect.on_lane(request.body, permit.lane))
        try:
            while not turn.begun.is_set():
                with trio.CancelScope(deadline=progress.deadline):
                    await turn.begun.wait()
                if not (turn.begun.is_set() or await self._catch_up(turn)):
                    progress.strike()
        except BaseException:
            self._session.leave(turn)
            raise
        if turn.error is not None:
            raise turn.error
        return TurnResponse(self._session, turn)

    async def _catch_up(self, turn: Turn) -> bool:
        """Whether its first event lay unread."""
        for _ in range(MOST_UNREAD):
            if not await turn.link.catch_up():
                break
        return turn.begun.is_set()


class TurnResponse:
    """An answer that has begun; the supervisor's `HttpExchange`."""

    unseen = False

    def __init__(self, session: "SessionCore", turn: Turn) -> None:
        self._session = session
        self._turn = turn

    @property
    def head(self) -> HttpHead:
        """Its `x-request-id` is the answer's own: there is no exchange that would have one."""
        headers = [("content-type", "text/event-stream")]
        if self._turn.name is not None:
            headers.append(("x-request-id", self._turn.name))
        return HttpHead(200, tuple(headers), "websocket")

    def expect(self, on_head: HeadListener) -> None:
        """As `HttpExchange`: at once."""
        on_head(None)

    async def send(self, request: HttpRequest) -> None:
        """As `HttpExchange`: it was."""

    async def receive_some(self) -> bytes:
        raise ConnectionLostError("an answer on a session is pushed, and cannot be pulled")

    def attach(self, sink: ByteSink) -> None:
        self._turn.attach(sink)

    def resume(self) -> None:
        self._turn.resume()

    async def catch_up(self) -> bool:
        """As `HttpResponse`: of the link, which has the events of other answers too."""
        return await self._turn.link.catch_up()

    def mark_unreusable(self) -> None:
        """As `HttpResponse`: the connection is the session's."""

    async def drain(
        self,
        until: float = inf,  # noqa: ARG002 - nothing is left to read
        *,
        blank: bool = False,  # noqa: ARG002
        rest: Callable[[bytes], object] | None = None,  # noqa: ARG002
    ) -> None:
        self.close()

    def close(self) -> None:
        self._session.leave(self._turn)
