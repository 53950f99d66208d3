"""HTTP/1.1 messages: what goes out, and what is made of what comes back."""

import pytest

from streamnursery.transport.http1_message import (
    MAX_FRAMING,
    MAX_HEAD,
    MAX_HEADERS,
    MAX_INFORMATIONAL,
    ResponseReader,
    check_request,
    encode_head,
)
from streamnursery.values.errors import (
    ConnectionLostError,
    EngineError,
    ProtocolError,
    RequestError,
    TooLargeError,
)
from streamnursery.values.http import Peer
from streamnursery.values.origin import Origin
from streamnursery.values.secret import Secret
from tests.support.transport import CHUNKED_HEAD, LAST_CHUNK, OK_HELLO, chunk, http_request


def read(*reads: bytes, method: str = "POST", fin: bool = False) -> ResponseReader:
    reader = ResponseReader(method, "api.test")
    for data in reads:
        reader.feed(data)
    if fin:
        reader.feed_eof()
    return reader


def failure(reader: ResponseReader) -> EngineError:
    assert reader.failure is not None
    return reader.failure


# What goes out. -----------------------------------------------------------------------------


def test_a_request_head_has_host_length_and_identity_and_reveals_the_key() -> None:
    request = http_request(
        "api.test", 8080, headers=(("Authorization", Secret("Bearer k")), ("x-a", "1")), body=b"abc"
    )
    assert encode_head(request) == (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: api.test:8080\r\n"
        b"accept-encoding: identity\r\nAuthorization: Bearer k\r\nx-a: 1\r\n"
        b"content-length: 3\r\n\r\n"
    )


def test_a_post_without_a_body_says_so_and_a_get_says_nothing() -> None:
    assert b"content-length: 0\r\n" in encode_head(http_request(body=b""))
    assert b"content-length" not in encode_head(http_request(method="GET", body=b""))


def test_an_ipv6_host_stands_in_brackets() -> None:
    request = http_request("::1", 8080)
    check_request(request)
    assert b"host: [::1]:8080\r\n" in encode_head(request)


@pytest.mark.parametrize(
    "target",
    ["", "v1", "/a b", "/a\r\nx: y", "/a\x00", "/ä", "/a#b", "http://evil/", "/a\t", "/\x7f"],
)
def test_a_target_that_could_end_the_line_is_refused(target: str) -> None:
    with pytest.raises(RequestError, match="percent-encode"):
        check_request(http_request(target=target))


@pytest.mark.parametrize("method", ["", "GET ", "GE T", "G\r\nET", "CONNECT", "GÉT"])
def test_a_method_that_is_no_token_is_refused(method: str) -> None:
    with pytest.raises(RequestError, match="HTTP method"):
        check_request(http_request(method=method))


@pytest.mark.parametrize("host", ["a b", "a\r\nx: y", "a/b", "a@b", "fe80::1%eth0", "", "ä"])
def test_a_host_that_is_no_authority_is_refused(host: str) -> None:
    peer = Peer(Origin("http", host, 80))
    with pytest.raises(RequestError, match="Host header"):
        check_request(http_request(peer=peer))


def test_a_bad_header_is_named_and_its_value_is_not() -> None:
    with pytest.raises(RequestError, match="'x-key'") as caught:
        check_request(http_request(headers=(("x-key", Secret("sk-canary\r\n")),)))
    assert "canary" not in str(caught.value)


# The end of a message. ----------------------------------------------------------------------


def test_a_message_of_known_length_ends_with_its_last_byte() -> None:
    reader = read(OK_HELLO[:-1])
    assert reader.head is not None and reader.head.status == 200
    assert not reader.complete
    reader.feed(b"o")
    assert reader.complete and reader.reusable
    assert reader.take() == b"hello"


def test_a_chunked_message_ends_with_its_last_chunk_and_trailers() -> None:
    reader = read(CHUNKED_HEAD + chunk(b"a" * 300) + b"0\r\nx-t: 1\r\n")
    assert not reader.complete
    reader.feed(b"\r\n")
    assert reader.complete and reader.reusable
    assert reader.take() == b"a" * 300
    assert reader.head is not None and reader.head.get("x-t") is None


