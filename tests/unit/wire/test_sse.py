"""The event stream rules, one fact each."""

import pytest

from streamnursery.values.errors import TooLargeError
from streamnursery.wire.sse import MAX_LINE, MAX_STRAY, ServerSentEvent, SSEDecoder


def decode(*chunks: bytes) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def data(*chunks: bytes) -> list[str]:
    return [event.text for event in decode(*chunks)]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_a_line_ends_at_lf_cr_or_crlf(end: bytes) -> None:
    assert data(b"data: a" + end + b"data: b" + end + end) == ["a\nb"]


def test_nothing_else_ends_a_line() -> None:
    odd = "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg"
    assert data(f"data: {odd}\n\n".encode()) == [odd]


def test_a_crlf_cut_in_two_is_one_line_end() -> None:
    assert data(b"data: a\r", b"\ndata: b\r", b"\n\r", b"\n") == ["a\nb"]


def test_a_cr_ends_its_line_at_once() -> None:
    assert data(b"data: a\r\r") == ["a"]


def test_an_empty_chunk_changes_nothing() -> None:
    assert data(b"data: a\r", b"", b"\n", b"", b"\n") == ["a"]


def test_a_character_cut_in_two_arrives_whole() -> None:
    body = "data: é\n\n".encode()
    assert data(body[:7], body[7:]) == ["é"]


def test_bytes_that_are_no_utf8_become_replacement_characters() -> None:
    assert data(b"data: a\xffb\xe2\x82\n\n") == ["a\ufffdb\ufffd"]


