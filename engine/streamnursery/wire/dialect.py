"""What a provider's wire language must say."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import attrs

from streamnursery.values.errors import EngineError
from streamnursery.values.events import StreamEvent
from streamnursery.values.http import Header, HttpHead
from streamnursery.values.policy import AssistantPrefix
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Endpoint


@attrs.frozen
class Cursor:
    """A place in a stream that its provider has kept."""

    stream: str
    """The provider's name for the stream, such as a response id."""
    after: int | str
    """The last event that was received: a sequence number, or an SSE id."""


@attrs.frozen
class Resumption:
    """The HTTP request that reads on after a cursor."""

    path: str
    """Below the endpoint's base URL, with a leading slash."""
    method: str = "GET"
    query: Mapping[str, str] = attrs.field(factory=dict)
    headers: tuple[Header, ...] = ()
    body: bytes = b""


class StreamDecoder(Protocol):
    """Turns the body of one attempt into events. Never raises: a failure is a value, so that
    the events before it are not lost."""

    @property
    def done(self) -> bool:
        """The dialect's end mark was seen: nothing after it counts."""

    @property
    def trailing(self) -> bool:
        """Events came behind the end mark, in the same read."""

    @property
    def failure(self) -> EngineError | None:
        """Set once; every later `feed` returns nothing."""

    @property
    def response_id(self) -> str | None: ...

    @property
    def response_model(self) -> str | None: ...

    @property
    def cursor(self) -> Cursor | None:
        """After the last event that `feed` has returned; None: the stream cannot be resumed."""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that `data` completes; often none, sometimes many.

        `Finished` is returned as the last event once completion is evident and cannot be
        revoked by what follows.
        """

    def end(self) -> list[StreamEvent]:
        """The body ended cleanly: the last events, `Finished` among them if the evidence is
        there; otherwise `failure` is set."""


class Dialect(Protocol):
    """One provider language. Stateless; shared by all attempts."""

    name: str

    def path(self, request: ChatRequest, /) -> str:
        """Path below the endpoint's base URL, with a leading slash."""

    def encode(self, request: ChatRequest, endpoint: Endpoint, model: str) -> bytes:
        """The request body; `model` is the name on the wire.

        Raises:
            RequestError: a field cannot be encoded.
        """

    def check_head(self, head: HttpHead) -> bool:
        """Whether a 2xx answer may hold an event stream, going by status and Content-Type."""

    def decoder(self, request: ChatRequest, /) -> StreamDecoder: ...

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        """`request`, asking the model to go on after `text`, which it has said; `how` is what
        its server understands, and never "off"."""

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        """The typed error for an answer that is no stream. `body` is at most 64 KiB of it;
        `now` is Unix time, for Retry-After dates."""


@runtime_checkable
class ResumableDialect(Protocol):
    """What a dialect whose decoders have cursors says besides."""

    def resume(
        self, request: ChatRequest, endpoint: Endpoint, model: str, cursor: Cursor
    ) -> Resumption:
        """How to ask for the rest of a stream."""

    def resumed(self, request: ChatRequest, broken: StreamDecoder) -> StreamDecoder:
        """The decoder for that rest: `broken`, which has read up to the cursor, or a new one that
        knows what stands only at the beginning of a stream. May be asked for more than once."""
