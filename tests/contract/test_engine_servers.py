"""The engine against servers that nobody here wrote."""

import json
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from engine import ChatRequest, Engine, EngineError, Secret, open_engine
from tests.support.peers import INSTALLED, free_port, installed, lab, serving

pytestmark = pytest.mark.contract
ANSWER = "Hello in several chunks. Ünïcödé 日本語 🙂 done."
FIXTURES = [
    {"match": {"userMessage": "hello"}, "response": {"content": ANSWER}, "chunkSize": 5},
    {
        "match": {"userMessage": "tool"},
        "response": {"toolCalls": [{"name": "weather", "arguments": '{"city":"Oslo"}'}]},
    },
    {
        "match": {"userMessage": "limit"},
        "response": {"error": {"message": "m", "type": "rate_limit_error"}, "status": 429},
    },
    {
        "match": {"userMessage": "boom"},
        "response": {"error": {"message": "m", "type": "server_error"}, "status": 503},
    },
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
FAILURES = {"rate_limit_error", "server_error", "network_error", "parse_error"}
LITELLM = """
model_list:
  - {model_name: text, litellm_params: {model: openai/text, api_key: x, mock_response: "%s"}}
  - model_name: limited
    litellm_params: {model: openai/a, api_key: x, mock_response: litellm.RateLimitError}
  - model_name: broken
    litellm_params: {model: openai/b, api_key: x, mock_response: litellm.InternalServerError}
litellm_settings: {num_retries: 0, telemetry: false}
router_settings: {num_retries: 0, disable_cooldowns: true}
general_settings: {master_key: sk-contract}
"""


@asynccontextmanager
async def asking(
    url: str, *models: str, key: str = "sk-contract", attempts: int = 1
) -> AsyncIterator[Engine]:
    settings = {
        "endpoints": {"peer": {"url": url, "key": Secret(key)}},
        "models": {
            model: {
                "routes": [{"endpoint": "peer"}],
                "max_streams": 50,
                "retries": {"attempts": attempts, "base": 0.05},
            }
            for model in models
        },
    }
    with trio.fail_after(200):
        async with open_engine(settings) as eng:
            yield eng


@asynccontextmanager
async def aimock(folder: Path, *flags: str, attempts: int = 1) -> AsyncIterator[Engine]:
    script = lab("aimock.sh")
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    (folder / "f.json").write_text(json.dumps({"fixtures": FIXTURES}))
    INSTALLED.mkdir(parents=True, exist_ok=True)
    environ = {"LAB": str(INSTALLED), "FIXTURES": str(folder / "f.json")}
    port = free_port()
    with serving(port, folder, script, str(port), *flags, environ=environ) as url:
        async with asking(url, "m", attempts=attempts) as eng:
            yield eng


async def failure(eng: Engine, model: str, prompt: str) -> EngineError:
    with pytest.raises(EngineError) as caught:
        await eng.complete(model, prompt)
    return caught.value


async def test_aimock_streams_text_and_tool_calls(tmp_path: Path) -> None:
    async with aimock(tmp_path) as eng:
        completion = await eng.complete("m", "hello")
        assert (completion.text, completion.choices[0].finish_reason) == (ANSWER, "stop")
        assert completion.usage is not None
        (call,) = (await eng.complete("m", "tool")).choices[0].tool_calls
        assert (call.name, call.arguments) == ("weather", '{"city":"Oslo"}')


@pytest.mark.parametrize(
    ("prompt", "category", "retry_after"),
    [
        ("limit", "rate_limit_error", 1.0),
        ("boom", "server_error", None),
        ("cut", "network_error", None),
        ("die", "network_error", None),
    ],
)
async def test_a_failure_of_aimock_has_its_category(
    tmp_path: Path, prompt: str, category: str, retry_after: float | None
) -> None:
    async with aimock(tmp_path) as eng:
        error = await failure(eng, "m", prompt)
        assert (error.category, error.retry_after) == (category, retry_after)
        assert error.retryable
        if error.committed:
            assert error.partial is not None and ANSWER.startswith(error.partial.text)


@pytest.mark.parametrize("attempts", [1, 5])
async def test_every_request_ends_complete_or_categorised_under_chaos(
    tmp_path: Path, attempts: int
) -> None:
    kinds = ("drop", "malformed", "disconnect", "ratelimit")
    flags = [word for kind in kinds for word in (f"--chaos-{kind}", "0.05")]
    async with aimock(tmp_path, *flags, attempts=attempts) as eng:
        requests: Sequence[ChatRequest] = [
            ChatRequest("m", [{"role": "user", "content": "hello"}]) for _ in range(500)
        ]
        ends: Counter[str] = Counter()
        for outcome in await eng.settle(requests):
            if outcome.completion is not None:
                assert outcome.completion.text == ANSWER
                ends["complete"] += 1
            else:
                assert outcome.error is not None
                ends[getattr(outcome.error, "category", type(outcome.error).__name__)] += 1
        print(f"{attempts} attempts: {dict(ends)}")
        assert ends.total() == 500
        assert ends["complete"] > 0
        assert set(ends) <= FAILURES | {"complete"}


async def test_litellm_proxy_is_read_as_meant(tmp_path: Path) -> None:
    command = installed("litellm/bin/litellm")
    (tmp_path / "c.yaml").write_text(LITELLM % ANSWER)
    port = free_port()
    words = ("--config", "c.yaml", "--host", "127.0.0.1", "--port", str(port))
    environ = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with serving(port, tmp_path, command, *words, environ=environ) as url:
        async with asking(url, "text", "limited", "broken", "none") as eng:
            completion = await eng.complete("text", "hello", n=2)
            assert [choice.text for choice in completion.choices] == [ANSWER] * 2
            # The proxy ends the first choice and, by its end mark alone, the second.
            assert [choice.finish_reason for choice in completion.choices] == ["stop", None]
            assert completion.usage is not None
            assert (await failure(eng, "limited", "hello")).category == "rate_limit_error"
            assert (await failure(eng, "broken", "hello")).category == "server_error"
            assert not (await failure(eng, "none", "hello")).retryable
        async with asking(url, "text", key="sk-wrong") as eng:
            error = await failure(eng, "text", "hello")
            assert error.status in {400, 401}
            assert not error.retryable


async def test_mock_openai_api_is_read_as_meant(tmp_path: Path) -> None:
    command = installed("npm/node_modules/.bin/mock-openai-api")
    port = free_port()
    with serving(port, tmp_path, command, "-p", str(port), "-H", "127.0.0.1") as url:
        async with asking(url, "mock-gpt-thinking", "gpt-4-mock", "none") as eng:
            thought = await eng.complete("mock-gpt-thinking", "hello")
            assert thought.text.startswith("Hello!")
            assert thought.choices[0].reasoning
            assert thought.usage is not None and thought.usage.reasoning_tokens == 64
            # It goes on with a second answer behind its end mark.
            choice = (await eng.complete("gpt-4-mock", "hello")).choices[0]
            assert (choice.finish_reason, choice.text) == ("tool_calls", "")
            assert [call.name for call in choice.tool_calls] == ["get_time"]
            error = await failure(eng, "none", "hello")
            assert (error.category, error.status) == ("model_error", 200)
