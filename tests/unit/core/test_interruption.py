"""The ladder after a break: which rung is taken, and why the ones above it were not."""

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
import pytest

from streamnursery.core.recovery.circuit_gate import Closed
from streamnursery.core.recovery.error_policy import RetryScope
from streamnursery.core.recovery.interruption import (
    Broken,
    GoOn,
    Usable,
    go_on,
    refused_for_good,
    uncontinuable,
)
from streamnursery.core.recovery.next_step import (
    Failure,
    GiveUp,
    NextRoute,
    Position,
    Step,
    TryAgain,
)
from streamnursery.core.routing.route_plan import PlannedRoute, Role, RoutePlan
from streamnursery.values.opaque import OpaquePart
from streamnursery.values.partial import Choice, Partial, PartPlace, ToolCall
from streamnursery.values.policy import AssistantPrefix, OnInterrupt, Patience, Retries, ladder
from streamnursery.values.request import ChatRequest
from streamnursery.values.settings import Route
from streamnursery.values.usage import Usage


def stop(name: str, prefix: AssistantPrefix = "off") -> PlannedRoute:
    return PlannedRoute(Route(name, "m"), "m", Role.PRIMARY, name, Retries(), Patience(), prefix)


HERE, SPARE = stop("here"), stop("spare", "message")
PLAN = RoutePlan("m", (HERE, SPARE))
LOST = Failure("ConnectionLostError", RetryScope.BACKUP_FIRST, retryable=True)


def broken(**changes: Any) -> Broken:
    fields: dict[str, Any] = {"uncontinuable": None, "resumable": True, **changes}
    return Broken(LOST, HERE, **fields)


def decide(usable: Usable) -> Step:
    """Here again if that may be, the spare route if not."""
    if usable(HERE):
        return TryAgain(1.0, "ConnectionLostError", Position(PLAN, 0), 1.0)
    if usable(SPARE):
        return NextRoute("ConnectionLostError", Position(PLAN, 1), 0.0)
    return GiveUp("ConnectionLostError; nowhere to go")


@pytest.mark.parametrize(
    ("rungs", "facts", "how", "passed"),
    [
        (["restart"], {}, "restart", []),
        (["continue"], {}, "continue", []),
        (["resume"], {}, "resume", []),
        (
            ["resume", "restart"],
            {"resumable": False},
            "restart",
            ["resume: the provider's stream has no cursor"],
        ),
        (
            ["continue", "restart"],
            {"uncontinuable": "a tool call had begun"},
            "restart",
            ["continue: a tool call had begun"],
        ),
        (
            ["resume", "continue"],
            {"refused": frozenset(["resume"])},
            "continue",
            ["resume: the provider refused it"],
        ),
    ],
)
def test_the_first_rung_that_can_be_done_is_taken(
    rungs: Sequence[OnInterrupt], facts: dict[str, Any], how: str, passed: list[str]
) -> None:
    step = go_on(rungs, broken(**facts), decide)
    assert isinstance(step, GoOn)
    assert (step.how, list(step.passed)) == (how, passed)
    assert str(step).startswith(f"{how}: ")
    assert all(f"no {reason}" in str(step) for reason in passed)


def test_each_rung_goes_only_where_it_can() -> None:
    where = {}
    for how in ("restart", "continue", "resume"):
        step = go_on([how], broken(), decide)
        assert isinstance(step, GoOn)
        where[how] = step.step.position.stop
    assert where == {"restart": HERE, "continue": SPARE, "resume": HERE}


def test_below_the_last_rung_the_stream_fails_with_every_reason() -> None:
    step = go_on(["resume", "continue"], broken(resumable=False, uncontinuable="so"), decide)
    assert step == GiveUp(
        "ConnectionLostError, after content was delivered; "
        "no resume: the provider's stream has no cursor; no continue: so"
    )
    assert go_on(["fail"], broken(), decide) == GiveUp(
        "ConnectionLostError, after content was delivered"
    )
    nowhere = go_on(["restart"], broken(), lambda _: GiveUp("ConnectionLostError; no budget"))
    assert "no restart: no budget" in str(nowhere)