def test_without_a_length_the_body_ends_with_fin_and_so_does_the_connection() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    assert not reader.complete
    reader.feed_eof()
    assert reader.complete and not reader.reusable
    assert reader.take() == b"all of it"


@pytest.mark.parametrize("part", [OK_HELLO[:-1], CHUNKED_HEAD, CHUNKED_HEAD + chunk(b"x"), b"HTTP"])
def test_fin_before_the_end_is_a_lost_connection(part: bytes) -> None:
    reader = read(part, fin=True)
    assert isinstance(failure(reader), ConnectionLostError)
    assert "in the middle" in str(reader.failure)
    assert not reader.complete and not reader.reusable


def test_fin_without_an_answer_says_so() -> None:
    reader = read(fin=True)
    assert isinstance(failure(reader), ConnectionLostError)
    assert "without an answer" in str(reader.failure)
    assert not reader.received


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_content_ends_with_its_head(status: int) -> None:
    reader = read(f"HTTP/1.1 {status} X\r\n\r\n".encode())
    assert reader.complete and reader.reusable


def test_the_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", method="HEAD")
    assert reader.complete and not reader.reusable


def test_an_established_tunnel_leaves_the_connection_fit_for_use() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\n\r\n", method="CONNECT")
    assert reader.complete and reader.reusable


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nhello",
    ],
)
def test_a_server_that_will_close_is_not_asked_again(head: bytes) -> None:
    reader = read(head)
    assert reader.complete and not reader.reusable


@pytest.mark.parametrize("excess", [b"x", OK_HELLO, b"HTTP/1.1 500 X\r\n\r\n", b"\x00"])
@pytest.mark.parametrize("apart", [False, True])
def test_bytes_after_the_end_cost_the_connection_and_not_the_message(
    excess: bytes, apart: bool
) -> None:
    reader = read(OK_HELLO, excess) if apart else read(OK_HELLO + excess)
    assert reader.complete and not reader.reusable
    assert reader.failure is None
    assert reader.take() == b"hello"


def test_a_body_is_handed_out_before_the_fault_behind_it() -> None:
    reader = read(CHUNKED_HEAD + chunk(b"good") + b"zz\r\n")
    assert reader.take() == b"good"
    assert isinstance(failure(reader), ProtocolError)


def test_a_head_before_a_broken_body_stands() -> None:
    reader = read(b"HTTP/1.1 401 No\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n")
    assert reader.head is not None and reader.head.status == 401
    assert reader.failure is not None


# What is refused. ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"<html>",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 200 OK\nx: y\n\n",
        b"HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: a\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: \x00\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 099 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    ],
)
def test_what_is_no_plain_http_answer_is_one_typed_error(data: bytes) -> None:
    reader = read(data)
    assert isinstance(failure(reader), ProtocolError)
    assert reader.head is None
    assert "api.test" in str(reader.failure)


@pytest.mark.parametrize(
    "line", [b"zz\r\n", b"0x3\r\nabc", b"3\nabc", b"-3\r\n", b"3 \r\n", b"f" * 17 + b"\r\n"]
)
def test_a_chunk_line_that_is_no_number_is_refused(line: bytes) -> None:
    assert isinstance(failure(read(CHUNKED_HEAD + line)), ProtocolError)


def test_t10_an_endless_header_line_stops_at_its_bound() -> None:
    reader = read(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100)
    fed = 0
    while not reader.ended:
        reader.feed(b"a" * 1000)
        fed += 1000
    assert isinstance(reader.failure, TooLargeError)
    assert fed <= MAX_HEAD + 1000


