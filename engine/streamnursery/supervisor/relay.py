"""A relayed request: a body that is given, and an answer whose bytes are handed on.

Rule 1: an endpoint gets its own key and no other's. What the caller's headers hold goes to the
        endpoint that they are meant for alone, but for those that say how a body is read; so does
        the query.
Rule 2: a path that a dialect knows is written as the endpoint's own dialect writes it, so that a
        fallback may have another base URL, and another name for the model.
Rule 3: with `exact` nothing is changed, and what it has cost is estimated.
"""

from collections.abc import Callable
from typing import ClassVar

import attrs

from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.pipeline.delivery import Delivery
from streamnursery.pipeline.relayed import Refusal
from streamnursery.supervisor.endpoint import Outlet
from streamnursery.supervisor.sink import StreamSink
from streamnursery.values.errors import EngineError
from streamnursery.values.http import Header, HttpHead, HttpRequest
from streamnursery.values.relay import RelayHead, handed_on
from streamnursery.values.request import ChatRequest
from streamnursery.values.secret import SHORTEST_SECRET
from streamnursery.wire.dialect import AsksForUsage, Dialect, StreamDecoder
from streamnursery.wire.relay_body import RelayBody
from streamnursery.wire.relay_decoders import RelayedBytes, RelayedStream, RelayedWhole
from streamnursery.wire.relay_paths import RelayPath
from streamnursery.wire.usage_filter import UsageFilter


class RelaySink(StreamSink):
    """Hands on what stands behind the answer's end as well."""

    __slots__ = ()

    @property
    def rest(self) -> Callable[[bytes], bool]:
        return self._hand_on

    def _hand_on(self, data: bytes) -> bool:
        return self._delivery.channel.put([data], len(data))  # type: ignore[list-item]


@attrs.define(eq=False)
class Relayed:
    """How a relayed request is asked; one for all its attempts."""

    request: ChatRequest
    """What the engine knows of it."""
    method: str
    path: RelayPath
    body: RelayBody
    shared: tuple[Header, ...]
    """Headers for every endpoint."""
    home: str
    """The endpoint that the query and the caller's headers are meant for."""
    exact: bool
    most: int
    """Bytes of an answer that does not stream."""
    passing: bool = attrs.field(kw_only=True)
    """It is handed on whatever it says."""
    refusal: Refusal | None = attrs.field(default=None, init=False)
    """The latest answer that said no."""

    sink: ClassVar[type[StreamSink]] = RelaySink
    hides_beginning: ClassVar[bool] = True

    def accepts(self, outlet: Outlet, head: HttpHead) -> bool:
        if not 200 <= head.status < 300:
            return self.passing
        return not self.path.streams or self._language(outlet).check_head(head)

    def refused(self, outlet: Outlet, head: HttpHead, body: bytes, error: EngineError) -> None:
        if head.status < 400:
            return  # it may be anything, but no answer
        for secret in outlet.secrets():
            if len(secret) >= SHORTEST_SECRET:
                body = body.replace(secret.encode("latin-1", "replace"), b"***")
        headers = (*handed_on(head.headers, changed=True), ("content-length", str(len(body))))
        self.refusal = Refusal(error, RelayHead(head.status, headers), body)

    def http_request(
        self, outlet: Outlet, stop: PlannedRoute, extra: tuple[Header, ...]
    ) -> HttpRequest:
        wire = stop.route.model
        at_home = outlet.endpoint.name == self.home
        target = self.path.at(self._written_by(outlet), self.request, wire, with_query=at_home)
        changes: dict[str, object] = {}
        if not self.exact and self.body.model is not None:
            changes["model"] = wire
        changes |= self._usage_fields(outlet) or {}
        return outlet.relayed(
            self.method, target, (*self.shared, *extra), self.body.with_fields(changes)
        )

    def decoder(self, outlet: Outlet, stop: PlannedRoute, head: HttpHead) -> StreamDecoder:  # noqa: ARG002
        inner = None
        if self.path.language is not None:
            inner = outlet.bounded(self._language(outlet).decoder(self.request))
        if self.path.streams and inner is not None:
            taken_out = self._usage_filter(outlet)
            changed = RelayHead(head.status, handed_on(head.headers, changed=taken_out is not None))
            return RelayedStream(changed, inner, taken_out)
        whole = RelayHead(head.status, handed_on(head.headers))
        kind = (head.get("content-type") or "").partition(";")[0].strip().lower()
        if kind == "text/event-stream":
            return RelayedBytes(whole)
        return RelayedWhole(whole, inner, self.most)

    def mark(self, number: int, delivery: Delivery) -> None:
        """Nothing stands before the bytes of an answer."""

    def _language(self, outlet: Outlet) -> Dialect:
        """What the answer is read in: the dialect of its path."""
        return self._written_by(outlet) or outlet.dialect

    def _written_by(self, outlet: Outlet) -> Dialect | None:
        return self.path.dialect_at(outlet.dialect)

    def _asks(self, outlet: Outlet) -> AsksForUsage | None:
        dialect = self._written_by(outlet)
        if self.exact or not self.path.streams or not isinstance(dialect, AsksForUsage):
            return None
        return dialect

    def _usage_fields(self, outlet: Outlet) -> dict[str, object] | None:
        asks = self._asks(outlet)
        fields = None if asks is None else asks.usage_fields(self.body.fields, outlet.endpoint)
        return None if fields is None else dict(fields)

    def _usage_filter(self, outlet: Outlet) -> UsageFilter | None:
        asks = self._asks(outlet)
        if asks is None or self._usage_fields(outlet) is None:
            return None
        return asks.usage_filter()