TEXT = Choice(0, text="Once")


@pytest.mark.parametrize(
    ("choice", "fields", "why"),
    [
        (TEXT, {}, None),
        (TEXT, {"tools": [{"type": "function"}]}, None),
        (TEXT, {"response_format": {"type": "text"}}, None),
        (TEXT, {"reasoning_effort": "none"}, None),
        (TEXT, {"n": 2}, "more than one choice was asked for"),
        (Choice(0), {}, "no text was delivered"),
        (Choice(0, text=" \n"), {}, "no text was delivered"),
        (Choice(0, text="Once", finish_reason="stop"), {}, "it had ended with 'stop'"),
        (Choice(0, tool_calls=(ToolCall(0, "1", "f", ""),)), {}, "a tool call had begun"),
        (Choice(0, refusal="I"), {}, "a refusal had begun"),
        (TEXT, {"response_format": {"type": "json_schema"}}, "the answer is structured output"),
        (TEXT, {"extra": {"guided_json": {}}}, "the answer is structured output"),
        (Choice(0, text="So", reasoning="Hm"), {}, "the model has reasoned"),
        (TEXT, {"max_tokens": 1}, "max_tokens were used up"),
        (TEXT, {"max_tokens": 2}, None),
        (TEXT, {"reasoning_effort": "high"}, "the model has reasoned"),
        (TEXT, {"extra": {"reasoning": {"effort": "low"}}}, "the model has reasoned"),
    ],
)
def test_what_a_model_cannot_go_on_with(
    choice: Choice, fields: dict[str, Any], why: str | None
) -> None:
    request = ChatRequest("m", [{"role": "user", "content": "x"}], **fields)
    found = uncontinuable(request, Partial((choice,)), said=1)
    assert (found or "").startswith(why or "")
    assert (found is None) == (why is None)


def test_reported_reasoning_counts_as_reasoning() -> None:
    request = ChatRequest("m", [{"role": "user", "content": "x"}])
    assert uncontinuable(request, Partial((TEXT,), Usage(reasoning_tokens=3)), 1)
    assert uncontinuable(request, Partial(), 0) == "no text was delivered"


def test_a_rung_is_given_up_when_the_question_itself_is_refused() -> None:
    content = Failure("ContentError 400", RetryScope.NOWHERE, retryable=False)
    gone = Failure("ModelError 404", RetryScope.HERE_FIRST, retryable=False)
    busy = Failure("ServerError 503", RetryScope.BACKUP_FIRST, retryable=True)
    assert refused_for_good("restart", content)
    assert refused_for_good("resume", gone)
    assert not refused_for_good("continue", gone)
    assert not refused_for_good("resume", busy)
    assert not refused_for_good("resume", Failure.closed(Closed(5.0, paused=True), 1.0))


@pytest.mark.parametrize("rungs", ["fail", "restart", ["resume", "continue", "fail"]])
def test_a_ladder_is_one_rung_or_several(rungs: object) -> None:
    assert ladder(rungs) == ((rungs,) if isinstance(rungs, str) else tuple(rungs))  # type: ignore[arg-type]


@pytest.mark.parametrize("rungs", ["", "no", [], ["fail", "resume"], ["resume"] * 2, 3, [3], None])
def test_no_ladder_is_refused(rungs: object) -> None:
    with pytest.raises(ValueError, match="on_interrupt"):
        ladder(rungs)


@pytest.mark.parametrize(
    ("kind", "continues"), [("redacted_thinking", False), ("image", False), ("citation", True)]
)
def test_a_text_with_parts_that_nobody_reads_is_not_continued(kind: str, continues: bool) -> None:
    part = OpaquePart(0, kind, msgspec.Raw(b"{}"))
    request = ChatRequest("m", [{"role": "user", "content": "x"}])
    choice = attrs.evolve(TEXT, opaque=(part,), places=(PartPlace(1, 0, 0),))
    assert (uncontinuable(request, Partial((choice,)), 1) is None) == continues
