"""Requests out of bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.serving.head import ClientGoneError, RefusedError, RequestHead
from streamnursery.serving.request_parser import MAX_HEAD, RequestParser

GET = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /v1/x HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nX-Y:  z \r\n\r\nhello world"
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"


def receive(inbox: RequestParser, chunks: list[bytes]) -> list[tuple[RequestHead, bytes]]:
    """Every message in `chunks`."""
    found: list[tuple[RequestHead, bytes]] = []
    head, body = None, b""
    todo = list(chunks)
    while True:
        if head is None:
            head = inbox.head()
        data = None if head is None else inbox.body()
        if head is not None and data == b"":
            found.append((head, body))
            inbox.next_message()
            head, body = None, b""
        elif data:
            body += data
        elif todo:
            inbox.feed(todo.pop(0))
        else:
            return found


@given(st.data())
def test_messages_do_not_depend_on_how_they_were_cut(data: st.DataObject) -> None:
    whole = POST + GET + CHUNKED
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1), max_size=10)))
    edges = zip([0, *cuts], [*cuts, len(whole)], strict=True)
    found = receive(RequestParser(), [whole[a:b] for a, b in edges])
    assert [(head.method, head.target, body) for head, body in found] == [
        ("POST", "/v1/x", b"hello world"),
        ("GET", "/v1/models", b""),
        ("POST", "/", b"hello"),
    ]
    assert found[0][0].headers == (("host", "a"), ("content-length", "11"), ("x-y", "z"))


@given(st.binary(min_size=1, max_size=200))
def test_any_bytes_are_requests_or_are_refused(junk: bytes) -> None:
    status = 200
    try:
        receive(RequestParser(), [junk])
    except RefusedError as error:
        status = error.status
    assert status in (200, 400, 501)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * (MAX_HEAD + 1), 431),
    ],
)
def test_nonsense_is_refused_with_its_status(request_bytes: bytes, status: int) -> None:
    inbox = RequestParser()
    inbox.feed(request_bytes)
    with pytest.raises(RefusedError) as caught:
        inbox.head()
    assert caught.value.status == status


@pytest.mark.parametrize("begun", [b"", b"GET / HT", POST[:-3]])
def test_a_client_that_ends_in_the_middle_is_gone(begun: bytes) -> None:
    inbox = RequestParser()
    if begun:
        inbox.feed(begun)
    if inbox.head() is not None:
        assert inbox.body() == b"hello wo"
    inbox.feed(b"")
    with pytest.raises(ClientGoneError):
        inbox.head()


@pytest.mark.parametrize(
    ("version", "header", "keeps"),
    [
        ("1.1", "x: y", True),
        ("1.1", "connection: Close", False),
        ("1.1", "connection: keep-alive, close", False),
        ("1.0", "connection: keep-alive", False),
    ],
)
def test_the_client_may_end_the_connection_with_its_message(
    version: str, header: str, keeps: bool
) -> None:
    inbox = RequestParser()
    inbox.feed(f"GET / HTTP/{version}\r\nhost: a\r\n{header}\r\n\r\n".encode())
    head = inbox.head()
    assert head is not None
    assert head.keep_alive is keeps


def test_a_head_shows_no_header_in_its_repr() -> None:
    inbox = RequestParser()
    inbox.feed(b"GET /?key=canary HTTP/1.1\r\nhost: a\r\nauthorization: canary\r\n\r\n")
    assert "canary" not in repr(inbox.head())


def test_a_client_may_wait_for_a_hundred() -> None:
    inbox = RequestParser()
    inbox.feed(b"POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
    assert inbox.head() is not None
    assert inbox.wants_continue
    inbox.feed(b"hi")
    assert inbox.body() == b"hi"
    assert not inbox.wants_continue
