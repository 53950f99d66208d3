"""Where the network cuts frames never changes what is made of them; noise is an outcome; and every
byte that was received is given back once."""

from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from streamnursery.transport.http1_message import check_request
from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.state import Http2State
from streamnursery.values.errors import ConnectionLostError, RequestError
from streamnursery.values.http2 import Http2Settings
from tests.support.http2 import OK, Pair, raw_data, raw_headers
from tests.support.transport import http_request

if TYPE_CHECKING:
    from streamnursery.transport.http2.stream import Http2Stream

PIECES = st.lists(
    st.sampled_from([
        raw_headers(1, (":status", "103")),
        raw_headers(1),
        raw_headers(3),
        raw_data(1, b"one"),
        raw_data(3, b"two"),
        raw_data(3, b"three", end=True),
        raw_data(1, b""),
        frames.frame(frames.DATA, 0, 1 | 1 << 31, b"reserved"),
        raw_data(1, b"", end=True),
        frames.frame(frames.DATA, frames.PADDED, 1, b"\x02abc\0\0"),
        frames.frame(frames.PING, 0, 0, b"12345678"),
        frames.rst_stream(3, 7),
        frames.rst_stream(1, 2),
        frames.goaway(1, 0),
        frames.settings({frames.MAX_CONCURRENT_STREAMS: 1, frames.INITIAL_WINDOW_SIZE: 5}),
        frames.window_update(1, 10),
        frames.window_update(0, 10),
        frames.frame(99, 0, 0, b"what"),
        frames.frame(frames.PUSH_PROMISE, 0, 0, b""),
        raw_data(7, b"nobody"),
    ]),
    max_size=12,
)


SMALL = Http2Settings(stream_window=65_536, max_streams=4)


def opened(settings: Http2Settings | None = None) -> Http2State:
    client = Http2State("api.test", settings or Http2Settings())
    client.receive(frames.settings({}), 0.0)
    return client


def outcome(reads: list[bytes], settings: Http2Settings | None = None) -> tuple[object, ...]:
    client = opened(settings)
    streams = [client.open(http_request(body=b"x" * 100)) for _ in range(2)]
    for data in reads:
        client.receive(data, 0.0)
    ends = [
        (s.head, s.take(), s.take(), s.complete, s.unprocessed, str(s.failure)) for s in streams
    ]
    window = client.window
    return ends, client.room, client.draining, str(client.failure), window.available + window.owed


@given(pieces=PIECES, cuts=st.sets(st.integers(1, 300)))
def test_cuts_never_change_the_outcome(pieces: list[bytes], cuts: set[int]) -> None:
    sent = b"".join(pieces)
    edges = [0, *sorted(c for c in cuts if c < len(sent)), len(sent)]
    assert outcome([sent[a:b] for a, b in pairwise(edges)]) == outcome([sent])


@given(
    heads=st.lists(st.sampled_from([OK, [*OK, ("content-length", "40000")], None]), max_size=2),
    sizes=st.lists(
        st.tuples(st.sampled_from([1, 3]), st.sampled_from([1, 2, 16_384])),
        max_size=15,  # within the window of the connection
    ),
)
def test_frames_that_come_together_are_the_same_as_one_by_one(
    heads: list[list[tuple[str, str]] | None], sizes: list[tuple[int, int]]
) -> None:
    opening = [raw_headers(2 * n + 1, *head) for n, head in enumerate(heads) if head]
    bodies = [raw_data(stream_id, bytes(size)) for stream_id, size in sizes]
    together = outcome([*opening, b"".join(bodies)], SMALL)
    assert together == outcome([*opening, *bodies], SMALL)


@given(noise=st.binary(max_size=300), pieces=PIECES)
def test_noise_is_an_outcome_and_no_exception(noise: bytes, pieces: list[bytes]) -> None:
    client = opened()
    stream = client.open(http_request())
    client.receive(b"".join(pieces) + noise, 0.0)
    client.receive(noise, 0.0)
    client.output()
    client.lose(ConnectionLostError, "is gone")
    assert stream.ended and client.streams == {}


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["open", "send", "take", "cancel", "end"]), st.integers(0, 5)),
        max_size=60,
    )
)
def test_every_byte_is_given_back_once(steps: list[tuple[str, int]]) -> None:
    pair = Pair(Http2Settings(stream_window=65_536, max_streams=6))
    streams: list[Http2Stream] = []
    for what, number in steps:
        stream = streams[number % len(streams)] if streams else None
        if what == "open" and pair.client.room:
            streams.append(pair.open(body=b""))
            pair.server.send_headers(streams[-1].id, OK)
        elif stream is None or stream.id not in pair.client.streams:
            continue
        elif what == "send":
            room = pair.server.local_flow_control_window(stream.id)
            pair.server.send_data(stream.id, bytes(min(room, 16_000)))
        elif what == "take":
            pair.client.consumed(stream, len(stream.take()))
        elif what == "end":
            pair.server.end_stream(stream.id)
        else:
            pair.client.cancel(stream)
        pair.exchange()
    window = pair.client.window
    assert window.available + window.owed == window.size
    assert pair.server.outbound_flow_control_window == window.available
    for stream in pair.client.streams.values():
        ours = stream.window
        assert ours.available + ours.owed + stream.buffered == ours.size
        assert pair.server.local_flow_control_window(stream.id) == ours.available
    assert pair.client.failure is None


@given(name=st.text(max_size=8), value=st.text(max_size=20))
def test_t9_what_passes_the_check_arrives_as_one_field(name: str, value: str) -> None:
    request = http_request(headers=((name, value),), body=b"")
    try:
        check_request(request)
    except RequestError:
        return
    pair = Pair()
    pair.client.open(request)
    pair.exchange()
    (fields,) = pair.requests()
    assert len(fields) == 7
    assert fields[5][0] == name.lower()
