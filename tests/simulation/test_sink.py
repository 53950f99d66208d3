"""What comes before the first content is held back, and is bounded."""

from math import inf
from types import SimpleNamespace
from typing import Any

from streamnursery.core.measure.meter import Meter
from streamnursery.core.recovery.patience import PatienceClock
from streamnursery.supervisor.sink import StreamSink
from streamnursery.values.events import StreamEvent, TextDelta, UsageReport
from streamnursery.values.http import HttpHead
from streamnursery.values.policy import Patience
from streamnursery.values.usage import Usage
from streamnursery.wire.openai_chat.stream import OpenAIChatStream
from tests.support.scene import virtual


class Delivered(SimpleNamespace):
    """As much of a delivery as a sink touches."""

    def __init__(self) -> None:
        super().__init__(started_at=0.0, first_token_at=None, last_token_at=None)
        self.content_events = 0
        self.events: list[StreamEvent] = []
        self.nbytes = 0

    def put(self, events: list[StreamEvent], nbytes: int) -> bool:
        self.events += events
        self.nbytes += nbytes
        return True


def sink_of(delivered: Any) -> StreamSink:
    return StreamSink(
        OpenAIChatStream(),
        delivered,
        PatienceClock(Patience(), 600.0),
        Meter(),
        HttpHead(200, ()),
        hold=True,
        claim=list,
        first_token=lambda _: None,
        before_finish=lambda: None,
        allowance=SimpleNamespace(look_at=inf),  # type: ignore[arg-type]
        mark_unreusable=lambda: None,
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
