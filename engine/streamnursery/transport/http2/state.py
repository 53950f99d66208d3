"""The client's side of an HTTP/2 connection without I/O: bytes in, streams with news and bytes out.

Rule 1: `receive` never raises. A peer that breaks the protocol, or floods, ends the connection:
        a GOAWAY is there to be sent, and every open stream has failed with a typed error.
Rule 2: a fault of one stream costs that stream; the others do not notice.
Rule 3: GOAWAY ends nothing but the opening of streams. Those at or below its last one run on,
        those above were never looked at, and say so in `unprocessed` (RFC 9113 6.8).
Rule 4: a stream that is over is forgotten at once. What still comes for it is counted, given
        back and dropped.
Rule 5: what the peer can repeat is bounded: header blocks, and frames that carry nothing.
Rule 6: no push, no priorities: both are switched off or ignored.
"""

from hpack import Encoder

from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.frames import BrokenRuleError, ErrorCode, broken, code_name
from streamnursery.transport.http2.goodbye import Goodbye
from streamnursery.transport.http2.headers import MAX_LIST, request_block
from streamnursery.transport.http2.incoming import FrameReader, HeaderBlocks
from streamnursery.transport.http2.send_queue import SendQueue
from streamnursery.transport.http2.settings import PeerSettings
from streamnursery.transport.http2.stream import Http2Stream
from streamnursery.transport.http2.windows import FloodGuard, ReceiveWindow
from streamnursery.values.errors import EngineError, ProtocolError, TooLargeError
from streamnursery.values.http import HttpRequest
from streamnursery.values.http2 import Http2Settings

_MAX_UNSENT = 256 * 1024
"""Bytes of replies to a peer that does not take them."""
_NOT_HTTP2 = "does not speak HTTP/2; check the endpoint's url, or set its http to '1.1'"


