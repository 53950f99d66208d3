"""Bytes are handed on in whole events, and all of them at the end."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamnursery.errors import TruncatedStreamError
from streamnursery.sdk.last_event import WholeEvents, error_event, wants_whole_events, whole_events

LINES = st.lists(st.sampled_from([b"data: x", b"event: y", b"", b": c", b"data: \xc3\xa9"]))
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(LINES, ENDS, st.data())
def test_whole_events_come_as_soon_as_they_are_whole(
    lines: list[bytes], end: bytes, data: st.DataObject
) -> None:
    body = b"".join(line + end for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    events, out, fed = WholeEvents(), b"", b""
    for piece in pieces:
        fed += piece
        out += events.feed(piece)
        rest = fed[len(out) :]
        assert fed == out + rest
        assert end * 2 not in rest
        assert not out or out.endswith(end * 2)
    assert out + events.end() == body


@given(LINES, st.integers(0, 200))
def test_a_stream_that_breaks_off_ends_with_an_event_of_its_error(
    lines: list[bytes], cut: int
) -> None:
    body = b"".join(line + b"\n" for line in lines)[:cut]

    def answer() -> Iterator[bytes]:
        yield body
        raise TruncatedStreamError("it was cut")

    out = b"".join(whole_events(answer()))
    whole, mark, last = out.rpartition(b"event: error\ndata: ")
    assert mark
    assert whole == body[: body.rfind(b"\n\n") + 2 if b"\n\n" in body else 0]
    assert json.loads(last) == {
        "type": "error",
        "error": {"type": "api_error", "message": "it was cut"},
    }
    assert out.endswith(error_event(TruncatedStreamError("it was cut")))


@pytest.mark.parametrize(
    ("language", "status", "kind", "wanted"),
    [
        ("anthropic-messages", 200, "text/event-stream; charset=utf-8", True),
        ("anthropic-messages", 200, "application/json", False),
        ("anthropic-messages", 529, "text/event-stream", False),
        ("openai-chat", 200, "text/event-stream", False),
        ("anthropic-messages", 200, "", False),
    ],
)
def test_only_a_language_with_such_an_event_wants_it(
    language: str, status: int, kind: str, wanted: bool
) -> None:
    assert wants_whole_events(language, status, kind) is wanted
