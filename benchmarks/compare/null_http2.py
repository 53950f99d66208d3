"""A server of HTTP/2 that sends every token in a DATA frame of its own, as many providers do.

    python null_http2.py CERTIFICATE KEY TOKENS

listens on a free port of 127.0.0.1 and prints it. Whatever is asked, the answer is that many
tokens, as fast as the client's windows allow. nginx puts what lies ready into frames of some 4 KiB,
so that behind it a client hardly sees what a frame costs.

Rule 1: a thread per connection, nothing built per token: cheaper than any client.
Rule 2: the client's windows are kept to the byte, for a client may end the connection otherwise.
"""

import socket
import ssl
import sys
from contextlib import suppress
from select import select
from threading import Thread

from hpack import Encoder

from benchmarks.steps import DONE, END, EVENT
from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.incoming import FrameReader

HEAD = Encoder().encode([(":status", "200", True), ("content-type", "text/event-stream", True)])
LAST = END + DONE
TURN = 32 * 1024
"""Bytes that a stream sends before it is another one's turn."""


class Stream:
    def __init__(self, stream_id: int, tokens: int, window: int) -> None:
        self.window = window
        self._left = tokens
        self._event = frames.frame(frames.DATA, 0, stream_id, EVENT)
        self._last = frames.frame(frames.DATA, frames.END_STREAM, stream_id, LAST)
        self.done = False

    def next(self, room: int) -> tuple[bytes, int]:
        """Frames that fit both windows, and what they take of each."""
        room = min(room, self.window, TURN)
        count = min(self._left, room // len(EVENT))
        size = count * len(EVENT)
        self._left -= count
        data = self._event * count
        if not self._left and room - size >= len(LAST):
            self.done = True
            data, size = data + self._last, size + len(LAST)
        self.window -= size
        return data, size


class Line:
    """One connection."""

    def __init__(self, sock: ssl.SSLSocket, tokens: int) -> None:
        self._sock = sock
        self._tokens = tokens
        self._incoming = FrameReader()
        self._window = self._initial = frames.DEFAULT_WINDOW
        self._streams: dict[int, Stream] = {}
        self._out = bytearray()

    def run(self) -> None:
        with self._sock, suppress(OSError):
            self._sock.sendall(frames.settings({frames.MAX_CONCURRENT_STREAMS: 128}))
            self._skip_preface()
            while (self._send() and not self._readable()) or self._read():
                pass

    def _skip_preface(self) -> None:
        left = len(frames.PREFACE)
        while left:
            left -= len(self._sock.recv(left)) or left

    def _readable(self) -> bool:
        return bool(self._sock.pending() or select([self._sock], [], [], 0)[0])

    def _send(self) -> bool:
        """A turn of each stream; whether there was anything to send."""
        for stream_id, stream in list(self._streams.items()):
            data, size = stream.next(self._window)
            self._window -= size
            self._out += data
            if stream.done:
                del self._streams[stream_id]
        out, self._out = self._out, bytearray()
        self._sock.sendall(out)
        return bool(out)

    def _read(self) -> bool:
        data = self._sock.recv(65536)
        self._incoming.put(data)
        while (frame := self._incoming.fetch()) is not None:
            self._on_frame(*frame)
        return bool(data)

    def _on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        if kind == frames.HEADERS:
            self._streams[stream_id] = Stream(stream_id, self._tokens, self._initial)
            self._out += frames.frame(frames.HEADERS, frames.END_HEADERS, stream_id, HEAD)
        elif kind == frames.RST_STREAM:
            self._streams.pop(stream_id, None)
        elif kind == frames.PING and not flags:
            self._out += frames.frame(frames.PING, frames.ACK, 0, payload)
        elif kind == frames.SETTINGS and not flags:
            self._initial = dict(frames.read_settings(payload)).get(
                frames.INITIAL_WINDOW_SIZE, self._initial
            )
            self._out += frames.frame(frames.SETTINGS, frames.ACK, 0)
        elif kind == frames.WINDOW_UPDATE:
            increment = frames.read_word(payload, "WINDOW_UPDATE")
            if not stream_id:
                self._window += increment
            elif stream_id in self._streams:
                self._streams[stream_id].window += increment


def main() -> None:
    certificate, key, tokens = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.set_alpn_protocols(["h2"])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            sock = context.wrap_socket(listener.accept()[0], server_side=True)
            Thread(target=Line(sock, int(tokens)).run, daemon=True).start()


if __name__ == "__main__":
    main()