class Http2State:
    """One connection. The preface is there to be sent from the start."""

    def __init__(self, where: str, settings: Http2Settings) -> None:
        self.streams: dict[int, Http2Stream] = {}
        """Streams that are not over."""
        self.outbox = SendQueue()
        self.draining = ""
        """Why no stream is opened any more; empty while they are."""
        self.failure: EngineError | None = None
        """What ended the connection."""
        self.settled = False
        """The peer's settings have come."""
        self.limit = 1
        """Streams that may be open at once: one until the peer's settings are known."""
        self.served = 0
        """Answers that have begun here."""
        self.goodbye: Goodbye | None = None
        self.pinged = False
        self.needs_http1 = False
        """The peer asked for HTTP/1.1."""
        self.window = ReceiveWindow(settings.stream_window * settings.max_streams)
        self._where = where
        self._stream_window = settings.stream_window
        self._max_streams = settings.max_streams
        self._peer = PeerSettings()
        self._next_id = 1
        self._encoder = Encoder()
        self._frames = FrameReader()
        self._blocks = HeaderBlocks()
        self._patience = FloodGuard()
        self._now = 0.0
        self._news: dict[Http2Stream, None] = {}
        self._on = {
            frames.DATA: self._on_data,
            frames.HEADERS: self._on_headers,
            frames.PRIORITY: self._on_priority,
            frames.RST_STREAM: self._on_rst_stream,
            frames.SETTINGS: self._on_settings,
            frames.PUSH_PROMISE: self._on_push_promise,
            frames.PING: self._on_ping,
            frames.GOAWAY: self._on_goaway,
            frames.WINDOW_UPDATE: self._on_window_update,
            frames.CONTINUATION: self._on_continuation,
        }
        self._begin()

    def _begin(self) -> None:
        ours = {
            frames.ENABLE_PUSH: 0,
            frames.INITIAL_WINDOW_SIZE: self._stream_window,
            frames.MAX_HEADER_LIST_SIZE: MAX_LIST,
        }
        more = self.window.size - frames.DEFAULT_WINDOW
        self.outbox.control += frames.PREFACE + frames.settings(ours)
        self.outbox.control += frames.window_update(0, more)

    # What we do. ----------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """Streams that may be opened now."""
        if self.draining or self.failure is not None:
            return 0
        return max(0, self.limit - len(self.streams))

    def open(self, request: HttpRequest) -> Http2Stream:
        """Begin a stream with `request`, which has passed `check_request`; there must be room."""
        stream = Http2Stream(
            self._next_id,
            request.method,
            self._where,
            request.body,
            self._stream_window,
            self._peer.window,
        )
        self._next_id += 2
        if self._next_id > frames.MAX_STREAM_ID:
            self.draining = "its stream numbers are used up"
        self.streams[stream.id] = stream
        outbox = self.outbox
        outbox.control += frames.header_frames(
            stream.id,
            request_block(request, self._encoder),
            end=not request.body,
            max_frame=frames.MAX_FRAME,
        )
        outbox.send_body(stream)
        return stream

    def cancel(self, stream: Http2Stream, code: ErrorCode = ErrorCode.CANCEL) -> None:
        """End a stream from our side, unless it is over."""
        if self._forget(stream):
            self.outbox.control += frames.rst_stream(stream.id, code)

    def consumed(self, stream: Http2Stream, nbytes: int) -> bool:
        """Body bytes were taken: the peer may send as many more. Whether to send the update now."""
        worth_it = stream.window.consumed(nbytes) and stream.id in self.streams
        if worth_it:
            increment = stream.window.give_back()
            self.outbox.control += frames.window_update(stream.id, increment)
        return worth_it

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self.pinged = True
        self.outbox.control += frames.frame(frames.PING, 0, 0, b"are you?")

    def output(self) -> bytes:
        """What to send next, in writes of about 64 KiB; b"" when there is nothing."""
        outbox = self.outbox
        if outbox.control and self.window.owed and self.failure is None:
            # What goes out anyway takes the connection's window along.
            outbox.control += frames.window_update(0, self.window.give_back())
        room = outbox.window
        data = outbox.pack()
        if outbox.window < room:
            # Who takes a body has to say so, in frames that carry nothing.
            self._patience.restore()
        return data

    def lose(
        self,
        kind: type[EngineError],
        what: str,
        cause: BaseException | None = None,
        *,
        retryable: bool | None = None,
    ) -> list[Http2Stream]:
        """The connection is over: fail what is open. The streams that failed."""

        def error() -> EngineError:
            made = kind(f"{self._where} {what}", retryable=retryable)
            made.__cause__ = cause
            return made

        if self.failure is None:
            self.failure = error()
        lost = list(self.streams.values())
        for stream in lost:
            self._forget(stream)
            stream.fail(error())
        return lost

    def _forget(self, stream: Http2Stream) -> bool:
        """Take a stream off the table; False if it was over before."""
        self.outbox.drop(stream)
        return self.streams.pop(stream.id, None) is not None

    # What the peer does. --------------------------------------------------------------------

    def receive(self, data: bytes, now: float) -> list[Http2Stream]:
        """Take one read; the streams that have news, in the order in which it came."""
        if self.failure is not None:
            return []
        self._now = now
        news = self._news = {}
        try:
            self._read(data)
        except BrokenRuleError as error:
            self._break(error)
        return list(news)

    def _read(self, data: bytes) -> None:
        incoming, window = self._frames, self.window
        within = incoming.put(data) <= window.available
        kind = frames.DATA
        while True:
            # Bodies come at the start of a read, and after heads and other bodies.
            if kind <= frames.HEADERS and within and self.settled and not self._blocks.stream_id:
                self._on_bodies(incoming.sweep(self.streams))
            frame = incoming.fetch()
            if frame is None:
                break
            kind, flags, stream_id, payload = frame
            self._dispatch(kind, flags, stream_id, payload)
        if window.consumed(0):
            self.outbox.control += frames.window_update(0, window.give_back())

    def _on_bodies(self, bodies: dict[int, list[bytes]]) -> None:
        """What a sweep brought, within the connection's window: as if each frame came alone."""
        window = self.window
        for stream_id, payloads in bodies.items():
            stream = self.streams[stream_id]
            data = payloads[0] if len(payloads) == 1 else b"".join(payloads)
            if stream.on_body(data):
                window.available -= len(data)
                window.owed += len(data)
                self._news[stream] = None
                self._patience.restore()
            else:
                for payload in payloads:
                    self._on_data(0, stream_id, payload)

    def _dispatch(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if not self.settled and (kind != frames.SETTINGS or flags & frames.ACK):
            broken(_NOT_HTTP2)
        if self._blocks.stream_id and kind != frames.CONTINUATION:
            broken("broke off a header block")
        on = self._on.get(kind)
        if on is None:
            self._strain()
        else:
            on(flags, stream_id, payload)

    def _strain(self) -> None:
        if self._patience.strain(self._now):
            what = f"flooded the connection: over {FloodGuard.MOST} frames that carry nothing"
            broken(what, ErrorCode.ENHANCE_YOUR_CALM)
        if len(self.outbox.control) > _MAX_UNSENT:
            broken("asks for replies and does not read them", ErrorCode.ENHANCE_YOUR_CALM)

    def _break(self, error: BrokenRuleError) -> None:
        self.outbox.control += frames.goaway(0, error.code)
        if self.settled:
            lost = self.lose(TooLargeError if error.large else ProtocolError, error.what)
        else:
            lost = self.lose(ProtocolError, _NOT_HTTP2, retryable=False)
        self._news |= dict.fromkeys(lost)

    def _open_stream(self, stream_id: int, name: str) -> Http2Stream | None:
        """The stream a frame belongs to; None if it is over."""
        stream = self.streams.get(stream_id)
        if stream is None and (stream_id % 2 == 0 or stream_id >= self._next_id):
            broken(f"sent {name} for stream {stream_id}, which was never opened")
        return stream

    def _after_news(self, stream: Http2Stream) -> None:
        """Report it; and a stream that ended before its body was sent, or by a fault, is reset."""
        self._news[stream] = None
        if stream.failure is not None:
            self.cancel(stream, ErrorCode.PROTOCOL_ERROR)
        elif stream.complete and stream.unsent:
            self.cancel(stream, ErrorCode.NO_ERROR)
        elif stream.complete:
            self._forget(stream)

    def _on_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        if not self.window.take(size):
            broken("sent more than the connection's window", ErrorCode.FLOW_CONTROL_ERROR)
        self.window.owed += size
        data = frames.without_padding(payload, flags, "DATA")
        stream = self._open_stream(stream_id, "DATA")
        if data:
            self._patience.restore()
        elif not flags & frames.END_STREAM or stream is None:
            self._strain()
        if stream is None:
            return
        if not stream.window.take(size):
            stream.malformed("sent more than the stream's window")
        if size != len(data):
            self.consumed(stream, size - len(data))
        if stream.failure is None:
            stream.on_data(data, end=bool(flags & frames.END_STREAM))
        self._after_news(stream)

    def _on_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._open_stream(stream_id, "HEADERS")
        self._blocks.begin(stream_id, flags, payload)
        if flags & frames.END_HEADERS:
            self._end_block()

    def _on_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id or self._blocks.stream_id != stream_id:
            broken("sent CONTINUATION out of place")
        self._blocks.go_on(payload)
        if flags & frames.END_HEADERS:
            self._end_block()

    def _end_block(self) -> None:
        stream = self.streams.get(self._blocks.stream_id)
        fields = self._blocks.end()
        if stream is None:
            self._strain()
            return
        self.served += 1
        stream.on_headers(fields, end=self._blocks.ends_stream)
        self._after_news(stream)

    def _on_push_promise(self, _flags: int, _stream_id: int, _payload: bytes) -> None:
        broken("pushed an answer, though that was switched off")

    def _on_priority(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            broken("sent PRIORITY for no stream")
        if len(payload) != 5:
            broken(f"sent a PRIORITY of {len(payload)} bytes", ErrorCode.FRAME_SIZE_ERROR)
        self._strain()

    def _on_rst_stream(self, _flags: int, stream_id: int, payload: bytes) -> None:
        code = frames.read_word(payload, "RST_STREAM")
        stream = self._open_stream(stream_id, "RST_STREAM")
        if stream is None:
            self._strain()
            return
        if code == ErrorCode.HTTP_1_1_REQUIRED:
            self.needs_http1 = True
            self.draining = "the peer asked for HTTP/1.1"
        stream.unprocessed = code in (ErrorCode.REFUSED_STREAM, ErrorCode.HTTP_1_1_REQUIRED)
        self._reset(stream, code, "reset the stream")

    def _on_goaway(self, _flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            broken("sent GOAWAY for a stream")
        goodbye = self.goodbye = Goodbye.read(payload, max(self.streams, default=0))
        self._strain()
        self.draining = f"the peer is closing it ({goodbye.why})"
        for stream in [s for s in self.streams.values() if s.id > goodbye.last_id]:
            # A server that wants calm does not want the same again at once.
            stream.unprocessed = not goodbye.calm
            self._reset(stream, goodbye.code, "is closing the connection", goodbye.why)

    def _reset(self, stream: Http2Stream, code: int, what: str, why: str = "") -> None:
        self._forget(stream)
        stream.reset(code, what, why or code_name(code))
        self._news[stream] = None

    def _on_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            broken("sent PING for a stream")
        if len(payload) != 8:
            broken(f"sent a PING of {len(payload)} bytes", ErrorCode.FRAME_SIZE_ERROR)
        self._strain()
        if not flags & frames.ACK:
            self.outbox.control += frames.frame(frames.PING, frames.ACK, 0, payload)

    def _on_window_update(self, _flags: int, stream_id: int, payload: bytes) -> None:
        increment = frames.read_word(payload, "WINDOW_UPDATE") & frames.MAX_WINDOW
        if not stream_id:
            if not increment or not self.outbox.widen(increment):
                broken("sent an impossible WINDOW_UPDATE", ErrorCode.FLOW_CONTROL_ERROR)
            self._strain()
            return
        stream = self._open_stream(stream_id, "WINDOW_UPDATE")
        self._strain()
        if stream is None:
            return
        stream.send_window += increment
        if not increment or stream.send_window > frames.MAX_WINDOW:
            stream.malformed("sent an impossible WINDOW_UPDATE")
            self._after_news(stream)
        else:
            self.outbox.send_body(stream)

    def _on_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            broken("sent SETTINGS for a stream")
        self._strain()
        if flags & frames.ACK:
            if payload:
                broken("acknowledged SETTINGS with some", ErrorCode.FRAME_SIZE_ERROR)
            return
        change = self._peer.take(payload)
        self.settled = True
        self.limit = min(self._max_streams, self._peer.max_streams)
        if self._encoder.header_table_size != self._peer.header_table:
            # Set to what it is, it would forget to announce an earlier change.
            self._encoder.header_table_size = self._peer.header_table
        for stream in self.streams.values():
            stream.send_window += change
            if stream.send_window > frames.MAX_WINDOW:
                broken("sent an impossible window", ErrorCode.FLOW_CONTROL_ERROR)
            self.outbox.send_body(stream)
        self.outbox.control += frames.frame(frames.SETTINGS, frames.ACK, 0)
