"""The HTTP clients that SDKs are given: what is sent for them, and what they get back."""

import gc
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from types import ModuleType
from typing import Any

import httpx
import httpx2
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import streamnursery as sn
from streamnursery import ConfigError, Secret, sdk
from streamnursery.config import config_from_mapping
from streamnursery.config.providers import ProviderPreset
from streamnursery.sdk import asked
from streamnursery.sdk.asked import asked_of
from streamnursery.serving.steps import How
from streamnursery.simulator import Stall, Status
from tests.support.recorded import Recorded, engine_at
from tests.support.scene import always, scene, virtual

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
WHOLE = [TEXT, b"data: [DONE]\n\n"]
SDK_KEY = {"authorization": "Bearer sk-sdk"}
LIBRARIES: tuple[Any, ...] = (httpx, httpx2)


def settings(origin: str, **model: Any) -> dict[str, Any]:
    own = {"routes": [{"endpoint": "main"}], "retries": {"attempts": 1}, **model}
    main = {"url": f"{origin}/v1", "key": Secret("sk-engine")}
    return {"endpoints": {"main": main}, "models": {"m": own}}


@asynccontextmanager
async def client_at(
    recorded: Recorded, given: dict[str, Any] | None = None, library: Any = httpx2
) -> AsyncIterator[Any]:
    """A client over an engine all of whose servers are `recorded`, in memory."""
    async with engine_at(recorded, given or settings("http://main.example.com")) as eng:
        async with sdk.async_client(eng, library=library.__name__) as client:
            yield client


URL = "http://main.example.com/v1/chat/completions"


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
def test_a_stream_is_read_and_a_cut_one_raises(library: ModuleType) -> None:
    lib: Any = library

    @virtual
    async def run() -> None:
        recorded = Recorded(WHOLE)
        async with client_at(recorded, library=library) as client:
            async with client.stream("POST", URL, json=BODY, headers=SDK_KEY) as answer:
                assert answer.status_code == 200
                assert await answer.aread() == b"".join(WHOLE)
            recorded.pieces, recorded.how = WHOLE[:1], How.CUT
            with pytest.raises((lib.RemoteProtocolError, lib.ReadError)) as caught:
                await client.post(URL, json=BODY)
            assert isinstance(caught.value.__cause__, sn.EngineError)
            recorded.how = How.KEEP
            with pytest.raises(lib.RemoteProtocolError, match="ended"):
                await client.post(URL, json=BODY)

    run()


@virtual
async def test_the_sdks_key_goes_to_its_own_server_and_to_no_other() -> None:
    given = settings("http://main.example.com")
    given["endpoints"]["b"] = {"url": "http://b.example.com/v1", "key": Secret("sk-b")}
    given["models"]["m"]["routes"].append({"endpoint": "b"})
    recorded = Recorded(WHOLE, refuses=1)
    async with client_at(recorded, given) as client:
        own = {**SDK_KEY, "x-stainless-lang": "python"}
        assert (await client.post(URL, json=BODY, headers=own)).status_code == 200
    first, second = recorded.asked
    assert (first.headers["host"], second.headers["host"]) == ("main.example.com", "b.example.com")
    assert first.headers["authorization"] == "Bearer sk-sdk"
    assert second.headers["authorization"] == "Bearer sk-b"
    assert first.headers["x-stainless-lang"] == "python"
    assert "x-stainless-lang" not in second.headers


@virtual
async def test_a_key_that_the_engine_lacks_may_be_the_sdks() -> None:
    given = settings("http://main.example.com")
    given["endpoints"]["main"]["key"] = {"env": "NO_SUCH_VARIABLE"}
    recorded = Recorded(WHOLE)
    async with client_at(recorded, given) as client:
        assert (await client.post(URL, json=BODY, headers=SDK_KEY)).status_code == 200
        refused = await client.post(URL, json=BODY)
        assert refused.status_code == 400
        assert "no key for endpoint 'main'" in refused.json()["error"]["message"]
    assert len(recorded.asked) == 1


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (
            "https://api.openai.com/v1/chat/completions",
            ("https://api.openai.com/v1", "/chat/completions", "openai-chat"),
        ),
        (
            "https://api.anthropic.com:443/v1/messages?beta=true",
            ("https://api.anthropic.com/v1", "/messages?beta=true", "anthropic-messages"),
        ),
        (
            "https://generativelanguage.googleapis.com/v1beta/models/m:streamGenerateContent",
            (
                "https://generativelanguage.googleapis.com/v1beta",
                "/models/m:streamGenerateContent",
                "gemini",
            ),
        ),
        ("https://api.openai.com/v2/x", ("https://api.openai.com", "/v2/x", "")),
        ("http://api.openai.com/v1/x", ("http://api.openai.com", "/v1/x", "")),
        ("http://[::1]:80/v1/x", ("http://[::1]", "/v1/x", "")),
        ("http://a.example:81", ("http://a.example:81", "/", "")),
    ],
)
def test_providers_are_known_without_any_configuration(
    url: str, wanted: tuple[str, str, str]
) -> None:
    asked = asked_of(httpx2.Request("POST", url), b"", config_from_mapping({}))
    assert (asked.endpoint, asked.path, asked.language) == wanted


