"""What becomes of events while their consumer is behind."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from streamnursery import RequestError, TextDelta
from streamnursery.pipeline.channel import BufferTotal, Channel
from streamnursery.pipeline.policies import POLICIES, STREAM_EVENTS, make_channel
from streamnursery.simulator import Profile
from streamnursery.values.events import (
    CONTENT,
    ChoiceFinished,
    ReasoningDelta,
    RefusalDelta,
    Restarted,
    StreamEvent,
    ToolCallDelta,
)
from streamnursery.values.policy import WhenBehind
from tests.support.scene import scene, virtual

LONG = Profile(ttft_mean=0.1, ttft_p95=0.1, tokens_per_second=100, output_tokens=(100, 100))


def channel(policy: WhenBehind, events: int = 10, nbytes: int = 1000) -> Channel[StreamEvent]:
    return make_channel(
        policy,
        max_items=events,
        max_bytes=nbytes,
        rules=STREAM_EVENTS,
        total=BufferTotal(10**6),
    )


async def unread(source: Channel[StreamEvent]) -> list[StreamEvent]:
    source.close()
    found: list[StreamEvent] = []
    while (batch := await source.receive()) is not None:
        found += batch
    return found


async def test_the_oldest_content_is_dropped_and_marks_stay() -> None:
    dropping = channel("drop_oldest", events=4)
    assert dropping.put([Restarted(2, "why"), TextDelta("a")], 2)
    for letter in "bcdefg":
        assert dropping.put([TextDelta(letter)], 1)
    assert dropping.statistics().dropped_items == 5
    assert await unread(dropping) == [Restarted(2, "why"), TextDelta("f"), TextDelta("g")]


async def test_text_is_joined_while_nobody_reads_and_never_across_a_mark() -> None:
    joining = channel("coalesce")
    for event in (
        TextDelta("a"),
        TextDelta("b"),
        TextDelta("c"),
        Restarted(2, "why"),
        TextDelta("d"),
        TextDelta("e", 1),
        TextDelta("f", 1),
        ReasoningDelta("g", 1),
    ):
        assert joining.put([event], 1)
    assert joining.statistics().coalesced_items == 3
    assert joining.statistics().current_items == 5
    assert await unread(joining) == [
        TextDelta("abc"),
        Restarted(2, "why"),
        TextDelta("d"),
        TextDelta("ef", 1),
        ReasoningDelta("g", 1),
    ]


async def test_joined_text_blocks_at_the_bound_of_bytes() -> None:
    joining = channel("coalesce", events=10, nbytes=100)
    assert all(joining.put([TextDelta("x")], 1) for _ in range(99))
    assert not joining.put([TextDelta("x")], 1)
    assert joining.statistics().sender_waiting


texts = st.text(max_size=3)
events = st.one_of(
    st.builds(TextDelta, texts, st.integers(0, 1)),
    st.builds(ReasoningDelta, texts, st.integers(0, 1)),
    st.builds(RefusalDelta, texts),
    st.builds(ToolCallDelta, st.just(0), arguments=texts),
    st.builds(ChoiceFinished, st.just(0), st.just("stop")),
    st.builds(Restarted, st.just(2), st.just("why")),
)
reads = st.lists(st.lists(events, min_size=1, max_size=4), max_size=30)


def plain(found: list[StreamEvent]) -> list[tuple[object, ...]]:
    """The events with the text of neighbours of one kind and choice put together."""
    said: list[tuple[object, ...]] = []
    for event in found:
        if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
            kind, text = (type(event).__name__, event.index), event.text
            if said and said[-1][:-1] == kind:
                text = str(said.pop()[-1]) + text
            said.append((*kind, text))
        else:
            said.append((event,))
    return said


@given(batches=reads, taken=st.sets(st.integers(0, 30)))
def test_joining_changes_no_text_and_no_order(
    batches: list[list[StreamEvent]], taken: set[int]
) -> None:
    async def main() -> None:
        joining = channel("coalesce", events=10**6, nbytes=10**6)
        found: list[StreamEvent] = []
        for n, batch in enumerate(batches):
            joining.put(batch, len(batch))
            if n in taken:
                found += await joining.receive() or []
        found += await unread(joining)
        assert plain(found) == plain([event for batch in batches for event in batch])
        now = joining.statistics()
        assert (now.current_items, now.current_bytes) == (0, 0)

    trio.run(main)


@given(batches=reads, bound=st.integers(1, 12))
def test_dropping_keeps_every_mark_the_order_and_the_bound(
    batches: list[list[StreamEvent]], bound: int
) -> None:
    async def main() -> None:
        dropping = channel("drop_oldest", events=bound)
        sent = [event for batch in batches for event in batch]
        marks = [event for event in sent if not isinstance(event, CONTENT)]
        for batch in batches:
            assert dropping.put(batch, len(batch))
            assert dropping.statistics().current_items <= bound + len(batch) + len(marks)
        dropped = dropping.statistics().dropped_items
        found = await unread(dropping)
        assert len(found) == len(sent) - dropped
        assert [event for event in found if not isinstance(event, CONTENT)] == marks
        rest = iter(map(id, sent))
        assert all(any(id(event) == other for other in rest) for event in found)
        assert dropping.statistics().current_bytes == 0

    trio.run(main)


@pytest.mark.parametrize("policy", POLICIES)
@virtual
async def test_a_slow_consumer_gets_a_whole_answer_under_every_policy(policy: WhenBehind) -> None:
    async with scene(profile=LONG) as s:
        async with s.engine.stream("m", "x", when_behind=policy, buffer_events=20) as stream:
            seen = 0
            async for event in stream:
                seen += isinstance(event, TextDelta)
                await trio.sleep(0.5)
            completion = await stream.completion()
            buffer = stream.statistics().buffer
        assert completion.text == s.provider.expected_text(stream.request)
        if policy != "block":  # which lets the network fill up, and then takes it in one read
            assert buffer.peak_items <= 25
        match policy:
            case "block":
                assert seen == 100
                assert (buffer.dropped_items, buffer.coalesced_items) == (0, 0)
            case "drop_oldest":
                assert 10 <= seen < 40
                assert buffer.dropped_items == 100 - seen
            case "coalesce":
                assert seen < 20
                assert buffer.coalesced_items == 100 - seen


@virtual
async def test_an_unknown_policy_is_refused() -> None:
    async with scene() as s:
        with pytest.raises(RequestError, match="block, drop_oldest, coalesce"):
            s.engine.stream("m", "x", when_behind="drop")  # type: ignore[arg-type]