def test_t10_a_whole_head_that_is_too_large_is_refused() -> None:
    lines = b"".join(b"x-%d: %s\r\n" % (i, b"a" * 1000) for i in range(70))
    assert isinstance(failure(read(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")), TooLargeError)


def test_h8_a_thousand_headers_are_refused_and_two_hundred_are_not() -> None:
    def head(count: int) -> bytes:
        return b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * count + b"\r\n"

    assert read(head(MAX_HEADERS)).head is not None
    assert isinstance(failure(read(head(MAX_HEADERS + 1))), TooLargeError)
    assert isinstance(failure(read(head(1000))), TooLargeError)


def test_a_large_head_and_body_in_one_read_are_not_mistaken_for_framing() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: " + b"a" * 60_000 + b"\r\n\r\n"
    assert read(head).failure is None


@pytest.mark.parametrize("begin", [b"5;x=", b"0\r\nx: "])
def test_t10_endless_chunk_extensions_and_trailers_stop_at_their_bound(begin: bytes) -> None:
    reader = read(CHUNKED_HEAD + begin)
    fed = 0
    while not reader.ended:
        reader.feed(b"a" * 1000)
        fed += 1000
    assert isinstance(reader.failure, TooLargeError)
    assert fed <= MAX_FRAMING + 1000


def test_many_small_chunks_are_no_endless_framing() -> None:
    reader = read(CHUNKED_HEAD)
    for _ in range(100):
        reader.feed(chunk(b"a") * 1000)
    reader.feed(LAST_CHUNK)
    assert reader.complete
    assert len(reader.take()) == 100_000


# Informational answers. ---------------------------------------------------------------------


def test_informational_answers_are_skipped() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n"
    reader = read(early + OK_HELLO)
    assert reader.head is not None and reader.head.status == 200
    assert reader.head.get("link") is None
    assert reader.complete and reader.reusable


def test_t10_the_ninth_informational_answer_is_refused() -> None:
    early = b"HTTP/1.1 103 Early\r\n\r\n"
    assert read(early * MAX_INFORMATIONAL + OK_HELLO).complete
    error = failure(read(early * (MAX_INFORMATIONAL + 1)))
    assert isinstance(error, TooLargeError) and error.retryable


def test_header_values_are_trimmed_and_names_lower_case() -> None:
    head = read(b"HTTP/1.1 200 OK\r\nX-A:  b \t \r\nX-B: \xff\r\n\r\n").head
    assert head is not None
    assert head.headers == (("x-a", "b"), ("x-b", "\xff"))


def test_a_foreign_exception_in_the_parser_is_not_taken_for_a_fault_of_the_peer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ResponseReader, "on_header", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read(OK_HELLO)


def test_a_skipped_body_leaves_the_head_and_costs_the_connection() -> None:
    reader = read(OK_HELLO[:-1])
    reader.skip_body()
    assert reader.complete and not reader.reusable
    assert reader.take() == b""
    assert reader.failure is None


@pytest.mark.parametrize(
    "fields",
    [
        b"content-type: text/event-stream\r\nX-Request-Id:  r-1 \t\r\nX-Empty:\r\n",
        b"x-colons: a:b: c\r\nX-COLONS:d\r\n",
        b"x-latin: \xe9\xff\r\n",
        b"",
    ],
)
def test_a_head_says_the_same_in_one_read_as_byte_by_byte(fields: bytes) -> None:
    message = b"HTTP/1.1 200 OK\r\n" + fields + b"content-length: 2\r\n\r\nok"
    at_once, bit_by_bit = read(message), read(*(bytes([byte]) for byte in message))
    assert at_once.head == bit_by_bit.head
    assert at_once.head is not None
    assert at_once.head.get("content-length") == "2"
    assert at_once.complete
    assert bit_by_bit.complete


def test_a_folded_line_is_refused_in_one_read_as_byte_by_byte() -> None:
    message = b"HTTP/1.1 200 OK\r\nx-long: one\r\n two\r\ncontent-length: 0\r\n\r\n"
    for reader in (read(message), read(*(bytes([byte]) for byte in message))):
        assert isinstance(failure(reader), ProtocolError)
