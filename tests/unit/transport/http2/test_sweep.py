"""Bodies that are taken in one sweep: what ends it, and what holds within it."""

import pytest

from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.frames import frame
from streamnursery.transport.http2.incoming import FrameReader
from streamnursery.transport.http2.state import Http2State
from streamnursery.transport.http2.stream import MAX_TAKE, Http2Stream
from streamnursery.transport.http2.windows import FloodGuard
from streamnursery.values.http2 import Http2Settings
from tests.support.http2 import Pair, raw_data, raw_headers
from tests.support.transport import http_request

PING = frame(frames.PING, 0, 0, b"12345678")


@pytest.fixture
def pair() -> Pair:
    return Pair()


@pytest.fixture
def stream(pair: Pair) -> Http2Stream:
    """One whose answer has begun."""
    stream = pair.open()
    pair.to_client(raw_headers(stream.id))
    return stream


def swept(reader: FrameReader, data: bytes) -> dict[int, list[bytes]]:
    reader.put(data)
    return reader.sweep({1, 3})


def test_frames_of_a_sweep_are_put_together_by_stream() -> None:
    data = raw_data(1, b"a") + raw_data(3, b"b") + raw_data(3, b"c") + raw_data(1, b"d")
    reader = FrameReader()
    assert swept(reader, data) == {1: [b"a", b"d"], 3: [b"b", b"c"]}
    assert reader.fetch() is None


@pytest.mark.parametrize(
    "odd",
    [
        raw_data(1, b""),
        raw_data(1, b"end", end=True),
        raw_data(5, b"of no stream that is open"),
        frame(frames.DATA, frames.PADDED, 1, b"\x00padded"),
        frame(frames.DATA, 0, 1 | 1 << 31, b"reserved"),
        frame(frames.HEADERS, 0, 1, b"\x88"),
        PING,
    ],
)
def test_any_other_frame_ends_it_and_is_looked_at_alone(odd: bytes) -> None:
    reader = FrameReader()
    assert swept(reader, raw_data(1, b"a") + odd + raw_data(1, b"b")) == {1: [b"a"]}
    alone = reader.fetch()
    assert alone is not None and alone[3] == odd[9:]
    assert reader.sweep({1, 3}) == {1: [b"b"]}


def test_a_frame_that_is_not_whole_is_not_looked_at_until_it_is() -> None:
    data = raw_data(1, bytes(1000))
    reader = FrameReader()
    for part in (data[:20], *(data[at : at + 1] for at in range(20, len(data) - 1))):
        seen = reader.put(part)
        assert reader.sweep({1}) == {} and reader.fetch() is None
    assert seen == 0
    assert reader.put(data[-1:]) == len(data)
    assert reader.sweep({1}) == {1: [bytes(1000)]}


@pytest.mark.parametrize("size", [frames.MAX_FRAME + 1, 65_535, 65_536, 65_541])
def test_a_frame_that_is_too_large_is_refused_also_where_it_came_whole(
    pair: Pair, stream: Http2Stream, size: int
) -> None:
    pair.to_client(raw_data(1, b"before") + raw_data(1, bytes(size)))
    assert "a frame of" in str(pair.client.failure)
    assert stream.take() == b"before"


def test_the_connections_window_holds_within_a_read(pair: Pair, stream: Http2Stream) -> None:
    pair.client.window.available = 10_000
    pair.to_client(raw_data(1, bytes(6_000)) * 2)
    assert "connection's window" in str(pair.client.failure)
    assert stream.take() == bytes(6_000)


def test_a_body_before_any_settings_is_no_http2() -> None:
    state = Http2State("api.test", Http2Settings())
    state.open(http_request(body=b""))
    state.receive(raw_data(1, b"HTTP/1.1?"), 0.0)
    assert "does not speak HTTP/2" in str(state.failure)


def test_a_body_pays_for_the_frames_that_carry_nothing(pair: Pair, stream: Http2Stream) -> None:
    most = PING * (FloodGuard.MOST - 50)
    for data in (most, raw_data(1, b"x"), most, raw_data(1, b"x") + most):
        pair.to_client(data)
    assert pair.client.failure is None
    pair.to_client(most)
    assert "flooded" in str(pair.client.failure)


def test_a_reader_that_was_full_gets_the_rest_in_pieces(pair: Pair, stream: Http2Stream) -> None:
    sent = b"".join(bytes([n]) * 16_000 for n in range(8))
    pair.to_client(
        b"".join(raw_data(1, sent[at : at + 16_000]) for at in range(0, 128_000, 16_000))
    )
    taken = [stream.take() for _ in range(3)]
    assert b"".join(taken) == sent
    assert [len(part) for part in taken] == [MAX_TAKE, 128_000 - MAX_TAKE, 0]
