"""A server that costs next to nothing: `python -m streamnursery.bench.null_server TOKENS`.

It answers every request with the same prebuilt stream, in one write, and does not read what it is
asked beyond the end of the request. What a client takes against it is the client's own.
Prints its port as the first line, and ends with its stdin.
"""

import json
import re
import selectors
import socket
import sys

_LENGTH = re.compile(rb"content-length:\s*([0-9]+)", re.IGNORECASE)
_READ = 256 * 1024


def answer(tokens: int) -> bytes:
    """A whole chat stream over HTTP/1.1, chunked, of so many one-token events."""
    chunk = {"id": "null", "object": "chat.completion.chunk", "created": 0, "model": "null"}

    def event(choices: list[object], **more: object) -> bytes:
        return b"data: %s\n\n" % json.dumps({**chunk, "choices": choices, **more}).encode()

    body = event([{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}])
    body += event([{"index": 0, "delta": {"content": "word "}, "finish_reason": None}]) * tokens
    body += event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
    body += event([], usage=usage) + b"data: [DONE]\n\n"
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


class _NullConnection:
    def __init__(self) -> None:
        self.received = bytearray()
        self.outgoing = bytearray()

    def feed(self, data: bytes, reply: bytes) -> None:
        self.received += data
        while True:
            end = self.received.find(b"\r\n\r\n")
            if end < 0:
                return
            length = _LENGTH.search(self.received, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self.received) < whole:
                return
            del self.received[:whole]
            self.outgoing += reply


def serve(listener: socket.socket, reply: bytes) -> None:
    """Until stdin ends."""
    with selectors.DefaultSelector() as selector:
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ)
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while True:
            for key, mask in selector.select():
                if key.fileobj is listener:
                    _accept(listener, selector)
                elif key.data is None:
                    return
                else:
                    _turn(key, mask, selector, reply)


def _accept(listener: socket.socket, selector: selectors.BaseSelector) -> None:
    connection, _ = listener.accept()
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(connection, selectors.EVENT_READ, _NullConnection())


def _turn(
    key: selectors.SelectorKey, mask: int, selector: selectors.BaseSelector, reply: bytes
) -> None:
    connection, peer = key.fileobj, key.data
    assert isinstance(connection, socket.socket)
    try:
        if mask & selectors.EVENT_READ:
            data = connection.recv(_READ)
            if not data:
                raise ConnectionResetError
            peer.feed(data, reply)
        if peer.outgoing:
            del peer.outgoing[: connection.send(peer.outgoing)]
    except BlockingIOError:
        pass
    except OSError:
        selector.unregister(connection)
        connection.close()
        return
    wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.outgoing else 0)
    if wanted != key.events:
        selector.modify(connection, wanted, peer)


def main() -> None:
    """Serve until stdin ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)
        serve(listener, answer(int(sys.argv[1])))


if __name__ == "__main__":
    main()
