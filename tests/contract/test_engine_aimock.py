"""The engine against aimock, a server of fixtures, with faults of its own."""

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine import ChatRequest, Engine
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
CHAOS = {"rate_limit_error", "server_error", "network_error", "parse_error"}


@asynccontextmanager
async def aimock(folder: Path, *flags: str, attempts: int = 1) -> AsyncIterator[Engine]:
    (folder / "f.json").write_text(json.dumps({"fixtures": FIXTURES}))
    port = free_port()
    # Its other command, `aimock`, reads a configuration file instead.
    command = (INSTALLED / AIMOCK).with_name("llmock")
    words = ("-p", str(port), "-h", "127.0.0.1", "-f", str(folder / "f.json"), *flags)
    with serving(port, folder, command, *words) as url:
        async with asking(url, "m", attempts=attempts) as eng:
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


@pytest.mark.parametrize("attempts", [1, 5])
async def test_every_request_ends_complete_or_categorised_under_chaos(
    tmp_path: Path, attempts: int
) -> None:
    kinds = ("drop", "malformed", "disconnect", "ratelimit")
    flags = [word for kind in kinds for word in (f"--chaos-{kind}", "0.05")]
    async with aimock(tmp_path, *flags, attempts=attempts) as eng:
        requests = [ChatRequest("m", [{"role": "user", "content": "hello"}]) for _ in range(300)]
        ends: Counter[str] = Counter()
        for outcome in await eng.settle(requests):
            if outcome.completion is not None:
                assert outcome.completion.text == ANSWER
                ends["complete"] += 1
            else:
                ends[getattr(outcome.error, "category", repr(outcome.error))] += 1
        print(f"aimock's chaos, {attempts} attempts: {dict(ends)}")
        assert ends.total() == 300
        assert ends["complete"] > 150
        # Its "malformed" is a page of nonsense in place of the answer, which nobody tries again.
        assert ends.keys() <= (CHAOS if attempts == 1 else {"parse_error"}) | {"complete"}
