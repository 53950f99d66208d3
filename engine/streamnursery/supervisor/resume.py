"""How an attempt asks for its answer: from the beginning, to go on with a text, or for the rest of
a stream that broke.

Rule 1: a mark is put together with what follows it: the first content of the new attempt, or the
        first event of a stream's rest. Until then the stream stands as it was, and so it ends if
        the attempt fails.
Rule 2: an attempt that goes on in another way asks another question, under idempotency keys of
        its own.
Rule 3: what the attempt before a mark has cost is counted when the mark is put. A resumed stream
        is the same answer: its usage is reported once, at its end.
"""

from typing import ClassVar, Protocol

import attrs

from streamnursery.core.recovery.overlap import Overlap
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.pipeline.delivery import Delivery
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.sink import StreamSink
from streamnursery.values.errors import EngineError
from streamnursery.values.events import Restarted, Resumed
from streamnursery.values.http import Header, HttpHead, HttpRequest
from streamnursery.values.request import ChatRequest
from streamnursery.values.usage import Usage
from streamnursery.wire.continuation import ContinuedStream
from streamnursery.wire.dialect import Cursor, ResumableDialect, StreamDecoder


class Asking(Protocol):
    """What is sent in an attempt, and what reads the answer."""

    sink: ClassVar[type[StreamSink]]
    """What takes the body."""
    hides_beginning: ClassVar[bool]
    """Whether what comes before the first content may be lost with a failed attempt. The rest of
    a stream has no beginning: its first event, whatever it is, belongs to the answer."""

    def http_request(
        self, outlet: Outlet, stop: PlannedRoute, extra: tuple[Header, ...]
    ) -> HttpRequest:
        """Raises `RequestError` when the request cannot be encoded."""

    def accepts(self, outlet: Outlet, head: HttpHead) -> bool:
        """Whether an answer with that head may hold what was asked for."""

    def refused(self, outlet: Outlet, head: HttpHead, body: bytes, error: EngineError) -> None:
        """The answer was something else: `error`, in the provider's words `body`."""

    def decoder(self, outlet: Outlet, stop: PlannedRoute, head: HttpHead) -> StreamDecoder: ...

    def mark(self, number: int, delivery: Delivery) -> Restarted | Resumed | None:
        """What attempt `number` puts before its first content, called just before that."""


class _Streams:
    """A request whose answer is a stream for the engine to read."""

    sink: ClassVar[type[StreamSink]] = StreamSink

    def accepts(self, outlet: Outlet, head: HttpHead) -> bool:
        return 200 <= head.status < 300 and outlet.dialect.check_head(head)

    def refused(self, outlet: Outlet, head: HttpHead, body: bytes, error: EngineError) -> None:
        pass


@attrs.frozen
class FromTheStart(_Streams):
    """The request as it was made; with `why`, once more after content was delivered."""

    request: ChatRequest
    why: str | None = None
    spent: Usage | None = None
    """Tokens of the attempt that broke."""

    hides_beginning: ClassVar[bool] = True

    def http_request(
        self, outlet: Outlet, stop: PlannedRoute, extra: tuple[Header, ...]
    ) -> HttpRequest:
        return outlet.http_request(self.request, stop.route.model, extra)

    def decoder(self, outlet: Outlet, stop: PlannedRoute, head: HttpHead) -> StreamDecoder:  # noqa: ARG002
        return outlet.bounded(outlet.dialect.decoder(self.request))

    def mark(self, number: int, delivery: Delivery) -> Restarted | None:
        if self.why is None:
            return None
        delivery.spend(self.spent)
        return Restarted(number, self.why)


@attrs.frozen
class GoOnWith(_Streams):
    """Go on with `text`, in the way that the route is configured for."""

    request: ChatRequest
    text: str = attrs.field(repr=False)
    spent: Usage | None

    hides_beginning: ClassVar[bool] = True

    def http_request(
        self, outlet: Outlet, stop: PlannedRoute, extra: tuple[Header, ...]
    ) -> HttpRequest:
        return outlet.http_request(self._continued(outlet, stop), stop.route.model, extra)

    def decoder(self, outlet: Outlet, stop: PlannedRoute, head: HttpHead) -> StreamDecoder:  # noqa: ARG002
        inner = outlet.bounded(outlet.dialect.decoder(self._continued(outlet, stop)))
        shown = self._shown(stop)
        return ContinuedStream(inner, Overlap(shown, tail=self.text[len(shown) :]))

    def mark(self, number: int, delivery: Delivery) -> Resumed:
        delivery.spend(self.spent)
        return Resumed(number, len(self.text))

    def _shown(self, stop: PlannedRoute) -> str:
        # Servers that know no flag refuse a last message that ends in white space.
        return self.text.rstrip() if stop.assistant_prefix == "message" else self.text

    def _continued(self, outlet: Outlet, stop: PlannedRoute) -> ChatRequest:
        return outlet.dialect.continued(self.request, stop.assistant_prefix, self._shown(stop))


@attrs.frozen
class AfterCursor(_Streams):
    """The rest of a stream that its provider has kept."""

    request: ChatRequest
    cursor: Cursor
    broken: StreamDecoder
    at: int
    """Characters delivered."""

    hides_beginning: ClassVar[bool] = False

    def http_request(
        self, outlet: Outlet, stop: PlannedRoute, extra: tuple[Header, ...]
    ) -> HttpRequest:
        dialect = outlet.dialect
        assert isinstance(dialect, ResumableDialect)
        asked = dialect.resume(self.request, outlet.endpoint, stop.route.model, self.cursor)
        return outlet.resumption(asked, extra)

    def decoder(self, outlet: Outlet, stop: PlannedRoute, head: HttpHead) -> StreamDecoder:  # noqa: ARG002
        assert isinstance(outlet.dialect, ResumableDialect)
        return outlet.bounded(outlet.dialect.resumed(self.request, self.broken))

    def mark(self, number: int, delivery: Delivery) -> Resumed:  # noqa: ARG002
        return Resumed(number, self.at)
