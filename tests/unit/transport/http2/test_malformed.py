"""What a server may not send: an answer that is malformed costs its stream, a broken rule the
connection, both with a typed error."""

import sys
from collections.abc import Callable

import h2.errors
import h2.events
import pytest
from hpack import Encoder

from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.frames import ErrorCode, frame
from streamnursery.transport.http2.incoming import MAX_CONTINUATIONS
from streamnursery.transport.http2.windows import FloodGuard
from streamnursery.values.errors import ProtocolError, TooLargeError
from streamnursery.values.http2 import Http2Settings
from tests.support.http2 import OK, Pair, header_block, raw_data, raw_headers
from tests.support.transport import http_request

STATUS = (":status", "200")

MALFORMED = {
    "no status": raw_headers(1, ("a", "b")),
    "two": raw_headers(1, STATUS, STATUS),
    "late": raw_headers(1, ("a", "b"), STATUS),
    "unknown pseudo-header": raw_headers(1, STATUS, (":path", "/")),
    "a status of letters": raw_headers(1, (":status", "abc")),
    "a low status": raw_headers(1, (":status", "099")),
    "upper case": raw_headers(1, STATUS, ("X-A", "1")),
    "a space in a name": raw_headers(1, STATUS, ("x a", "1")),
    "line break": raw_headers(1, STATUS, ("x-a", "1\r\nx-b: 2")),
    "NUL": raw_headers(1, STATUS, ("x-a", "1\x002")),
    "connection": raw_headers(1, STATUS, ("connection", "close")),
    "transfer-encoding": raw_headers(1, STATUS, ("transfer-encoding", "chunked")),
    "101": raw_headers(1, (":status", "101")),
    "the end with a 103": raw_headers(1, (":status", "103"), end=True),
    "two lengths": raw_headers(1, STATUS, ("content-length", "1"), ("content-length", "2")),
    "length of letters": raw_headers(1, STATUS, ("content-length", "1x")),
    "too short": raw_headers(1, STATUS, ("content-length", "3")) + raw_data(1, b"ab", end=True),
    "too long": raw_headers(1, STATUS, ("content-length", "1")) + raw_data(1, b"ab"),
    "no body though announced": raw_headers(1, STATUS, ("content-length", "3"), end=True),
    "a body without a head": raw_data(1, b"ab"),
    "an end without a head": raw_data(1, b"", end=True),
    "a second head": raw_headers(1) + raw_headers(1),
    "a pseudo-header in trailers": raw_headers(1) + raw_headers(1, STATUS, end=True),
    "window of nothing": frames.window_update(1, 0),
    "window beyond all bounds": frames.window_update(1, frames.MAX_WINDOW),
}


@pytest.mark.parametrize("sent", MALFORMED.values(), ids=MALFORMED)
def test_t9_a_malformed_answer_costs_its_stream_and_no_other(sent: bytes) -> None:
    pair = Pair()
    stream, other = pair.open(), pair.open()
    assert stream in pair.to_client(sent)
    assert type(stream.failure) is ProtocolError
    pair.exchange()
    assert [event.stream_id for event in pair.of(h2.events.StreamReset)] == [1]
    pair.answer(other, b"whole")
    assert other.complete and pair.client.failure is None


@pytest.mark.parametrize(
    "sent",
    [
        raw_headers(1, STATUS, *[("x-a", "1")] * 300),
        raw_headers(1, STATUS, ("x-a", "v" * 70_000)),
        raw_headers(1, (":status", "103")) * 9,
    ],
    ids=["many fields", "a long field", "informational answers"],
)
def test_an_answer_with_too_large_a_head_costs_its_stream(sent: bytes) -> None:
    pair = Pair()
    stream = pair.open()
    pair.to_client(sent)
    assert type(stream.failure) is TooLargeError and pair.client.failure is None


def test_a_head_without_body_may_state_a_length() -> None:
    pair = Pair()
    stream = pair.open(method="HEAD", body=b"")
    pair.to_client(raw_headers(1, STATUS, ("content-length", "7"), end=True))
    assert stream.complete


def test_trailers_end_an_answer() -> None:
    pair = Pair()
    stream = pair.open()
    pair.to_client(raw_headers(1) + raw_data(1, b"x") + raw_headers(1, ("x-sum", "1"), end=True))
    assert stream.complete and stream.take() == b"x"


