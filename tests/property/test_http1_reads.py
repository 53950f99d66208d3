"""Where the network cuts an answer never changes what is made of it."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from streamnursery.transport.http1_message import ResponseReader, check_request, encode_head
from streamnursery.values.errors import RequestError
from tests.support.transport import CHUNKED_HEAD, LAST_CHUNK, chunk, http_request

BODIES = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
ENDS = st.sampled_from([LAST_CHUNK, b"0\r\nx: y\r\n\r\n", b"", b"zz\r\n", b"0\r\n\r\nHTTP/1.1 2"])
EARLY = st.sampled_from([b"", b"HTTP/1.1 103 Early\r\nlink: a\r\n\r\n"])


def outcome(reads: list[bytes]) -> tuple[object, ...]:
    reader = ResponseReader("POST", "api.test")
    body = b""
    for data in reads:
        reader.feed(data)
        body += reader.take()
    failure = reader.failure
    return reader.head, body, reader.complete, reader.reusable, type(failure), str(failure)


@given(early=EARLY, parts=BODIES, end=ENDS, cuts=st.sets(st.integers(1, 400)))
def test_cuts_never_change_the_outcome(
    early: bytes, parts: list[bytes], end: bytes, cuts: set[int]
) -> None:
    stream = early + CHUNKED_HEAD + b"".join(map(chunk, parts)) + end
    edges = [0, *sorted(c for c in cuts if c < len(stream)), len(stream)]
    assert outcome([stream[a:b] for a, b in pairwise(edges)]) == outcome([stream])


@given(stream=st.binary(max_size=300))
def test_noise_is_an_outcome_and_no_exception(stream: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", CHUNKED_HEAD):
        reader = ResponseReader("POST", "api.test")
        for byte in prefix + stream:
            reader.feed(bytes([byte]))
        reader.feed_eof()
        assert reader.ended


@given(method=st.text(max_size=5), target=st.text(max_size=20), value=st.text(max_size=20))
def test_t9_what_passes_the_check_is_one_message(method: str, target: str, value: str) -> None:
    request = http_request(method=method, target=f"/{target}", headers=(("x-a", value),), body=b"")
    try:
        check_request(request)
    except RequestError:
        return
    lines = encode_head(request).split(b"\r\n")
    assert b"\r" not in b"".join(lines) and b"\n" not in b"".join(lines)
    assert lines[0].count(b" ") == 2
    assert len([line for line in lines if line]) - ("content-length" in str(lines)) == 4
