"""How a stream goes on that broke after content was delivered.

Rule 1: the ladder is the caller's. Its rungs are tried in order, the first one that can be done is
        taken, and below the last one the stream fails with what broke it.
Rule 2: `restart` begins again, anywhere on the rest of the plan; what was delivered is void.
Rule 3: `continue` asks a model to go on with the delivered text. It takes one choice of plain text,
        not ended, and a route that is configured for it; what a model called, computed for a
        schema or thought in secret cannot be handed to another one.
Rule 4: `resume` reads on in the provider's own stream, after the last event that was delivered. It
        goes to the route that broke and to no other, and needs a cursor.
Rule 5: a rung whose attempt was refused for good, before it delivered anything, is not tried
        again; the next one starts from the failure that broke the stream.
Rule 6: where and when the next attempt is made is up to `next_step`, as for any retry.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs

from streamnursery.core.recovery.error_policy import RetryScope
from streamnursery.core.recovery.next_step import Failure, GiveUp, NextRoute, Step, TryAgain
from streamnursery.core.routing.route_plan import PlannedRoute
from streamnursery.values.partial import Partial
from streamnursery.values.policy import OnInterrupt
from streamnursery.values.request import ChatRequest

_ABOUT_THE_TEXT = frozenset({
    "citation",
    "citationMetadata",
    "groundingMetadata",
    "logprobs",
    "logprobsResult",
    "urlContextMetadata",
})
"""Opaque parts without which the text is the same."""

Usable: TypeAlias = Callable[[PlannedRoute], bool]
"""Whether an attempt of a certain kind can be made at a stop."""


@attrs.frozen
class Broken:
    """A stream that broke: what may be needed to go on with it."""

    failure: Failure
    stop: PlannedRoute
    uncontinuable: str | None
    """Why its text cannot be handed to a model; None when it can."""
    resumable: bool
    """The provider's stream has a cursor."""
    refused: frozenset[OnInterrupt] = frozenset()
    """Rungs that a provider has refused for good."""


@attrs.frozen
class GoOn:
    """The next attempt goes on with the stream, by this rung of the ladder."""

    how: OnInterrupt
    step: TryAgain | NextRoute
    passed: tuple[str, ...] = ()
    """The rungs above, with why they cannot be used."""

    def __str__(self) -> str:
        passed = "".join(f"; no {reason}" for reason in self.passed)
        return f"{self.how}: {self.step}{passed}"


def go_on(
    ladder: Sequence[OnInterrupt], broken: Broken, decide: Callable[[Usable], Step]
) -> GoOn | GiveUp:
    """The first rung that can be done; `decide` finds a step to a usable stop, or gives up."""
    passed: list[str] = []
    for how in ladder:
        if how == "fail":
            break
        why = _impossible(how, broken)
        if why is None:
            step = decide(_usable(how, broken))
            if not isinstance(step, GiveUp):
                return GoOn(how, step, tuple(passed))
            why = step.why.partition("; ")[2] or step.why
        passed.append(f"{how}: {why}")
    after = f"{broken.failure.what}, after content was delivered"
    return GiveUp("; no ".join([after, *passed]))


def _impossible(how: OnInterrupt, broken: Broken) -> str | None:
    if how in broken.refused:
        return "the provider refused it"
    if how == "continue":
        return broken.uncontinuable
    if how == "resume" and not broken.resumable:
        return "the provider's stream has no cursor"
    return None


def _usable(how: OnInterrupt, broken: Broken) -> Usable:
    if how == "continue":
        return lambda stop: stop.assistant_prefix != "off"
    if how == "resume":
        return lambda stop: stop.route == broken.stop.route
    return lambda _: True


def refused_for_good(how: OnInterrupt, failure: Failure) -> bool:
    """Whether asking in this way again would not help: the failure speaks of the question."""
    if failure.refused is not None:
        return False
    return failure.way is RetryScope.NOWHERE or (how == "resume" and not failure.retryable)


def uncontinuable(request: ChatRequest, partial: Partial, said: int) -> str | None:
    """Why the text of a broken answer cannot be continued by a model; None when it can. `said` are
    the content events of the answer so far, each of them a token at least."""
    if (request.n or 1) > 1 or len(partial.choices) > 1:
        return "more than one choice was asked for"
    choice = partial.choices[0] if partial.choices else None
    if choice is None:
        return "no text was delivered"
    facts = {
        f"it had ended with {choice.finish_reason!r}": choice.finish_reason is not None,
        "a tool call had begun": bool(choice.tool_calls),
        "a refusal had begun": bool(choice.refusal),
        "the answer is structured output": _structured(request),
        "it has parts that cannot be handed to another model": any(
            part.kind not in _ABOUT_THE_TEXT for part in choice.opaque
        ),
        "the model has reasoned, and another attempt would not know what": (
            bool(choice.reasoning) or _reasons(request, partial)
        ),
        "no text was delivered": not choice.text.strip(),
        "max_tokens were used up": request.max_tokens is not None and said >= request.max_tokens,
    }
    return next((why for why, holds in facts.items() if holds), None)


def _structured(request: ChatRequest) -> bool:
    asked = request.extra.get("response_format", request.response_format)
    plain = asked is None or (hasattr(asked, "get") and asked.get("type") == "text")
    return not plain or bool(request.extra.keys() & {"guided_json", "guided_grammar", "grammar"})


def _reasons(request: ChatRequest, partial: Partial) -> bool:
    effort = request.extra.get("reasoning_effort", request.reasoning_effort)
    reported = partial.usage.reasoning_tokens if partial.usage is not None else None
    return effort not in (None, "none") or bool(reported) or "reasoning" in request.extra
