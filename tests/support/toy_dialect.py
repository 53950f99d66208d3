"""A dialect of one file, as a package outside this one would have it: its own request, its own
framing, its own end mark. It speaks to the simulated provider's chat API and reads lines."""

import json

from streamnursery.values.errors import EngineError, ServerError, TruncatedStreamError
from streamnursery.values.events import ChoiceFinished, Finished, StreamEvent, TextDelta
from streamnursery.values.http import Header, HttpHead
from streamnursery.values.policy import AssistantPrefix
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Auth, Endpoint
from streamnursery.wire.dialect import Cursor, EndpointOption

SHOUT = EndpointOption("shout", False, "Give the answer in capitals.")
TEAM = EndpointOption("team", "", "Who asks.", pattern=r"[a-z]*", expected="lower case letters")


class ToyDecoder:
    """A `StreamDecoder` that splits lines by itself."""

    def __init__(self) -> None:
        self.done = False
        self.trailing = False
        self.failure: EngineError | None = None
        self.response_id: str | None = None
        self.response_model: str | None = None
        self.cursor: Cursor | None = None
        self.buffered = 0
        self._rest = b""

    def feed(self, data: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line.removeprefix(b"data: ").strip(), events)
        return events

    def _take(self, line: bytes, events: list[StreamEvent]) -> None:
        if line == b"[DONE]":
            self.done = True
            events += [ChoiceFinished(0, "stop"), Finished("stop")]
        elif line and not self.done:
            for choice in json.loads(line)["choices"]:
                if text := choice["delta"].get("content"):
                    events.append(TextDelta(text))

    def end(self, *, delimited: bool = True) -> list[StreamEvent]:
        if not self.done:
            self.failure = TruncatedStreamError("the lines ended without [DONE]", status=200)
        return []


class Toy:
    """The `Dialect`."""

    api = 1
    name = "toy"
    auth: Auth = "api-key"
    options: tuple[EndpointOption, ...] = (SHOUT, TEAM)
    session = None

    def path(self, _request: ChatRequest, _model: str, /) -> str:
        return "/chat/completions"

    def headers(self, endpoint: Endpoint, /) -> tuple[Header, ...]:
        return (("content-type", "application/json"), ("x-request-id", str(TEAM.of(endpoint))))

    def encode(self, request: ChatRequest, _endpoint: Endpoint, model: str) -> bytes:
        body = {"model": model, "stream": True, "messages": list(request.messages)}
        return json.dumps(body | dict(request.extra)).encode()

    def check_head(self, head: HttpHead) -> bool:
        return head.status == 200

    def decoder(self, _request: ChatRequest, /) -> ToyDecoder:
        return ToyDecoder()

    def continued(self, request: ChatRequest, _how: AssistantPrefix, _text: str) -> ChatRequest:
        return request

    def error_from_answer(self, head: HttpHead, body: bytes, *, now: float) -> EngineError:
        del now
        return ServerError(f"the toy's server said {head.status}", body=body.decode())
