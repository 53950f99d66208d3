"""Scenarios B2 to B4: a stream breaks in the middle, and what the caller asked for happens."""

from collections.abc import Sequence
from typing import Any, get_args

import pytest

from streamnursery import (
    ConnectionLostError,
    EngineError,
    RequestError,
    Rerouted,
    Restarted,
    Resumed,
)
from streamnursery.core.recovery.overlap import MIN_OVERLAP
from streamnursery.simulator import (
    CallTool,
    Cut,
    InStreamError,
    NoUsage,
    Reasoning,
    Reset,
    Restate,
    Rule,
    Status,
    When,
)
from streamnursery.simulator import Plan as Faults
from streamnursery.values.errors import AttemptState
from streamnursery.values.events import TextDelta
from streamnursery.values.lifecycle import Interrupted
from streamnursery.values.policy import OnInterrupt
from tests.support.scene import AT_ONCE, PACED, always, ask, once, scene, virtual

PREFIXED = {"assistant_prefix": "message"}


@pytest.mark.parametrize("at", range(11))
@pytest.mark.parametrize("profile", [PACED, AT_ONCE], ids=["paced", "at once"])
def test_b3_restart_begins_again_behind_a_mark(at: int, profile: object) -> None:
    @virtual
    async def check() -> None:
        async with scene(once(Reset(at)), profile=profile) as s:  # type: ignore[arg-type]
            reading = await ask(s.engine, on_interrupt="restart")
            marks = [i for i, e in enumerate(reading.events) if isinstance(e, Restarted)]
            assert reading.finished
            whole = s.provider.log[1].intended()
            if not marks:
                # RST takes unread bytes with it: nothing had arrived.
                assert reading.text == whole
                return
            (mark,) = marks
            before = "".join(e.text for e in reading.events[:mark] if isinstance(e, TextDelta))
            after = "".join(e.text for e in reading.events[mark:] if isinstance(e, TextDelta))
            assert before
            assert s.provider.log[0].intended().startswith(before)
            assert after == whole

    check()


@virtual
async def test_b3_complete_drops_what_was_abandoned_and_counts_what_it_cost() -> None:
    async with scene(once(Reset(3))) as s:
        completion = await s.engine.complete("m", "hello", on_interrupt="restart")
        assert completion.text == s.provider.log[1].intended()
        first, second = completion.attempts
        assert first.usage is not None
        assert (first.usage.output_tokens, first.usage.estimated) == (3, True)
        assert (first.state, second.state) == (AttemptState.COMMITTED, AttemptState.DONE)
        assert second.usage is not None
        assert completion.usage is not None
        assert completion.usage.output_tokens == 3 + 10
        assert completion.usage.input_tokens == second.usage.input_tokens
        assert completion.usage.estimated


@virtual
async def test_b3_text_has_no_place_for_a_mark() -> None:
    async with scene() as s:
        for ladder in ("restart", ("continue", "restart")):
            async with s.engine.stream("m", "hello", on_interrupt=ladder) as stream:
                with pytest.raises(RequestError, match="mark"):
                    stream.text()


@virtual
async def test_b3_without_a_second_beginning_the_first_one_stays_the_partial() -> None:
    plan = Faults((
        Rule((Reset(3),), When(requests=(1,))),
        Rule((Status(400),), When(requests=(2,))),
    ))
    async with scene(plan) as s:
        reading = await ask(s.engine, on_interrupt="restart")
        assert isinstance(reading.error, ConnectionLostError)
        assert reading.error.partial is not None
        assert reading.error.partial.text == reading.text
        assert reading.tokens == 3
        assert not any(isinstance(e, Restarted) for e in reading.events)
        assert [a.status for a in reading.error.attempts] == [200, 400]
        assert "restart: the provider refused it" in reading.error.__notes__[0]


@virtual
async def test_b3_a_restart_may_break_and_restart_again() -> None:
    async with scene(once(Reset(3), requests=(1, 2, 3))) as s:
        reading = await ask(s.engine, on_interrupt="restart")
        marks = [e.attempt for e in reading.events if isinstance(e, Restarted)]
        assert marks == [2, 3, 4]
        assert reading.finished


@pytest.mark.parametrize("at", range(1, 11))
def test_b3_continue_gives_the_intended_text_once(at: int) -> None:
    @virtual
    async def check() -> None:
        async with scene(once(Cut(at)), model=PREFIXED) as s:
            async with s.engine.stream("m", "hello", on_interrupt="continue") as stream:
                text = "".join([piece async for piece in stream.text()])
            assert text == s.provider.log[0].intended()
            assert stream.partial.text == text
            assert s.asked == 2

    check()


