"""The interface of a provider's wire language: what a request looks like, what an answer means.

A dialect is stateless and shared by all attempts of all engines. Everything here is public: a
package adds a dialect with `open_engine(dialects=[...])` or with an entry point in the group
`streamnursery.dialects` (docs/dialects.md). It must not read clocks, roll dice or do I/O.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import attrs

from streamnursery.values.errors import EngineError
from streamnursery.values.events import Failed, StreamEvent
from streamnursery.values.http import Header, HttpHead
from streamnursery.values.policy import AssistantPrefix
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Auth, Endpoint
from streamnursery.wire.usage_filter import UsageFilter

API = 1
"""The version of `Dialect`. A change that breaks dialects made for it raises it."""


@attrs.frozen
class EndpointOption:
    """A setting of `[endpoints.NAME]` that a dialect reads. The default gives its type."""

    name: str
    """Lower case letters, digits and underscores; none of the endpoint's other keys."""
    default: bool | str
    about: str
    """One sentence for the reference of the configuration."""
    pattern: str = ""
    """A regular expression that a text must match as a whole; empty: any text."""
    expected: str = ""
    """What such a text is, for the message about one that does not match."""

    def of(self, endpoint: Endpoint) -> Any:
        """What `endpoint` says, or the default."""
        return endpoint.options.get(self.name, self.default)


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

    @property
    def buffered(self) -> int:
        """Bytes kept of an event that has not come whole."""

    def feed(self, data: bytes) -> list[StreamEvent]:
        """The events that `data` completes; often none, sometimes many.

        `Finished` is returned as the last event once completion is evident and cannot be
        revoked by what follows.
        """

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:
        """The body ended cleanly: the last events, `Finished` among them if the evidence is
        there; otherwise `failure` is set. `delimited`: by its length, its last chunk or
        END_STREAM, and not by the end of the connection alone, which may be a cut."""


class Dialect(Protocol):
    """One provider language. Stateless; shared by all attempts."""

    @property
    def api(self) -> int:
        """The version of this interface that it was made for: `API`."""

    @property
    def name(self) -> str:
        """What `dialect` of an endpoint calls it."""

    @property
    def auth(self) -> Auth:
        """How an endpoint that states no `auth` sends its key."""

    @property
    def options(self) -> tuple[EndpointOption, ...]:
        """What `Endpoint.options` may hold."""

    @property
    def session(self) -> "SessionDialect | None":
        """The same language on a WebSocket that is kept; None where there is none."""

    def path(self, request: ChatRequest, model: str, /) -> str:
        """Path below the endpoint's base URL, with a leading slash, and a query behind it if the
        API wants one. `model` is the name on the wire. The caller percent-encodes what stands in
        front of the first `?`, and leaves `%` as it is."""

    def headers(self, endpoint: Endpoint, /) -> tuple[Header, ...]:
        """Headers of every request with a body, in lower case, without the key: what is accepted,
        the type of the body, versions. The endpoint's own `headers` replace them."""

    def encode(self, request: ChatRequest, endpoint: Endpoint, model: str) -> bytes:
        """The request body; `model` is the name on the wire.

        Raises:
            RequestError: a field cannot be encoded.
        """

    def check_head(self, head: HttpHead) -> bool:
        """Whether a 2xx answer may hold a stream that the decoder reads, going by status and
        Content-Type. The framing inside is the decoder's: SSE, JSON lines, AWS event stream."""

    def decoder(self, request: ChatRequest, /) -> StreamDecoder: ...

    def continued(self, request: ChatRequest, how: AssistantPrefix, text: str) -> ChatRequest:
        """`request`, asking the model to go on after `text`, which it has said; `how` is what
        its server understands, and never "off"."""

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        """The typed error for an answer that is not a stream. `body` is at most 64 KiB of it;
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


@runtime_checkable
class AsksForUsage(Protocol):
    """What a dialect says besides whose servers report usage only when asked: for a relay, which
    asks where the caller has not, and hands on everything but the answer to that."""

    def usage_fields(
        self, fields: Mapping[str, object], endpoint: Endpoint
    ) -> Mapping[str, object] | None:
        """What to change in a request's body; None where it asks, or must not be made to."""

    def usage_filter(self) -> UsageFilter:
        """What takes that answer out of one stream."""


# The same language on a WebSocket that is kept. ------------------------------------------------


@attrs.frozen
class Envelope:
    """What a message says of its way. Made once per message."""

    lane: str | None
    """The lane whose answer it belongs to, where the server names it."""
    answer: str | None
    """The server's name for that answer."""
    of_answer: bool
    """It belongs to an answer, not to the session."""
    ends_answer: bool
    """Its answer is over."""
    is_error: bool
    worn_out: bool = False
    """The server has announced that this connection has reached its limit."""


class DialogueDecoder(Protocol):
    """Turns the events of a whole dialogue into stream events, one answer after the other."""

    def feed(self, event: Mapping[str, Any], /) -> list[StreamEvent | Failed]:
        """What one event says. Each answer ends with `Finished` or `Failed`."""


class SessionDialect(Protocol):
    """What `Session` needs of a provider language."""

    @property
    def answers(self) -> Dialect:
        """Encodes the message that asks for an answer, decodes the messages of that answer."""

    def path(self, endpoint: Endpoint, /) -> str:
        """Path of the WebSocket below the endpoint's base URL."""

    def envelope(self, data: bytes, /) -> Envelope | None:
        """None: not a message of this language."""

    def on_lane(self, message: bytes, lane: str, /) -> str:
        """The message that asks for an answer, as `answers` encoded it, sent on `lane`."""

    def cancel(self, lane: str | None, /) -> str:
        """The message that ends an answer; `lane` where the server knows lanes."""

    def repeatable(self, message: Mapping[str, Any], /) -> bool:
        """Whether a client's message may be sent twice without harm."""

    def after(self, request: ChatRequest, answer: str, /) -> ChatRequest:
        """`request`, continuing the answer that the server names so."""

    def dialogue(self) -> DialogueDecoder:
        """A decoder for events that were not asked for with `Session.stream`."""