ANTHROPIC = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"i","model":"c",'
    b'"content":[],"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"x"}}\n\n'
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},'
    b'"usage":{"output_tokens":2}}\n\n'
)
STOPPED = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


@virtual
async def test_the_language_of_a_known_provider_tells_what_is_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # In memory there is no TLS: the provider has an address without.
    known = ProviderPreset("there", "http://there.example/v1", (), dialect="anthropic-messages")
    monkeypatch.setattr("streamnursery.config.providers.PROVIDERS", (known,))
    recorded = Recorded([ANTHROPIC, STOPPED])
    url = "http://there.example/v1/messages"
    async with client_at(recorded, {"engine": {}}) as client:
        own = {"x-api-key": "sk-sdk", "anthropic-version": "2023-06-01"}
        answer = await client.post(url, json=BODY, headers=own)
        assert (answer.status_code, answer.content) == (200, ANTHROPIC + STOPPED)
        recorded.pieces = [ANTHROPIC]
        # anthropic does not wrap errors of the HTTP library: it is told in its API's own event.
        whole, _, last = (await client.post(url, json=BODY, headers=own)).content.rpartition(
            b"event: error\ndata: "
        )
        assert whole == ANTHROPIC[: ANTHROPIC.rindex(b"\n\n") + 2]
        assert json.loads(last)["error"]["type"] == "api_error"
        # What its language does not know of is passed through as at any server.
        recorded.pieces = [b"{}"]
        recorded.headers = (("content-type", "application/json"),)
        assert (await client.get("http://there.example/status")).content == b"{}"
    assert [asked.target for asked in recorded.asked] == ["/v1/messages"] * 2 + ["/status"]
    assert recorded.asked[0].headers["x-api-key"] == "sk-sdk"


@virtual
async def test_a_server_that_nobody_knows_is_passed_through() -> None:
    recorded = Recorded([b"data: 1\n\n"], refuses=1)
    async with client_at(recorded) as client:
        url = "http://other.example:8080/x/y?z=1"
        assert (await client.post(url, json=BODY, headers=SDK_KEY)).status_code == 503
        assert (await client.post(url, json=BODY, headers=SDK_KEY)).content == b"data: 1\n\n"
    assert [asked.target for asked in recorded.asked] == ["/x/y?z=1"] * 2
    assert json.loads(recorded.asked[0].body) == BODY
    assert recorded.asked[0].headers["authorization"] == "Bearer sk-sdk"
    assert recorded.asked[0].headers["host"] == "other.example:8080"


@virtual
async def test_headers_for_the_engine_are_taken_and_stripped() -> None:
    recorded = Recorded(WHOLE)
    async with engine_at(recorded, settings("http://main.example.com")) as eng:
        async with sdk.async_client(eng) as client:
            given = {"X-Streamnursery-Tenant": "ada", "x-streamnursery-priority": "batch"}
            assert (await client.post(URL, json=BODY, headers=given)).status_code == 200
            assert [line.tenant for line in eng.usage_report().lines] == ["ada"]
            for wrong in ("soon", "-1", "inf"):
                given = {"x-streamnursery-deadline": wrong}
                refused = await client.post(URL, json=BODY, headers=given)
                assert refused.status_code == 400
                assert "seconds from now" in refused.json()["error"]["message"]
            refused = await client.post(
                URL, json=BODY, headers={"x-streamnursery-priority": "highest"}
            )
            assert refused.status_code == 400
    (asked,) = recorded.asked
    assert not [name for name in asked.headers if "streamnursery" in name]