def test_a_bom_counts_only_at_the_start() -> None:
    assert data(b"\xef\xbb", b"\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == ["a"]
    assert data(b"\xef\xbb\xbf\n\ndata: a\n\n") == ["a"]


def test_one_space_after_the_colon_is_no_data() -> None:
    assert data(b"data:a\n\ndata: a\n\ndata:  a\n\ndata\n\n") == ["a", "a", " a", ""]


def test_comments_and_unknown_fields_are_skipped() -> None:
    assert data(b": x\ndata: a\n:\nfoo: b\nDATA: c\n\n") == ["a"]


def test_an_event_without_data_is_not_dispatched_and_its_name_is_forgotten() -> None:
    assert decode(b"event: ping\n\ndata: a\n\n") == [ServerSentEvent(b"a")]


def test_an_event_has_its_name_and_the_next_one_has_not() -> None:
    events = decode(b"event: ping\ndata: a\n\ndata: b\n\n")
    assert [event.event for event in events] == ["ping", "message"]


def test_an_unfinished_event_is_dropped_with_its_id() -> None:
    decoder = SSEDecoder()
    assert decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")[0].id == "1"
    assert decoder.last_event_id == "1"


def test_an_id_outlives_its_event_until_another_one() -> None:
    events = decode(b"id: 1\ndata: a\n\n", b"data: b\n\ndata: c\n\n", b"id\ndata: d\n\n")
    assert [event.id for event in events] == ["1", "1", "1", ""]


def test_an_id_without_data_counts_from_its_blank_line_on() -> None:
    decoder = SSEDecoder(last_event_id="0")
    assert decoder.feed(b"data: a\n\nid: 1\n\ndata: b\n\n") == [
        ServerSentEvent(b"a", "message", "0"),
        ServerSentEvent(b"b", "message", "1"),
    ]


def test_an_id_with_nul_is_ignored() -> None:
    assert decode(b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n")[1].id == "1"


@pytest.mark.parametrize(
    ("line", "milliseconds"),
    [
        (b"retry: 1000", 1000),
        (b"retry:03000", 3000),
        (b"retry: 0", 0),
        (b"retry: 1000x", 7),
        (b"retry: -1", 7),
        (b"retry: \xd9\xa1", 7),
        (b"retry", 7),
        (b"retry: " + b"9" * 5000, 7),
    ],
)
def test_retry_is_a_number_of_milliseconds_or_nothing(line: bytes, milliseconds: int) -> None:
    decoder = SSEDecoder()
    decoder.feed(b"retry: 7\n" + line + b"\n")
    assert decoder.retry_ms == milliseconds


def test_plain_events_are_read_as_bare_data() -> None:
    decoder = SSEDecoder()
    assert decoder.read(b"data: a\n\n") == [b"a"]
    assert decoder.read(b"data: b\n\ndata: c\n\nda") == [b"b", b"c"]
    assert decoder.read(b"ta: d\n\n") == [b"d"]
    assert decoder.read(b"data: e\r\n\r\ndata: g\r\n\r\nda") == [b"e", b"g"]
    assert decoder.read(b"ta: h\r\n\r\n") == [b"h"]
    assert decoder.read(b"data: f\n\n: x\n\n") == [ServerSentEvent(b"f")]


def test_a_line_of_exactly_its_bound_passes() -> None:
    decoder = SSEDecoder(max_line=10)
    assert decoder.feed(b"data: 1234\n\n")[0].data == b"1234"
    assert decoder.failure is None


@pytest.mark.parametrize("start", [b"data: ", b": ", b"", b"event: "])
@pytest.mark.parametrize("end", [b"", b"\n\n"])
def test_t10_an_endless_line_is_too_large_whatever_it_says(start: bytes, end: bytes) -> None:
    decoder = SSEDecoder(max_line=100)
    assert len(decoder.feed(b"data: a\n\n" + start + b"x" * 101 + end)) == 1
    assert isinstance(decoder.failure, TooLargeError)
    assert not decoder.failure.retryable
    assert decoder.feed(b"\n\ndata: b\n\n") == []


def test_t10_a_line_is_too_large_however_it_is_cut() -> None:
    decoder = SSEDecoder(max_line=100)
    for _ in range(101):
        assert decoder.failure is None
        decoder.feed(b"x")
    assert isinstance(decoder.failure, TooLargeError)


def test_t10_a_long_line_that_begins_in_one_read_and_ends_in_the_next_is_too_large() -> None:
    decoder = SSEDecoder(max_line=100)
    decoder.feed(b"data: a\n\ndata: " + b"x" * 90)
    assert decoder.feed(b"x" * 20 + b"\n\n") == []
    assert isinstance(decoder.failure, TooLargeError)


def test_t10_an_endless_event_is_too_large() -> None:
    decoder = SSEDecoder(max_event=100)
    for _ in range(50):
        decoder.feed(b"data:\n" * 3)
    assert isinstance(decoder.failure, TooLargeError)
    assert "event" in str(decoder.failure)


def test_t10_one_line_may_pass_the_bound_of_an_event() -> None:
    decoder = SSEDecoder(max_event=100)
    assert decoder.feed(b"data: a\n\ndata: " + b"x" * 101 + b"\n\n") == [ServerSentEvent(b"a")]
    assert isinstance(decoder.failure, TooLargeError)


def test_the_message_of_a_passed_bound_says_which_and_what_to_do() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"x" * (MAX_LINE + 1))
    assert f"line of more than {MAX_LINE:,} bytes" in str(decoder.failure)
    assert "raise the endpoint's max_event_bytes" in str(decoder.failure)


def test_a_body_that_is_no_event_stream_comes_back_as_stray_text() -> None:
    decoder = SSEDecoder()
    body = b'{\n  "error": {"message": "no"}\n}'
    assert decoder.feed(body) == []
    assert decoder.stray() == body


@pytest.mark.parametrize(
    "body", [b"", b"\xef\xbb\xbf", b"\xef", b"da", b"data: x", b": hi", b"id", b"data: x\n"]
)
def test_the_beginning_of_an_event_stream_is_not_stray(body: bytes) -> None:
    decoder = SSEDecoder()
    decoder.feed(body)
    assert decoder.stray() == b""


def test_stray_text_is_bounded() -> None:
    decoder = SSEDecoder()
    for _ in range(100):
        decoder.feed(b"<p>\n" * 1000)
    assert len(decoder.stray()) == MAX_STRAY
    assert decoder.is_no_stream
