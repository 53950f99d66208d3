"""What can be done to the steps of an answer."""

from collections.abc import Iterator
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from streamnursery.serving.steps import (
    BATCH,
    End,
    How,
    Send,
    Step,
    Wait,
    batched,
    chunked,
    close_delimited,
)
from streamnursery.simulator.cuts import RESET_AFTER, broken_off, drip, split

KEEP = End(How.KEEP)


@st.composite
def send(draw: st.DrawFn) -> Send:
    data = draw(st.binary(min_size=1, max_size=50))
    marks = draw(st.sets(st.integers(1, len(data)), max_size=3).map(sorted).map(tuple))
    return Send(data, draw(st.sampled_from([-inf, 0.0, 1.0])), marks, draw(st.booleans()))


sends = send()
bodies = st.lists(sends | st.builds(Wait, seconds=st.floats(0, 5)), max_size=20)


def body(steps: Iterator[Step]) -> bytes:
    return b"".join(step.data for step in steps if isinstance(step, Send))


def marks(steps: list[Step]) -> list[int]:
    """After how many bytes of all each token is known."""
    found, size = [], 0
    for step in steps:
        if isinstance(step, Send):
            found += [size + mark for mark in step.marks]
            size += len(step.data)
    return found


def ended(steps: list[Send | Wait]) -> list[Step]:
    return [*steps, KEEP]


@given(bodies)
def test_batching_keeps_bytes_tokens_waits_and_due_times(steps: list[Send | Wait]) -> None:
    joined = list(batched(iter(ended(steps))))
    assert body(iter(joined)) == body(iter(steps))
    assert marks(joined) == marks(ended(steps))
    assert [s for s in joined if isinstance(s, Wait)] == [s for s in steps if isinstance(s, Wait)]
    assert joined[-1] == KEEP
    # Nothing is sent before it is due.
    latest, sent = 0, 0
    due = [step.at for step in steps if isinstance(step, Send) for _ in step.data]
    for step in joined:
        if isinstance(step, Send):
            sent += len(step.data)
            assert all(at <= step.at for at in due[latest:sent])
            latest = sent


def test_a_batch_is_bounded() -> None:
    steps = [Send(b"x" * 1000) for _ in range(100)]
    joined = list(batched(iter([*steps, KEEP])))
    assert max(len(s.data) for s in joined if isinstance(s, Send)) < BATCH + 1000
    assert len(joined) < 10


@given(bodies, st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_splitting_cuts_every_send_into_pieces_to_be_read_alone(
    steps: list[Send | Wait], sizes: list[int]
) -> None:
    pieces = list(split(iter(ended(steps)), tuple(sizes)))
    assert body(iter(pieces)) == body(iter(steps))
    assert marks(pieces) == marks(ended(steps))
    cut = [step for step in pieces if isinstance(step, Send)]
    assert all(step.apart and len(step.data) <= max(sizes) for step in cut)


def test_a_drip_waits_before_every_piece_but_the_first() -> None:
    steps = list(drip(iter([Send(b"abc"), Send(b"d"), KEEP]), 2, 0.5))
    shown = [step.seconds if isinstance(step, Wait) else step for step in steps]
    assert [step.data if isinstance(step, Send) else step for step in shown] == [
        *(b"ab", 0.5, b"c", 0.5, b"d", KEEP)
    ]


@given(bodies, st.integers(0, 300))
def test_breaking_off_lets_exactly_so_many_bytes_through(
    steps: list[Send | Wait], after: int
) -> None:
    whole = body(iter(steps))
    end = End(How.CLOSE, "cut")
    got = list(broken_off(iter(ended(steps)), after, end))
    assert body(iter(got)) == whole[:after]
    assert marks(got) == [mark for mark in marks(ended(steps)) if mark <= after]
    assert got[-1] == (end if len(whole) > after else KEEP)


def test_a_reset_leaves_the_client_a_moment_to_read() -> None:
    end = End(How.RESET, "reset")
    got = list(broken_off(iter([Send(b"abc"), KEEP]), 2, end))
    assert got == [Send(b"ab"), Wait(RESET_AFTER), end]


def test_only_a_complete_message_gets_its_last_chunk() -> None:
    assert list(chunked(iter([Send(b"ab", marks=(2,)), KEEP]))) == [
        *(Send(b"2\r\nab\r\n", marks=(5,)), Send(b"0\r\n\r\n"), KEEP)
    ]
    cut = End(How.CLOSE, "cut")
    assert list(chunked(iter([Send(b"ab"), cut]))) == [Send(b"2\r\nab\r\n"), cut]


def test_a_connection_that_may_not_go_on_ends_with_the_message() -> None:
    assert list(close_delimited(iter([KEEP]))) == [End(How.CLOSE)]
    reset = End(How.RESET, "reset")
    assert list(close_delimited(iter([reset]))) == [reset]