@virtual
async def test_that_an_sdk_retries_by_itself_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    asked._say_once.cache_clear()
    async with client_at(Recorded(WHOLE)) as client:
        for count in ("0", "1", "2"):
            own = {**SDK_KEY, "x-stainless-retry-count": count}
            assert (await client.post(URL, json=BODY, headers=own)).status_code == 200
    (said,) = caplog.messages
    assert "max_retries=0" in said


@virtual
async def test_a_deadline_ends_a_request() -> None:
    async with scene(always(Stall(3))) as s:
        async with sdk.async_client(s.engine) as client:
            with pytest.raises(httpx2.TimeoutException):
                await client.post(
                    "http://main.example.com/v1/chat/completions",
                    json=BODY,
                    headers={"x-streamnursery-deadline": "5"},
                )
        assert trio.current_time() == pytest.approx(5, abs=0.1)


REFUSALS: tuple[tuple[str, dict[str, Any], int, str], ...] = (
    ("/v1/chat/completions", {"budget": True}, 429, "insufficient_quota"),
    ("/v1/messages", {"budget": True}, 429, "rate_limit_error"),
    ("/v1/models/m:streamGenerateContent?alt=sse", {"budget": True}, 429, "RESOURCE_EXHAUSTED"),
    ("/v1/chat/completions", {"queue": True}, 429, "rate_limit_error"),
    ("/v1/messages", {"closing": True}, 503, "overloaded_error"),
)


@pytest.mark.parametrize(("path", "why", "status", "word"), REFUSALS)
def test_refusals_of_the_engine_have_the_shape_of_the_path(
    path: str, why: dict[str, Any], status: int, word: str
) -> None:
    language = "anthropic-messages" if "messages" in path else "openai-chat"
    language = "gemini" if "Generate" in path else language
    given = settings("http://main.example.com", price={"input": "1", "output": "1"})
    given["endpoints"]["main"]["dialect"] = language
    if "budget" in why:
        given["budgets"] = {"daily": "0.000000001 USD"}
    if "queue" in why:
        given["engine"] = {"max_streams": 0, "max_queued": 0}

    @virtual
    async def run() -> None:
        recorded = Recorded(WHOLE)
        async with engine_at(recorded, given) as eng:
            async with sdk.async_client(eng) as client:
                if "closing" in why:
                    await eng.drain(timeout=0)
                url = f"http://main.example.com{path}"
                answer = await client.post(url, json=BODY, headers=SDK_KEY)
        assert answer.status_code == status
        assert answer.headers["x-should-retry"] == "false"
        assert word in answer.text
        assert not recorded.asked

    run()


@virtual
async def test_an_answer_that_says_no_tells_the_sdk_not_to_ask_again() -> None:
    async with scene(always(Status(429, 2.0))) as s:
        async with sdk.async_client(s.engine) as client:
            answer = await client.post(
                "http://main.example.com/v1/chat/completions", json=BODY, headers=SDK_KEY
            )
    assert answer.status_code == 429
    assert answer.headers["x-should-retry"] == "false"
    assert answer.headers["retry-after"]


@virtual
async def test_closing_an_answer_or_dropping_it_leaves_the_relay() -> None:
    recorded = Recorded([TEXT] * 1000)
    async with engine_at(recorded, settings("http://main.example.com")) as eng:
        async with sdk.async_client(eng) as client:
            async with client.stream("POST", URL, json=BODY) as answer:
                async with aclosing(answer.aiter_raw()) as pieces:
                    assert await anext(pieces) == TEXT
            assert eng.statistics().models["m"].active == 0
            dropped = await client.send(client.build_request("POST", URL, json=BODY), stream=True)
            assert eng.statistics().models["m"].active == 1
            del dropped
            gc.collect()
            await wait_all_tasks_blocked()
            assert eng.statistics().models["m"].active == 0


def test_what_is_no_engine_and_no_library_is_said() -> None:
    wrong: Any = 7
    with pytest.raises(ConfigError, match="async_client takes an engine"):
        sdk.async_client(wrong)
    with pytest.raises(ConfigError, match=r"^client takes an engine of streamnursery\.sync"):
        sdk.client(wrong)
    with pytest.raises(ConfigError, match="'httpx' or 'httpx2'"):
        sdk.client(library=wrong)
