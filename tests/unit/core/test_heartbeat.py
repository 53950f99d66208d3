"""Beats, verdicts, and clocks that disagree."""

import pytest

from streamnursery.core.sessions.heartbeat import JUMP, Beat, WallWatch
from streamnursery.values.session import EndpointHeartbeat, Heartbeat

POLICY = Heartbeat(interval=30.0, timeout=5.0)


def test_the_first_beat_is_jittered_and_the_others_follow_the_answers() -> None:
    assert [Beat(POLICY, 100.0, dice).due_at for dice in (0.0, 0.5, 0.99)] == [115.0, 122.5, 129.85]
    beat = Beat(POLICY, 100.0, 0.0)
    beat.sent(115.0)
    assert beat.deadline == 120.0
    assert beat.on_answer(116.5) == 1.5
    assert beat.due_at == 146.5
    assert beat.sent_at is None


def test_a_silence_is_a_verdict_once_everything_was_read() -> None:
    beat = Beat(POLICY, 0.0, 0.0)
    assert not beat.is_missed(99.0, unread=False)
    beat.sent(100.0)
    assert not beat.is_missed(104.9, unread=False)
    assert beat.is_missed(105.0, unread=False)


def test_being_behind_with_reading_puts_the_verdict_off_and_not_for_ever() -> None:
    beat = Beat(POLICY, 0.0, 0.0)
    beat.sent(100.0)
    assert not beat.is_missed(170.0, unread=True)  # this program was away for a minute
    assert not beat.is_missed(174.9, unread=True)
    assert beat.is_missed(175.0, unread=True)
    beat.sent(200.0)
    assert not beat.is_missed(205.0, unread=True)


def test_a_doubt_brings_the_next_beat_forward() -> None:
    beat = Beat(POLICY, 0.0, 0.9)
    beat.hurry(3.0)
    assert beat.due_at == 3.0
    beat.hurry(5.0)
    assert beat.due_at == 3.0


@pytest.mark.parametrize("jump", [3600.0, -3600.0, JUMP + 0.1])
def test_a_wall_clock_that_jumps_is_noticed_once(jump: float) -> None:
    watch = WallWatch(1000.0)
    assert watch.jumped(5.0, 1005.0) is None
    assert watch.jumped(10.0, 1010.0 + jump) == pytest.approx(jump)
    assert watch.jumped(15.0, 1015.0 + jump) is None


def test_a_wall_clock_that_is_corrected_a_little_is_not_a_jump() -> None:
    watch = WallWatch(1000.0)
    assert [watch.jumped(n, 1000.0 + n * 1.1) for n in range(1, 20)] == [None] * 19


@pytest.mark.parametrize("seconds", [0, -1, float("inf"), True, "x"])
def test_beats_without_a_sensible_interval_are_refused(seconds: object) -> None:
    for kind in (Heartbeat, EndpointHeartbeat):
        with pytest.raises(ValueError, match="interval must be seconds > 0"):
            kind(interval=seconds)  # type: ignore[arg-type]
