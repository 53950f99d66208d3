"""What a provider's wire language must say."""

from typing import Protocol

from engine.values.errors import EngineError
from engine.values.events import StreamEvent
from engine.values.http import HttpHead
from engine.values.request import ChatRequest
from engine.values.settings import Endpoint


class StreamDecoder(Protocol):
    """Turns the body of one attempt into events. Never raises: a failure is a value, so that
    the events before it are not lost."""

    done: bool
    """The dialect's end mark was seen: nothing after it counts."""
    failure: EngineError | None
    """Set once; every later `feed` returns nothing."""
    response_id: str | None
    response_model: str | None

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

    def decoder(self, request: ChatRequest) -> StreamDecoder: ...

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        """The typed error for an answer that is no stream. `body` is at most 64 KiB of it;
        `now` is Unix time, for Retry-After dates."""