@pytest.mark.parametrize("repeated", [None, 1, 2, 3, 4])
def test_b3_continue_drops_what_the_model_repeats(repeated: int | None) -> None:
    @virtual
    async def check() -> None:
        faults = Faults((Rule((Cut(6),), When(requests=(1,))), Rule((Restate(repeated),))))
        async with scene(faults, model=PREFIXED) as s:
            reading = await ask(s.engine, on_interrupt="continue")
            intended, delivered = s.provider.log[0].intended(), s.provider.log[0].sent()
            said = s.provider.log[1].intended()
            again = said.removesuffix(intended.removeprefix(delivered))
            assert delivered.endswith(again)
            # A short repetition may be meant.
            assert reading.text == (intended if len(again) >= MIN_OVERLAP else delivered + said)

    check()


@virtual
async def test_b3_continue_says_where_it_goes_on() -> None:
    async with scene(once(Cut(4)), model=PREFIXED) as s:
        reading = await ask(s.engine, on_interrupt="continue", max_tokens=9)
        (mark,) = [e for e in reading.events if isinstance(e, Resumed)]
        before = reading.events[: reading.events.index(mark)]
        assert mark.at == len("".join(e.text for e in before if isinstance(e, TextDelta)))
        assert mark.attempt == 2
        first, second = s.provider.log
        assert reading.text == first.intended()
        # The rest of max_tokens, and a key of its own: it is another question.
        assert second.reply is not None
        assert second.reply.output_tokens == 9 - 4
        assert first.headers["idempotency-key"] != second.headers["idempotency-key"]


@virtual
async def test_b3_continue_goes_on_at_a_backup_that_is_configured_for_it() -> None:
    async with scene(always(Cut(3)), backups={"spare": Faults()}, model=PREFIXED) as s:
        reading = await ask(s.engine, on_interrupt="continue")
        kinds = [type(e) for e in reading.events if isinstance(e, Rerouted | Resumed)]
        assert kinds == [Rerouted, Resumed]
        assert reading.finished
        assert reading.text.startswith(s.provider.log[0].sent())
        assert len(s.providers["spare"].log) == 1


@pytest.mark.parametrize(
    ("faults", "options", "why"),
    [
        ((CallTool("f", '{"a": 1}'), Cut(1)), {}, "tool call"),
        ((Reasoning(4), Cut(6)), {}, "reasoned"),
        ((Cut(3),), {"reasoning_effort": "low"}, "reasoned"),
        ((Cut(3),), {"response_format": {"type": "json_object"}}, "structured"),
        ((Cut(3),), {"n": 2}, "more than one choice"),
    ],
)
def test_b3_what_cannot_be_continued_fails_with_the_reason(
    faults: Sequence[object], options: dict[str, object], why: str
) -> None:
    @virtual
    async def check() -> None:
        async with scene(always(*faults), model=PREFIXED) as s:  # type: ignore[arg-type]
            reading = await ask(s.engine, on_interrupt="continue", **options)
            assert isinstance(reading.error, EngineError)
            assert reading.error.committed
            assert why in reading.error.__notes__[0]
            assert s.asked == 1

    check()


@virtual
async def test_b3_the_ladder_is_walked_down() -> None:
    records: list[object] = []
    async with scene(once(Reset(3)), observers=[records.append]) as s:
        reading = await ask(s.engine, on_interrupt=["resume", "continue", "restart"])
        assert reading.finished
        assert any(isinstance(e, Restarted) for e in reading.events)
    (record,) = [r for r in records if isinstance(r, Interrupted)]
    assert record.how == "restart"
    assert "no resume: the provider's stream has no cursor" in record.why
    assert "no continue: main/m is not configured for it" in record.why


@virtual
async def test_b2_before_the_first_token_no_mark_is_needed() -> None:
    for ladder in get_args(OnInterrupt):
        async with scene(once(Reset(0)), model=PREFIXED) as s:
            reading = await ask(s.engine, on_interrupt=ladder)
            assert reading.finished
            assert not any(isinstance(e, Restarted | Resumed) for e in reading.events)


@virtual
async def test_b3_an_error_that_would_come_anywhere_is_not_begun_again() -> None:
    broken = InStreamError(3, type="invalid_request_error", code="content_filter")
    async with scene(always(broken)) as s:
        reading = await ask(s.engine, on_interrupt="restart")
        assert reading.error is not None
        assert s.asked == 1


@virtual
async def test_b3_without_usage_the_delivered_tokens_are_an_estimate() -> None:
    async with scene(always(NoUsage(), Reset(3))) as s:
        error = (await ask(s.engine)).error
        assert error is not None
        (attempt,) = error.attempts
        assert attempt.usage is not None
        assert attempt.usage.output_tokens == 3
        assert attempt.usage.estimated


@pytest.mark.parametrize("bad", ["again", "", ["fail", "restart"], ["restart", "restart"], []])
@virtual
async def test_a_ladder_that_cannot_be_walked_is_refused(bad: Any) -> None:
    async with scene() as s:
        with pytest.raises(RequestError, match="on_interrupt"):
            s.engine.stream("m", "hello", on_interrupt=bad)