BROKEN: dict[str, tuple[bytes, ErrorCode]] = {
    "DATA for no stream": (raw_data(0, b"x"), ErrorCode.PROTOCOL_ERROR),
    "DATA for a stream of nobody": (raw_data(9, b"x"), ErrorCode.PROTOCOL_ERROR),
    "HEADERS for an even stream": (raw_headers(2), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM for an idle stream": (frames.rst_stream(9, 0), ErrorCode.PROTOCOL_ERROR),
    "RST_STREAM of 3 bytes": (frame(3, 0, 1, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "SETTINGS for a stream": (frame(4, 0, 1), ErrorCode.PROTOCOL_ERROR),
    "SETTINGS of 5 bytes": (frame(4, 0, 0, b"12345"), ErrorCode.FRAME_SIZE_ERROR),
    "an ACK with settings": (frame(4, 1, 0, b"123456"), ErrorCode.FRAME_SIZE_ERROR),
    "a huge window": (frames.settings({4: 1 << 31}), ErrorCode.FLOW_CONTROL_ERROR),
    "a frame size too small": (frames.settings({5: 1}), ErrorCode.PROTOCOL_ERROR),
    "push": (frames.settings({2: 1}), ErrorCode.PROTOCOL_ERROR),
    "PUSH_PROMISE": (frame(5, 4, 1, b"\0\0\0\2"), ErrorCode.PROTOCOL_ERROR),
    "PING for a stream": (frame(6, 0, 1, b"12345678"), ErrorCode.PROTOCOL_ERROR),
    "PING of 7 bytes": (frame(6, 0, 0, b"1234567"), ErrorCode.FRAME_SIZE_ERROR),
    "GOAWAY for a stream": (frame(7, 0, 1, b"12345678"), ErrorCode.PROTOCOL_ERROR),
    "GOAWAY of 7 bytes": (frame(7, 0, 0, b"1234567"), ErrorCode.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of nothing": (frames.window_update(0, 0), ErrorCode.FLOW_CONTROL_ERROR),
    "WINDOW_UPDATE of all": (
        frames.window_update(0, frames.MAX_WINDOW),
        ErrorCode.FLOW_CONTROL_ERROR,
    ),
    "PRIORITY of 4 bytes": (frame(2, 0, 1, b"1234"), ErrorCode.FRAME_SIZE_ERROR),
    "PRIORITY for no stream": (frame(2, 0, 0, b"12345"), ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION alone": (frame(9, 4, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "a broken block": (frame(1, 0, 1, b"") + raw_data(1, b"x"), ErrorCode.PROTOCOL_ERROR),
    "CONTINUATION of another": (frame(1, 0, 1) + frame(9, 4, 3), ErrorCode.PROTOCOL_ERROR),
    "too much padding": (frame(0, 8, 1, b"\x05abc"), ErrorCode.PROTOCOL_ERROR),
    "padding without length": (frame(0, 8, 1, b""), ErrorCode.PROTOCOL_ERROR),
    "HEADERS without priority": (frame(1, 0x24, 1, b"abc"), ErrorCode.FRAME_SIZE_ERROR),
    "a block of noise": (frame(1, 4, 1, b"\xff" * 20), ErrorCode.COMPRESSION_ERROR),
    "a large frame": (b"\xff\0\0" + bytes(6), ErrorCode.FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize(("sent", "code"), BROKEN.values(), ids=BROKEN)
def test_a_broken_rule_ends_the_connection_with_a_reason(sent: bytes, code: ErrorCode) -> None:
    pair = Pair()
    stream = pair.open()
    assert pair.to_client(sent) == [stream]
    assert type(stream.failure) is ProtocolError and type(pair.client.failure) is ProtocolError
    pair.exchange()
    assert [event.error_code for event in pair.of(h2.events.ConnectionTerminated)] == [code]
    assert pair.client.receive(raw_headers(1), 0.0) == [] and pair.client.room == 0


def test_more_than_the_windows_allow_is_refused() -> None:
    settings = Http2Settings(stream_window=65_536, max_streams=2)
    one = Pair(settings)
    stream, other = one.open(), one.open()
    one.to_client(raw_headers(1) + raw_data(1, b"x" * 16_384) * 4 + raw_data(1, b"x"))
    assert type(stream.failure) is ProtocolError and one.client.failure is None
    assert len(stream.take()) == 65_536
    one.answer(other, b"x")
    assert other.complete
    all_of_it = Pair(settings)
    all_of_it.open()
    all_of_it.client.window.owed = -(1 << 20)  # nothing is given back
    all_of_it.to_client(raw_headers(1) + raw_data(1, b"x" * 16_384) * 9)
    assert "connection's window" in str(all_of_it.client.failure)


# Floods. ------------------------------------------------------------------------------------

FLOODS: dict[str, Callable[[int], bytes]] = {
    "PING": lambda _: frame(frames.PING, 0, 0, b"12345678"),
    "SETTINGS": lambda _: frames.settings({}),
    "RST": lambda _: frames.rst_stream(1, 8),
    "empty DATA": lambda _: raw_data(3, b""),
    "padding": lambda _: frame(frames.DATA, frames.PADDED, 3, b"\x00"),
    "window": lambda _: frames.window_update(3, 1),
    "window 0": lambda i: frames.settings({frames.INITIAL_WINDOW_SIZE: i % 2}),
    "PRIORITY": lambda _: frame(frames.PRIORITY, 0, 3, b"12345"),
    "unknown": lambda _: frame(77, 0, 0, b"12345"),
    "GOAWAY": lambda _: frames.goaway(3, 0),
    "late heads": lambda _: raw_headers(1),
}


def count_frames(pair: Pair) -> list[int]:
    """The kinds of the frames that the client looks at from now on."""
    seen: list[int] = []
    dispatch = pair.client._dispatch

    def counted(kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        seen.append(kind)
        dispatch(kind, flags, stream_id, payload)

    pair.client._dispatch = counted  # type: ignore[method-assign]
    return seen


@pytest.mark.parametrize("make", FLOODS.values(), ids=FLOODS)
def test_t14_a_flood_ends_the_connection_at_little_cost(make: Callable[[int], bytes]) -> None:
    pair = Pair()
    gone, stream = pair.open(), pair.open()
    pair.client.cancel(gone)
    pair.to_client(raw_headers(3))
    pair.exchange()
    looked_at = count_frames(pair)
    flood = b"".join(map(make, range(1_000)))
    for _ in range(100):
        pair.client.receive(flood, pair.now)
    assert len(looked_at) <= FloodGuard.MOST + 2
    assert type(stream.failure) is ProtocolError and "flooded" in str(stream.failure)
    assert len(pair.client.output()) < 64 * 1024
    assert pair.client.receive(flood, 0.0) == []


def test_t14_a_peer_that_asks_once_a_second_is_no_flood() -> None:
    pair = Pair()
    stream = pair.open()
    pair.to_client(raw_headers(1))
    for second in range(5_000):
        pair.client.receive(frame(frames.PING, 0, 0, b"12345678"), float(second))
        pair.client.output()
    assert stream.failure is None


def test_t14_a_long_upload_is_no_flood() -> None:
    client = Pair().client
    client.receive(frames.settings({frames.INITIAL_WINDOW_SIZE: 1_000}), 0.0)
    stream = client.open(http_request(body=bytes(FloodGuard.MOST * 3_000)))
    while stream.unsent and stream.failure is None:
        client.output()
        client.receive(frames.window_update(1, 1_000) + frames.window_update(0, 1_000), 0.0)
    assert stream.failure is None


def test_t14_continuations_without_end_are_refused() -> None:
    pair = Pair()
    stream = pair.open()
    sent = frame(frames.HEADERS, 0, 1, header_block(OK))
    sent += frame(frames.CONTINUATION, 0, 1, b"") * MAX_CONTINUATIONS
    pair.to_client(sent)
    assert type(stream.failure) is TooLargeError
    pair.exchange()
    (end,) = pair.of(h2.events.ConnectionTerminated)
    assert end.error_code is h2.errors.ErrorCodes.ENHANCE_YOUR_CALM


def test_t14_a_header_bomb_is_refused_before_it_goes_off() -> None:
    pair = Pair()
    stream = pair.open()
    encoder = Encoder()
    fuse = encoder.encode([(":status", "200"), ("x-a", "v" * 3_900)])
    bomb = fuse + encoder.encode([("x-a", "v" * 3_900)]) * 10_000
    pair.to_client(frames.header_frames(1, bomb, end=False, max_frame=frames.MAX_FRAME))
    assert type(stream.failure) is TooLargeError
    assert "unpacks without end" in str(pair.client.failure)


def calls(work: Callable[[], object]) -> int:
    """Function calls, Python's and C's: what stands for time where nothing is timed."""
    count = 0

    def called(_frame: object, what: str, _arg: object) -> None:
        nonlocal count
        count += what in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("make", FLOODS.values(), ids=FLOODS)
def test_a_frame_that_carries_nothing_costs_little(make: Callable[[int], bytes]) -> None:
    pair = Pair()
    gone = pair.open()
    pair.open()
    pair.client.cancel(gone)
    pair.to_client(raw_headers(3))
    pair.exchange()
    flood = b"".join(map(make, range(500)))
    per_frame = calls(lambda: pair.client.receive(flood, pair.now)) / 500
    # A head is unpacked whoever it is for; 32 calls are some 2.5 us.
    assert per_frame <= (98 if make is FLOODS["late heads"] else 32), per_frame
    assert pair.client.failure is None


@pytest.mark.parametrize("streams", [1, 20])
def test_a_frame_of_a_body_costs_next_to_nothing(streams: int) -> None:
    pair = Pair()
    for _ in range(streams):
        stream = pair.open()
        pair.to_client(raw_headers(stream.id))
    read = b"".join(raw_data(2 * (n % streams) + 1, b"x" * 180) for n in range(300))
    per_frame = calls(lambda: pair.client.receive(read, pair.now)) / 300
    assert per_frame <= 4, per_frame
    assert sum(stream.buffered for stream in pair.client.streams.values()) == 300 * 180
