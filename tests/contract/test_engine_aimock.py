"""The engine against aimock, a server of fixtures, with faults of its own."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest

from streamnursery import ChatRequest, Engine, EngineError, Resumed, Retries, TextDelta, open_engine
from streamnursery.values.settings import ModelSettings, Route
from tests.support.peers import INSTALLED, asking, failure, free_port, needs, serving

AIMOCK = "npm/node_modules/.bin/aimock"
pytestmark = [pytest.mark.contract, needs(AIMOCK, "node")]
ANSWER = "Hello in several chunks. Ünïcödé 日本語 🙂 done."
ERRORS = {"limit": (429, "rate_limit_error"), "boom": (503, "server_error"), "key": (401, "auth")}
FIXTURES = [
    {"match": {"userMessage": "hello"}, "response": {"content": ANSWER}, "chunkSize": 5},
    {
        "match": {"userMessage": "tool"},
        "response": {"toolCalls": [{"name": "weather", "arguments": '{"city":"Oslo"}'}]},
    },
    {
        "match": {"userMessage": "think"},
        "response": {"reasoning": "Let me see.", "content": ANSWER},
    },
    *(
        {
            "match": {"userMessage": prompt},
            "response": {"error": {"message": "m", "type": kind}, "status": status},
        }
        for prompt, (status, kind) in ERRORS.items()
    ),
    {"match": {"userMessage": "cut", "model": "whole"}, "response": {"content": ANSWER}},
    {
        "match": {"userMessage": "cut"},
        "response": {"content": ANSWER},
        "chunkSize": 5,
        "latency": 20,
        "truncateAfterChunks": 3,
    },
    {
        "match": {"userMessage": "die"},
        "response": {"content": ANSWER},
        "chunkSize": 5,
        "latency": 50,
        "disconnectAfterMs": 120,
    },
]


@asynccontextmanager
async def aimock(folder: Path, *flags: str, attempts: int = 1) -> AsyncIterator[Engine]:
    (folder / "f.json").write_text(json.dumps({"fixtures": FIXTURES}))
    port = free_port()
    # Its other command, `aimock`, reads a configuration file instead.
    command = (INSTALLED / AIMOCK).with_name("llmock")
    words = ("-p", str(port), "-h", "127.0.0.1", "-f", str(folder / "f.json"), *flags)
    with serving(port, folder, command, *words) as url:
        # Its 429 says that no token is left for six minutes, and means one second.
        async with asking(url, "m", attempts=attempts, learn_rates=False) as eng:
            yield eng


async def test_text_reasoning_and_tool_calls_are_streamed(tmp_path: Path) -> None:
    async with aimock(tmp_path) as eng:
        completion = await eng.complete("m", "hello")
        assert (completion.text, completion.choices[0].finish_reason) == (ANSWER, "stop")
        assert completion.usage is not None
        (call,) = (await eng.complete("m", "tool")).choices[0].tool_calls
        assert (call.name, call.arguments) == ("weather", '{"city":"Oslo"}')
        thought = (await eng.complete("m", "think")).choices[0]
        assert (thought.reasoning, thought.text) == ("Let me see.", ANSWER)


@pytest.mark.parametrize(
    ("prompt", "category", "retry_after"),
    [
        ("limit", "rate_limit_error", 1.0),
        ("boom", "server_error", None),
        ("cut", "network_error", None),
        ("die", "network_error", None),
    ],
)
async def test_a_passing_failure_has_its_category_and_may_be_retried(
    tmp_path: Path, prompt: str, category: str, retry_after: float | None
) -> None:
    async with aimock(tmp_path) as eng:
        error = await failure(eng, "m", prompt)
        assert (error.category, error.retry_after) == (category, retry_after)
        assert error.retryable
        if error.committed:
            assert error.partial is not None
            assert ANSWER.startswith(error.partial.text)


async def test_a_lasting_failure_may_not(tmp_path: Path) -> None:
    async with aimock(tmp_path) as eng:
        for prompt, category in (("key", "authentication_error"), ("unknown", "model_error")):
            error = await failure(eng, "m", prompt)
            assert error.category == category
            assert not error.retryable


async def test_a_broken_answer_is_continued_by_a_model_that_says_it_from_the_start(
    tmp_path: Path,
) -> None:
    """aimock takes no notice of the prefix: the second model repeats all of it."""
    async with aimock(tmp_path) as eng, asking_on(eng) as both:
        async with both.stream("m", "cut", on_interrupt="continue") as stream:
            events = [event async for event in stream]
        text = "".join(event.text for event in events if isinstance(event, TextDelta))
        (mark,) = (event for event in events if isinstance(event, Resumed))
        assert 0 < mark.at < len(ANSWER)
        assert text == ANSWER
        assert [attempt.state.value for attempt in stream.attempts] == ["committed", "done"]
        # Where every model breaks off again, what was delivered stays, with the reason.
        async with both.stream("whole", "die", on_interrupt="continue") as stream:
            with pytest.raises(EngineError) as caught:
                await stream.completion()
        assert caught.value.partial is not None
        assert ANSWER.startswith(caught.value.partial.text)
        assert "no continue" in caught.value.__notes__[0]


@asynccontextmanager
async def asking_on(eng: Engine) -> AsyncIterator[Engine]:
    """An engine at the same server, where `m` has another route, the model `whole`."""
    peer = attrs.evolve(eng.config.endpoints["peer"], assistant_prefix="message")
    routes = (Route("peer", "m"), Route("peer", "whole"))
    retries = Retries(attempts=2, base=0.05)
    models = {
        "m": ModelSettings("m", routes, retries=retries),
        "whole": ModelSettings("whole", routes[1:], retries=retries),
    }
    config = attrs.evolve(eng.config, endpoints={"peer": peer}, models=models)
    async with open_engine(config) as other:
        yield other


REQUESTS = 500


async def ends_of(eng: Engine) -> Counter[str]:
    """How 500 requests ended: complete to the letter, or with an error of this category."""
    requests = [ChatRequest("m", [{"role": "user", "content": "hello"}]) for _ in range(REQUESTS)]
    ends: Counter[str] = Counter()
    for outcome in await eng.settle(requests):
        if outcome.completion is not None:
            assert outcome.completion.text == ANSWER
            ends["complete"] += 1
        else:
            ends[getattr(outcome.error, "category", repr(outcome.error))] += 1
    assert ends.total() == REQUESTS
    return ends


@pytest.mark.parametrize(
    ("kind", "rate", "category"),
    [
        ("drop", "0.2", "server_error"),
        ("malformed", "0.2", "parse_error"),
        # A reused connection that breaks before the answer costs a silent second try. Where half
        # of all attempts fail, the breaker leaves the route alone.
        ("disconnect", "0.35", "network_error"),
        # Each one pauses the route for everybody, so that few are enough.
        ("ratelimit", "0.03", "rate_limit_error"),
    ],
)
async def test_a_kind_of_chaos_has_its_category(
    tmp_path: Path, kind: str, rate: str, category: str
) -> None:
    async with aimock(tmp_path, f"--chaos-{kind}", rate, attempts=1) as eng:
        ends = await ends_of(eng)
        print(f"aimock's {kind}, 1 attempt: {dict(ends)}")
        assert ends.keys() == {"complete", category}


async def test_chaos_of_all_kinds_is_outlived(tmp_path: Path) -> None:
    kinds = ("drop", "malformed", "disconnect", "ratelimit")
    flags = [word for kind in kinds for word in (f"--chaos-{kind}", "0.05")]
    async with aimock(tmp_path, *flags, attempts=8) as eng:
        ends = await ends_of(eng)
        print(f"aimock's chaos, 8 attempts: {dict(ends)}")
        assert ends == {"complete": REQUESTS}
