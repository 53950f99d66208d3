"""What the supervisor asks of the layers around it.

The scheduler implements `Admission`, the transport `Transport`, the wire `Dialect`; each is
passed in, so that the supervisor imports none of the layers that call it.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from streamnursery.core.money.settlement import AttemptEnd
from streamnursery.transport.ports import (
    ByteSink,
    ConnectProgress,
    HeadListener,
    HttpExchange,
    HttpResponse,
    Phase,
)
from streamnursery.values.cost import CostSource
from streamnursery.values.demand import Demand
from streamnursery.values.errors import EngineError
from streamnursery.values.http import HttpRequest
from streamnursery.values.lifecycle import Record
from streamnursery.values.rates import RateNews
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Route
from streamnursery.values.usage import Usage

__all__ = [
    "Admission",
    "AttemptLease",
    "ByteSink",
    "ConnectProgress",
    "HeadListener",
    "Hold",
    "HttpExchange",
    "HttpResponse",
    "Money",
    "Phase",
    "Recorder",
    "Reservation",
    "Transport",
]


class Transport(Protocol):
    async def open(self, request: HttpRequest, progress: ConnectProgress) -> HttpResponse:
        """Send `request`, return when the final response head is there.

        Raises:
            NetworkError, ProtocolError: nothing is left behind. Cancellation likewise.
        """

    async def begin(
        self, request: HttpRequest, progress: ConnectProgress, after: Any = None
    ) -> HttpExchange:
        """A way for `request`, which goes on as `HttpExchange` says. Where it is sent again,
        `after` is the exchange that came to nothing.

        Raises:
            NetworkError: nothing is left behind. Cancellation likewise.
        """


class AttemptLease(Protocol):
    def on_rate_headers(self, news: Sequence[RateNews], now: float) -> None:
        """The head of the answer came; `news` is what it says is left of the provider's limits."""

    def on_first_token(self, now: float) -> None:
        """The first token came."""

    def on_overload(self, now: float, *, limited: bool = False) -> None:
        """The route refused for want of capacity, or let the attempt wait for too long."""

    def settle(self, usage: Usage | None) -> None:
        """Say what the attempt really used; None: not known, its estimate stands.

        A lease that is released without it sent nothing and gives back all it reserved.
        """

    def release(self) -> None:
        """Give the slots back; synchronous and idempotent."""


class Admission(Protocol):
    max_queued: int

    def acquire_nowait(self, demand: Demand) -> AttemptLease:
        """Everything one attempt needs, now, or `trio.WouldBlock`."""

    async def acquire(self, demand: Demand) -> AttemptLease:
        """Everything one attempt needs: all of it at once, or waiting with none of it.

        Raises:
            AdmissionError: the attempt will not be admitted.
        """

    def binding_limit(self, demand: Demand) -> str:
        """Which limit a request like `demand` would wait for, in words."""


class Reservation(Protocol):
    """Money set aside for one attempt."""

    def grow(self, output_tokens: int) -> EngineError | None:
        """So many tokens were received: reserve for more, or say why the stream must stop."""

    @property
    def look_at(self) -> int:
        """Tokens at which `grow` wants to be asked."""

    @property
    def durable(self) -> bool:
        """Whether the answer's end waits for `written`."""

    def settle(self, ending: AttemptEnd, received_tokens: int) -> None:
        """What became of the attempt; synchronous, and only the first one counts."""

    def bill(self, received_tokens: int) -> CostSource:
        """What its cost is worked out from, should anybody ask."""

    async def written(self) -> None:
        """Until what was settled is on the disk.

        Raises:
            StorageError: it could not be written.
        """


class Hold(Protocol):
    """The worst case of one attempt, kept free while it waits for its slot."""

    async def reserve(self, attempt: int) -> Reservation:
        """Make it a reservation, written down before this returns.

        Raises:
            BudgetExceededError: another process was quicker.
            StorageError: it could not be written down; nothing may be sent.
        """

    def drop(self) -> None:
        """Give it up; synchronous, idempotent, and nothing once it was reserved."""


class Money(Protocol):
    def cheaper(self, request: ChatRequest, choices: Sequence[tuple[Demand, Route]]) -> int | None:
        """Which of `choices` to take in the place of the first, whose soft budget is nearly spent;
        None to stay."""

    def hold_nowait(self, request: ChatRequest, demand: Demand, route: Route) -> Hold:
        """The attempt's worst case, out of every budget it is under.

        Raises:
            BudgetExceededError: one of them has no room.
        """

    async def hold(self, request: ChatRequest, demand: Demand, route: Route) -> Hold:
        """The same; where the budget is soft it waits a while for room."""

    def dearer(
        self, request: ChatRequest, here: tuple[Demand, Route], there: tuple[Demand, Route]
    ) -> bool:
        """Whether an attempt may cost more `there`; False where a price is not known."""


class Recorder(Protocol):
    listening: bool
    """Whether there are observers: without them a record need not be made."""

    def emit(self, record: Record) -> None:
        """Hand the record to every observer; never waits and never raises."""
