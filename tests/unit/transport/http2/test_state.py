"""The client's side of an HTTP/2 connection, against a server that nobody here wrote."""

import logging

import h2.errors
import h2.events
import pytest

from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.frames import ErrorCode
from streamnursery.values.errors import ConnectionLostError, ProtocolError, RateLimitedError
from streamnursery.values.http2 import Http2Settings
from streamnursery.values.secret import Secret
from tests.support.http2 import OK, SETTINGS, Pair, raw_data, raw_headers
from tests.support.transport import http_request

SMALL = Http2Settings(stream_window=65_536, max_streams=4)


def body_of(pair: Pair, stream_id: int) -> bytes:
    found = pair.of(h2.events.DataReceived)
    return b"".join(event.data for event in found if event.stream_id == stream_id)


def test_a_request_arrives_as_it_was_meant() -> None:
    pair = Pair()
    pair.open(headers=(("Authorization", Secret("Bearer k")), ("X-A", "\xe9")), body=b"abc")
    (fields,) = pair.requests()
    assert fields == [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "api.test"),
        (":path", "/v1/chat/completions"),
        ("accept-encoding", "identity"),
        ("x-a", "\xe9"),
        ("authorization", "Bearer k"),
        ("content-length", "3"),
    ]
    assert body_of(pair, 1) == b"abc"
    assert len(pair.of(h2.events.StreamEnded)) == 1


def test_t1_a_secret_is_never_put_into_a_table_and_never_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    pair = Pair()
    blocks = []
    for _ in range(2):
        pair.client.open(http_request(headers=(("authorization", Secret("canary")),), body=b""))
        blocks.append(pair.client.output())
    assert all(b"canary" in block for block in blocks)
    assert "canary" not in caplog.text


def test_the_answer_comes_as_it_was_sent_and_the_stream_is_forgotten() -> None:
    pair = Pair()
    stream = pair.open()
    pair.answer(stream, b"one", b"two")
    assert stream.head is not None and stream.head.status == 200
    assert stream.head.get("content-type") == "text/event-stream"
    assert stream.head.http_version == "HTTP/2"
    assert (stream.take(), stream.complete, stream.failure) == (b"onetwo", True, None)
    assert pair.client.streams == {}


def test_nothing_but_one_stream_is_opened_before_the_settings_are_known() -> None:
    pair = Pair()
    fresh = type(pair.client)("api.test", SMALL)
    assert fresh.room == 1
    fresh.receive(frames.settings({frames.MAX_CONCURRENT_STREAMS: 3}), 0.0)
    assert fresh.room == 3


def test_our_own_bound_on_streams_holds_whatever_the_server_allows() -> None:
    pair = Pair(SMALL)
    for left in (4, 3, 2, 1):
        assert pair.client.room == left
        pair.open()
    assert pair.client.room == 0


def test_p4_a_lowered_limit_leaves_the_streams_that_run_alone() -> None:
    pair = Pair()
    streams = [pair.open() for _ in range(4)]
    pair.server.update_settings({SETTINGS.MAX_CONCURRENT_STREAMS: 1})
    pair.exchange()
    assert pair.client.room == 0
    for stream in streams:
        pair.answer(stream, b"x")
    assert all(stream.complete for stream in streams)
    assert pair.client.room == 1


# Bodies. ------------------------------------------------------------------------------------


def test_a_body_goes_as_far_as_both_windows_do() -> None:
    pair = Pair()
    stream = pair.open(body=b"x" * 200_000)
    assert len(body_of(pair, 1)) == frames.DEFAULT_WINDOW
    pair.server.increment_flow_control_window(200_000)
    pair.exchange()
    assert len(body_of(pair, 1)) == frames.DEFAULT_WINDOW
    pair.server.increment_flow_control_window(200_000, 1)
    pair.exchange()
    assert len(body_of(pair, 1)) == 200_000
    assert not stream.unsent


def test_bodies_take_turns() -> None:
    pair = Pair()
    pair.server.increment_flow_control_window(1_000_000)
    pair.exchange()
    for _ in range(2):
        pair.client.open(http_request(body=b"x" * 60_000))
    pair.exchange()
    order = [event.stream_id for event in pair.of(h2.events.DataReceived)]
    assert order == [1, 3] * 4


def test_a_changed_initial_window_concerns_the_streams_that_run() -> None:
    pair = Pair()
    pair.server.update_settings({SETTINGS.INITIAL_WINDOW_SIZE: 10})
    pair.exchange()
    pair.open(body=b"x" * 100)
    assert len(body_of(pair, 1)) == 10
    pair.server.update_settings({SETTINGS.INITIAL_WINDOW_SIZE: 5})
    pair.exchange()
    pair.server.increment_flow_control_window(5, 1)
    pair.exchange()
    assert len(body_of(pair, 1)) == 10
    pair.server.update_settings({SETTINGS.INITIAL_WINDOW_SIZE: 1000})
    pair.exchange()
    assert len(body_of(pair, 1)) == 100


