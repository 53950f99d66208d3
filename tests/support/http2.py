"""The server's side of HTTP/2 for tests of the client's: `h2`, which nobody here wrote, and raw
frames for what it would never send."""

from collections.abc import Sequence
from typing import Any, TypeVar

import h2.config
import h2.connection
import h2.events
import h2.settings
from hpack import Encoder

from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.state import Http2State
from streamnursery.transport.http2.stream import Http2Stream
from streamnursery.values.http2 import Http2Settings
from tests.support.transport import http_request

E = TypeVar("E", bound=h2.events.Event)

OK = [(":status", "200"), ("content-type", "text/event-stream")]
SETTINGS = h2.settings.SettingCodes


def new_server() -> h2.connection.H2Connection:
    config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
    server = h2.connection.H2Connection(config)
    server.initiate_connection()
    return server


def header_block(fields: Sequence[tuple[str, str]] = OK) -> bytes:
    """A block that leaves no trace in any table."""
    return Encoder().encode([(*field, True) for field in fields])


def raw_headers(stream_id: int, *fields: tuple[str, str], end: bool = False) -> bytes:
    """HEADERS as they stand, however wrong."""
    block = header_block(fields or OK)
    return frames.header_frames(stream_id, block, end=end, max_frame=frames.MAX_FRAME)


def raw_data(stream_id: int, data: bytes, *, end: bool = False) -> bytes:
    return frames.frame(frames.DATA, frames.END_STREAM if end else 0, stream_id, data)


class Pair:
    """A client's state and a server, with nothing between them and no clock but `now`."""

    def __init__(self, settings: Http2Settings | None = None) -> None:
        self.client = Http2State("api.test", settings or Http2Settings())
        self.server = new_server()
        self.now = 0.0
        self.seen: list[h2.events.Event] = []
        """What the server has seen."""
        self.news: list[Http2Stream] = []
        self.exchange()

    def to_server(self) -> None:
        while data := self.client.output():
            self.seen += self.server.receive_data(data)

    def to_client(self, data: bytes = b"") -> list[Http2Stream]:
        news = self.client.receive(self.server.data_to_send() + data, self.now)
        self.news += news
        return news

    def exchange(self) -> None:
        """Until neither has anything to say."""
        self.to_server()
        while data := self.server.data_to_send():
            self.news += self.client.receive(data, self.now)
            self.to_server()

    def open(self, **request: Any) -> Http2Stream:
        stream = self.client.open(http_request("api.test", **request))
        self.exchange()
        return stream

    def answer(self, stream: Http2Stream, *parts: bytes, end: bool = True) -> None:
        self.server.send_headers(stream.id, OK, end_stream=end and not parts)
        for count, part in enumerate(parts, 1):
            self.server.send_data(stream.id, part, end_stream=end and count == len(parts))
        self.exchange()

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind that the server has seen."""
        return [event for event in self.seen if isinstance(event, kind)]

    def requests(self) -> list[list[tuple[str, str]]]:
        """The header lists of the requests that the server has seen."""
        found = self.of(h2.events.RequestReceived)
        return [[(str(name), str(value)) for name, value in event.headers] for event in found]
