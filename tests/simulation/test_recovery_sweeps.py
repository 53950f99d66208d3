"""A stream that goes on after a break, disturbed at every step and cut at every byte."""

from contextlib import suppress
from random import Random
from typing import Any

import attrs
import pytest
import trio

from streamnursery import Engine, EngineError, Restarted, Resumed, TokenStream
from streamnursery.records import AttemptState
from streamnursery.simulator import Cut, Plan, Provider, Reset, Respond, Restate, Rule, When
from streamnursery.testing import World, cancel_at_every_step, cut_at_every_byte, wait_quiescent
from streamnursery.testing.sweeps import fail_at_every_io
from streamnursery.values.events import TextDelta
from streamnursery.values.policy import Retries
from streamnursery.values.settings import EngineConfig, ModelSettings, Route

POINTS = {"test": 12, "proof": 60, "soak": None}
CUTS = {"test": 20, "proof": 100, "soak": None}
RANDOM_CUTS = {"test": 50, "proof": 150, "soak": 10_000}
BREAK = Plan((Rule((Cut(3),), When(requests=(1,))),))


def config(world: World) -> EngineConfig:
    """As the world's, with servers that can go on with a given text."""
    plain = world.config(max_streams=1, retries=Retries(base=0.1, cap=0.1))
    endpoints = {
        name: attrs.evolve(endpoint, assistant_prefix="message")
        for name, endpoint in plain.endpoints.items()
    }
    return attrs.evolve(plain, endpoints=endpoints)


async def told(eng: Engine, **options: Any) -> tuple[str, EngineError | None]:
    """The text since the last `Restarted`, and what ended it if something did."""
    text, error = "", None
    async with eng.stream("gpt-4.1", "tell", max_tokens=8, timeout=120, **options) as stream:
        try:
            async for event in stream:
                if isinstance(event, Restarted):
                    text = ""
                elif isinstance(event, Resumed):
                    assert event.at == len(text)
                elif isinstance(event, TextDelta):
                    text += event.text
        except EngineError as caught:
            error = caught
        if error is not None and error.partial is not None:
            assert error.partial.text.startswith(text)
    return text, error


@pytest.mark.parametrize("ladder", ["restart", "continue"])
def test_a_stream_that_goes_on_is_cancelled_at_any_step_and_leaves_nothing(
    ladder: str, tier: str
) -> None:
    async def scenario(world: World, scope: trio.CancelScope) -> None:
        async with world.open_engine(config(world)) as eng:
            with scope:
                text, error = await told(eng, on_interrupt=ladder)
                assert error is None
                assert len(text.split()) == 8
            await wait_quiescent(eng)

    report = cancel_at_every_step(scenario, plan=BREAK, most=POINTS[tier])
    assert report.points >= min(report.possible, 5)


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("ladder", ["restart", "continue"])
def test_an_answer_cut_at_any_byte_is_whole_in_the_end(
    ladder: str, tier: str, *, reset: bool
) -> None:
    async def scenario(world: World) -> None:
        async with world.open_engine(config(world)) as eng:
            text, error = await told(eng, on_interrupt=ladder)
            log = world.provider.log
            if error is not None:
                # The text had ended, and only the end of the stream was lost.
                note = error.__notes__[0]
                assert "it had ended" in note or "max_tokens were used up" in note
            whole = log[0 if ladder == "continue" and log[0].sent_tokens else -1].intended()
            assert text in (log[0].intended(), whole)

    cut_at_every_byte(scenario, most=CUTS[tier], reset=reset)


def test_a_network_that_fails_anywhere_is_survived_or_told(tier: str) -> None:
    async def scenario(world: World) -> None:
        async with world.open_engine(config(world)) as eng:
            text, error = await told(eng, on_interrupt=["continue", "restart"])
            if error is None:
                assert len(text.split()) == 8

    fail_at_every_io(scenario, plan=BREAK, most=POINTS[tier])


def test_random_cuts_give_the_intended_text_or_an_error_with_the_partial(tier: str) -> None:
    """Lengths, places, kinds of cut and what the model repeats: all by dice."""
    streams, at_once = RANDOM_CUTS[tier], 50
    whole = continued = 0
    for start in range(0, streams, at_once):
        found = World(start).run(_cut_at_random, min(at_once, streams - start))
        whole, continued = whole + found[0], continued + found[1]
    # What is not whole had ended and only lost its end, or was cut too often.
    assert whole > streams * 0.6, (whole, streams)
    assert continued > streams * 0.2, (continued, streams)


async def _cut_at_random(world: World, count: int) -> tuple[int, int]:
    """Streams that are whole in the end, and those of them that had to be continued."""
    whole = continued = 0
    dice = Random(f"cuts {world.seed}")
    world.add_provider("plain", fresh=False)
    provider = world.providers["plain"]
    routed = {"gpt-4.1": ModelSettings("gpt-4.1", (Route("plain", "gpt-4.1"),))}
    async with world.open_engine(attrs.evolve(config(world), models=routed)) as eng:
        for number in range(count):
            words = dice.randint(1, 40)
            cuts = [
                Rule(
                    (_cut(dice, words), Restate(dice.choice((None, 12, 30)))),
                    When(requests=(len(provider.log) + ahead,)),
                )
                for ahead in range(1, dice.randint(1, 4) + 1)
            ]
            provider.plan = Plan((
                *cuts,
                Rule((Respond(words),)),
            ))
            stream = await _one(eng, number, _intended(provider, number, words))
            whole += stream.error is None
            broken = [a for a in stream.attempts if a.state is AttemptState.COMMITTED]
            continued += stream.error is None and bool(broken)
    return whole, continued


def _intended(provider: Provider, number: int, words: int) -> str:
    body = {"model": "gpt-4.1", "messages": [{"role": "user", "content": f"tell {number}"}]}
    return provider.expected_text(body, script=(Respond(words),))


def _cut(dice: Random, words: int) -> Cut | Reset:
    kind = dice.choice((Cut, Reset))
    if dice.random() < 0.5:
        return kind(dice.randint(0, words))
    return kind(dice.randint(0, 300 * (words + 3)), unit="bytes")


async def _one(eng: Engine, number: int, intended: str) -> TokenStream:
    text = ""
    async with eng.stream("gpt-4.1", f"tell {number}", on_interrupt="continue") as stream:
        with suppress(EngineError):
            async for event in stream:
                if isinstance(event, TextDelta):
                    text += event.text
    if stream.error is None:
        assert text == intended
    else:
        assert stream.error.partial is not None
        assert stream.error.partial.text == text
        assert intended.startswith(text)
    return stream