def test_r4_a_cancelled_upload_is_reset_and_takes_its_body_with_it() -> None:
    pair = Pair()
    stream = pair.open(body=b"x" * 200_000)
    pair.client.cancel(stream)
    pair.server.increment_flow_control_window(200_000)
    pair.exchange()
    (reset,) = pair.of(h2.events.StreamReset)
    assert reset.error_code is h2.errors.ErrorCodes.CANCEL
    assert len(body_of(pair, 1)) == frames.DEFAULT_WINDOW


def test_an_answer_before_the_body_was_sent_ends_the_sending() -> None:
    pair = Pair()
    stream = pair.open(body=b"x" * 200_000)
    pair.answer(stream, b"no")
    assert stream.complete and stream.take() == b"no"
    (reset,) = pair.of(h2.events.StreamReset)
    assert reset.error_code is h2.errors.ErrorCodes.NO_ERROR
    assert pair.client.streams == {}


# Windows. -----------------------------------------------------------------------------------


def test_the_connection_is_given_back_at_receipt_and_the_stream_at_consumption() -> None:
    pair = Pair(SMALL)
    stream = pair.open()
    pair.server.send_headers(1, OK)
    for _ in range(4):
        pair.server.send_data(1, b"x" * 16_384)
    pair.exchange()
    assert pair.server.local_flow_control_window(1) == 0
    assert pair.client.window.available + pair.client.window.owed == SMALL.stream_window * 4
    assert pair.server.outbound_flow_control_window + pair.client.window.owed == 65_536 * 4
    size = len(stream.take())
    pair.client.consumed(stream, size)
    pair.exchange()
    assert pair.server.local_flow_control_window(1) == 65_536


def test_p3_a_stream_that_is_not_read_leaves_the_others_their_windows() -> None:
    pair = Pair(SMALL)
    lazy, busy = pair.open(), pair.open()
    for stream in (lazy, busy):
        pair.server.send_headers(stream.id, OK)
    pair.server.send_data(lazy.id, b"x" * 16_384)
    for _ in range(100):
        pair.server.send_data(busy.id, b"y" * 16_384)
        pair.exchange()
        pair.client.consumed(busy, len(busy.take()))
        pair.exchange()
    assert lazy.buffered == 16_384


def test_padding_counts_and_is_given_back_at_once() -> None:
    pair = Pair(SMALL)
    stream = pair.open()
    pair.server.send_headers(1, OK)
    for _ in range(300):
        pair.server.send_data(1, b"", pad_length=255)
        pair.exchange()
    pair.server.send_data(1, b"x", pad_length=9, end_stream=True)
    pair.exchange()
    assert stream.take() == b"x" and stream.complete


def test_many_cancels_restore_the_window_exactly(tier: str) -> None:
    pair = Pair()
    count = {"test": 1_000}.get(tier, 10_000)
    for _ in range(count):
        stream = pair.client.open(http_request(body=b""))
        pair.to_server()
        pair.server.send_headers(stream.id, OK)
        pair.server.send_data(stream.id, b"x" * 500)
        pair.client.cancel(stream)
        # What was under way when it was cancelled is dropped, and given back.
        pair.to_client()
        pair.to_server()
        pair.server.data_to_send()
    window = pair.client.window
    assert window.available + window.owed == window.size
    assert pair.server.outbound_flow_control_window + window.owed == window.size
    assert len(pair.of(h2.events.StreamReset)) == count
    assert pair.client.streams == {}
    last = pair.open()
    pair.answer(last, b"still here")
    assert last.take() == b"still here"


# How it ends. -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "error", "unprocessed"),
    [
        (ErrorCode.REFUSED_STREAM, ConnectionLostError, True),
        (ErrorCode.INTERNAL_ERROR, ConnectionLostError, False),
        (ErrorCode.CANCEL, ConnectionLostError, False),
        (ErrorCode.ENHANCE_YOUR_CALM, RateLimitedError, False),
        (ErrorCode.HTTP_1_1_REQUIRED, ConnectionLostError, True),
        (4711, ConnectionLostError, False),
    ],
)
def test_b13_a_reset_ends_its_stream_and_no_other(
    code: int, error: type[Exception], unprocessed: bool
) -> None:
    pair = Pair()
    first, second = pair.open(), pair.open()
    pair.to_client(frames.rst_stream(first.id, code))
    assert type(first.failure) is error and first.unprocessed is unprocessed
    assert frames.code_name(code) in str(first.failure)
    pair.answer(second, b"whole")
    assert second.take() == b"whole" and pair.client.failure is None


