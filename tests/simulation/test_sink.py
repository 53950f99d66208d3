"""What comes before the first content is held back, and is bounded."""

from math import inf
from types import SimpleNamespace
from typing import Any

import pytest
import trio

from streamnursery.core.measure.meter import Meter
from streamnursery.core.recovery.patience import PatienceClock
from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.supervisor.sink import StreamSink
from streamnursery.values.errors import ConnectionLostError, TooLargeError
from streamnursery.values.events import Finished, StreamEvent, TextDelta, UsageReport
from streamnursery.values.http import HttpHead
from streamnursery.values.policy import Patience
from streamnursery.values.usage import Usage
from streamnursery.wire.openai_chat.stream import OpenAIChatStream
from tests.support.scene import virtual

NO_LENGTH = HttpHead(200, ())


class Delivered(SimpleNamespace):
    """As much of a delivery as a sink touches."""

    def __init__(self, channel: Channel[StreamEvent] | None = None) -> None:
        super().__init__(channel=channel, started_at=0.0, first_token_at=None, last_token_at=None)
        self.content_events = 0
        self.events: list[StreamEvent] = []
        self.nbytes = 0

    def put(self, events: list[StreamEvent], nbytes: int) -> bool:
        self.events += events
        self.nbytes += nbytes
        return True


class NobodyElse:
    """An attempt that gets the stream, and does nothing for it."""

    def __init__(self) -> None:
        self.current_time = trio.current_time

    def claim(self) -> list[StreamEvent]:
        return []

    def first_token(self, now: float) -> None:
        """Nobody counts."""

    def finish(self) -> None: ...

    mark_unreusable = rearm = wake = finish


def sink_of(delivered: Any, head: HttpHead = NO_LENGTH) -> StreamSink:
    return StreamSink(
        OpenAIChatStream(),
        delivered,
        PatienceClock(Patience(), 600.0),
        Meter(),
        head,
        hold=True,
        owner=NobodyElse(),
        allowance=SimpleNamespace(look_at=inf, without_end=list),  # type: ignore[arg-type]
    )


@virtual
async def test_of_reports_of_usage_before_the_first_content_the_last_one_is_kept() -> None:
    delivered = Delivered()
    sink = sink_of(delivered)
    sent = 0
    for count in range(1, 2001):
        chunk = b'data: {"choices":[],"usage":{"completion_tokens":%d}}\n\n' % count
        sent += len(chunk)
        assert sink.feed(chunk)
    assert delivered.events == []
    content = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
    assert sink.feed(content)
    assert delivered.events == [
        UsageReport(Usage(output_tokens=2000, reported=frozenset({"output_tokens"}))),
        TextDelta("Hi"),
    ]
    assert delivered.nbytes == sent + len(content)


def whole(length: int | None) -> tuple[Delivered, StreamSink, bytes]:
    body = b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n'
    headers = () if length is None else (("content-length", str(len(body) + length)),)
    delivered = Delivered()
    return delivered, sink_of(delivered, HttpHead(200, headers)), body


@virtual
@pytest.mark.parametrize("more", [None, 0])
async def test_the_end_mark_ends_a_body_that_has_all_its_bytes(more: int | None) -> None:
    delivered, sink, body = whole(more)
    assert not sink.feed(body)
    assert sink.ended
    assert delivered.events == [TextDelta("Hi"), Finished(None)]


@virtual
async def test_the_end_waits_for_a_body_that_has_not() -> None:
    delivered, sink, body = whole(2)
    assert sink.feed(body)
    assert sink.feed(b"\n\n")
    assert delivered.events == [TextDelta("Hi")]
    assert not sink.ended
    sink.end(None)
    assert sink.failure is None
    assert delivered.events == [TextDelta("Hi"), Finished(None)]


@virtual
async def test_a_body_that_is_cut_behind_its_end_mark_is_not_whole() -> None:
    delivered, sink, body = whole(2)
    assert sink.feed(body)
    sink.end(ConnectionLostError("gone"))
    assert isinstance(sink.failure, ConnectionLostError)
    assert delivered.events == [TextDelta("Hi")]


@virtual
async def test_a_length_beside_a_transfer_coding_does_not_count() -> None:
    head = HttpHead(200, (("transfer-encoding", "chunked"), ("content-length", "9999")))
    assert (head.body_length, head.delimited) == (None, True)
    assert not HttpHead(200, ()).delimited
    assert HttpHead(200, (("content-length", "7"),), "HTTP/2").body_length == 7


@virtual
async def test_a_large_event_on_its_way_counts_in_the_bound_over_all_streams() -> None:
    total = BufferTotal(200_000)
    channels = [Channel[StreamEvent](max_items=9, max_bytes=10**6, total=total) for _ in range(2)]
    first, second = (sink_of(Delivered(channel=channel)) for channel in channels)
    opening = b'data: {"choices":[{"delta":{"images":["'
    assert first.feed(opening + b"A" * 60_000)
    assert total.current_bytes == 0
    assert first.feed(b"A" * 60_000)
    assert total.current_bytes == len(opening) + 120_000
    assert not second.feed(opening + b"A" * 100_000)
    assert isinstance(second.failure, TooLargeError)
    second.let_go()
    assert total.current_bytes == len(opening) + 120_000
    assert first.feed(b'"]}}]}\n\n')
    first.let_go()
    assert (total.current_bytes, total.partial_bytes) == (0, 0)
    assert total.peak_bytes > 200_000


@virtual
async def test_what_came_before_a_passed_bound_is_delivered() -> None:
    total = BufferTotal(100_000)
    delivered = Delivered(channel=Channel[StreamEvent](max_items=9, max_bytes=10**6, total=total))
    sink = sink_of(delivered)
    opening = b'data: {"choices":[{"delta":{"images":["'
    assert sink.feed(opening + b"A" * 70_000)
    said = b'"]}}]}\n\ndata: {"choices":[{"delta":{"content":"Hi"}}]}\n\n'
    assert not sink.feed(said + opening + b"A" * 120_000)
    assert isinstance(sink.failure, TooLargeError)
    assert delivered.events[-1] == TextDelta("Hi")