def test_b14_a_graceful_goaway_leaves_the_streams_alone() -> None:
    pair = Pair()
    stream = pair.open(body=b"x" * 100_000)
    pair.to_client(frames.goaway(1, ErrorCode.NO_ERROR))
    assert pair.client.room == 0 and "NO_ERROR" in pair.client.draining
    # It reads, grants, sends and resets on.
    pair.server.increment_flow_control_window(100_000)
    pair.server.increment_flow_control_window(100_000, 1)
    pair.answer(stream, b"x" * 16_000, b"y", end=False)
    assert len(body_of(pair, 1)) == 100_000
    pair.client.cancel(stream)
    pair.exchange()
    assert len(pair.of(h2.events.StreamReset)) == 1


def test_b15_streams_above_the_last_one_say_that_nobody_has_looked_at_them() -> None:
    pair = Pair()
    first, second = pair.open(), pair.open()
    pair.to_client(frames.goaway(first.id, ErrorCode.NO_ERROR))
    assert second.unprocessed and isinstance(second.failure, ConnectionLostError)
    assert first.failure is None
    pair.answer(first, b"whole")
    assert first.complete


def test_a_goaway_that_asks_for_calm_does_not_ask_for_the_same_again() -> None:
    pair = Pair()
    stream = pair.open()
    pair.to_client(frames.goaway(0, ErrorCode.ENHANCE_YOUR_CALM))
    assert isinstance(stream.failure, RateLimitedError) and not stream.unprocessed


def test_a_warning_before_the_goaway_changes_nothing_but_the_opening() -> None:
    pair = Pair()
    streams = [pair.open(), pair.open()]
    pair.to_client(frames.goaway(frames.MAX_STREAM_ID, ErrorCode.NO_ERROR))
    assert [stream.failure for stream in streams] == [None, None] and pair.client.room == 0
    pair.to_client(frames.goaway(1, ErrorCode.NO_ERROR))
    assert streams[1].unprocessed and streams[0].failure is None


def test_what_was_received_before_the_loss_is_there() -> None:
    pair = Pair()
    stream = pair.open()
    pair.answer(stream, b"some", end=False)
    assert pair.client.lose(ConnectionLostError, "is gone") == [stream]
    assert stream.take() == b"some"
    assert str(stream.failure) == "api.test is gone"


def test_what_comes_after_a_cancel_is_dropped() -> None:
    pair = Pair()
    stream = pair.open()
    pair.client.cancel(stream)
    late = raw_headers(1) + raw_data(1, b"late") + frames.rst_stream(1, 8)
    assert pair.to_client(late) == [] and pair.client.failure is None


def test_pings_are_answered() -> None:
    pair = Pair()
    pair.server.ping(b"12345678")
    pair.exchange()
    assert pair.of(h2.events.PingAckReceived)[0].ping_data == b"12345678"


def test_a_sign_of_life_can_be_asked_for() -> None:
    pair = Pair()
    pair.client.ping()
    pair.exchange()
    assert len(pair.of(h2.events.PingReceived)) == 1


def test_large_heads_go_out_in_pieces_and_come_in_so() -> None:
    pair = Pair()
    stream = pair.open(headers=(("x-a", Secret("v" * 40_000)),), body=b"")
    assert dict(pair.requests()[0])["x-a"] == "v" * 40_000
    pair.server.send_headers(stream.id, [*OK, ("x-b", "w" * 40_000)], end_stream=True)
    pair.exchange()
    assert stream.head is not None and stream.head.get("x-b") == "w" * 40_000


def test_a_smaller_header_table_is_kept_to() -> None:
    pair = Pair()
    pair.open(headers=(("x-a", "1" * 100),))
    pair.server.update_settings({SETTINGS.HEADER_TABLE_SIZE: 0})
    pair.exchange()
    pair.server.update_settings({SETTINGS.MAX_CONCURRENT_STREAMS: 50})
    pair.exchange()
    pair.open(headers=(("x-a", "1" * 100),))
    assert dict(pair.requests()[1])["x-a"] == "1" * 100


def test_numbers_run_out_and_the_connection_says_so() -> None:
    pair = Pair()
    pair.client._next_id = frames.MAX_STREAM_ID
    pair.client.open(http_request())
    assert pair.client.room == 0 and "used up" in pair.client.draining


def test_a_server_without_http2_is_told_apart() -> None:
    pair = Pair()
    fresh = type(pair.client)("api.test", SMALL)
    stream = fresh.open(http_request())
    assert fresh.receive(b"HTTP/1.1 400 Bad Request\r\n\r\n", 0.0) == [stream]
    assert isinstance(stream.failure, ProtocolError)
    assert "does not speak HTTP/2" in str(stream.failure) and not stream.failure.retryable


def test_a_read_that_was_taken_is_not_kept() -> None:
    pair = Pair()
    stream = pair.open()
    pair.answer(stream, b"x", end=False)
    pair.client.receive(raw_data(stream.id, b"y" * 16_000) * 3, 0.0)
    assert stream.take().endswith(b"yy")
    kept = pair.client._frames
    assert len(kept._data) + len(kept._rest) == 0
