"""A relay has everything that a stream has before its first byte, and leaves nothing behind."""

import json
from typing import Any

import pytest
import trio

from streamnursery import (
    AuthError,
    BudgetExceededError,
    ConfigError,
    Engine,
    EngineError,
    OverloadedError,
    RequestError,
    Secret,
    TruncatedStreamError,
)
from streamnursery.errors import TooLargeError
from streamnursery.serving.steps import How
from streamnursery.simulator import Cut, InStreamError, Plan, Status
from streamnursery.simulator.fault import Fault
from streamnursery.testing import World, cancel_at_every_step
from tests.support.recorded import Recorded, engine_at, relaying
from tests.support.scene import AT_ONCE, PACED, Scene, always, once, scene, virtual

CHAT = "/chat/completions"
JSON = ("content-type", "application/json")
BODY: dict[str, Any] = {
    "model": "m",
    "messages": [{"role": "user", "content": "Hi"}],
    "stream": True,
}
PRICE = {"input": "1", "output": "1"}


async def read(
    eng: Engine, body: dict[str, Any] = BODY, *, path: str = CHAT, **options: Any
) -> tuple[int, bytes]:
    async with eng.relay("m", path, body, **options) as answer:
        return answer.status, await answer.read()


def text_of(data: bytes) -> str:
    events = [line[6:] for line in data.split(b"\n\n") if line.startswith(b"data: {")]
    chunks = [json.loads(event) for event in events]
    return "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])


def said(s: Scene) -> str:
    return s.provider.expected_text(BODY)


# What comes before the first byte. ---------------------------------------------------------------


@virtual
async def test_an_answer_is_handed_on_with_its_figures() -> None:
    async with scene(profile=PACED) as s:
        async with s.engine.relay("m", CHAT, BODY) as answer:
            assert answer.status == 200
            assert ("content-type", "text/event-stream; charset=utf-8") in answer.headers
            assert not {"transfer-encoding", "connection"} & {n for n, _ in answer.headers}
            data = await answer.read()
            assert text_of(data) == said(s)
            assert answer.usage is not None
            assert answer.usage.output_tokens == 10
            assert answer.timings.time_to_first_token == 1.0
            assert answer.route == "main/m"
        model = s.engine.statistics().models["m"]
        assert (model.succeeded, model.output_tokens) == (1, 10)


@pytest.mark.parametrize("fault", [Status(503), Cut(0), InStreamError(0)])
def test_what_fails_before_the_first_content_is_asked_again_unseen(fault: Fault) -> None:
    @virtual
    async def run() -> None:
        async with scene(once(fault), profile=AT_ONCE) as s:
            status, data = await read(s.engine)
            assert (status, text_of(data)) == (200, said(s))
            assert s.asked == 2

    run()


@virtual
async def test_a_break_behind_content_hands_on_what_came_and_raises() -> None:
    async with scene(always(Cut(3))) as s:
        got = b""
        with pytest.raises(EngineError) as caught:
            async with s.engine.relay("m", CHAT, BODY) as answer:
                async for piece in answer:
                    got += piece
        assert caught.value.committed
        assert s.asked == 1
        assert said(s).startswith(text_of(got))
        assert text_of(got)


@virtual
async def test_an_error_inside_the_stream_is_handed_on_behind_content() -> None:
    async with scene(always(InStreamError(3, message="Broken."))) as s:
        got = b""
        with pytest.raises(EngineError):
            async with s.engine.relay("m", CHAT, BODY) as answer:
                async for piece in answer:
                    got += piece
        assert b"Broken." in got


@virtual
async def test_an_answer_that_says_no_is_handed_on_when_no_attempt_is_left() -> None:
    retries = {"attempts": 2, "base": 0.1}
    async with scene(always(Status(429, 0.5)), model={"retries": retries}) as s:
        async with s.engine.relay("m", CHAT, BODY) as answer:
            assert answer.status == 429
            assert dict(answer.headers)["retry-after"]
            body = await answer.read()
            assert "error" in json.loads(body)
            assert dict(answer.headers)["content-length"] == str(len(body))
            assert answer.error is not None
        assert s.asked == 2


def two_endpoints(**second: Any) -> dict[str, Any]:
    routes = [{"endpoint": "main"}, {"endpoint": "b", "model": "other-m"}]
    return {
        "endpoints": {
            "main": {"url": "http://main.example.com/v1", "key": Secret("sk-main")},
            "b": {"url": "http://b.example.com/api/v2", "key": Secret("sk-b"), **second},
        },
        "models": {"m": {"routes": routes, "retries": {"attempts": 1}}},
    }


@virtual
async def test_it_falls_back_under_the_other_endpoints_path_model_and_key() -> None:
    recorded = Recorded([TEXT, b"data: [DONE]\n\n"], refuses=1)
    async with engine_at(recorded, two_endpoints()) as eng:
        own = {"x-private": "mine", "openai-beta": "a=b"}
        assert (await read(eng, path=f"/v1{CHAT}?trace=1", headers=own))[0] == 200
    first, second = recorded.asked
    assert (first.target, second.target) == (f"/v1{CHAT}?trace=1", f"/api/v2{CHAT}")
    assert [json.loads(asked.body)["model"] for asked in recorded.asked] == ["m", "other-m"]
    assert [asked.headers["openai-beta"] for asked in recorded.asked] == ["a=b", "a=b"]
    assert first.headers["x-private"] == "mine"
    assert "x-private" not in second.headers
    keys = [asked.headers["authorization"] for asked in recorded.asked]
    assert keys == ["Bearer sk-main", "Bearer sk-b"]


@virtual
async def test_a_credential_of_the_caller_goes_home_and_nowhere_else() -> None:
    recorded = Recorded([TEXT, b"data: [DONE]\n\n"], refuses=1)
    async with engine_at(recorded, two_endpoints(auth="api-key")) as eng:
        await read(eng, headers={"x-api-key": Secret("sk-caller")})
        with pytest.raises(RequestError, match="Secret"):
            await read(eng, headers={"authorization": "Bearer sk-caller"})
    first, second = recorded.asked
    assert first.headers["x-api-key"] == "sk-caller"
    assert "authorization" not in first.headers
    assert "x-api-key" not in second.headers
    assert second.headers["api-key"] == "sk-b"


@virtual
async def test_with_exact_no_route_is_asked_under_another_name() -> None:
    recorded = Recorded([TEXT, b"data: [DONE]\n\n"], refuses=1)
    async with engine_at(recorded, two_endpoints()) as eng:
        assert (await read(eng, exact=True))[0] == 503
        with pytest.raises(RequestError, match="may not be changed"):
            await read(eng, {**BODY, "model": "something"}, exact=True)
    assert len(recorded.asked) == 1


@virtual
async def test_routes_of_another_dialect_are_left_out() -> None:
    endpoints = {
        "main": {"url": "http://main.example.com/v1"},
        "b": {"url": "http://b.example.com/v1", "dialect": "anthropic-messages"},
    }
    retries = {"attempts": 1}
    plan = always(Status(503))
    model = {"retries": retries}
    async with scene(plan, backups={"b": Plan()}, endpoints=endpoints, model=model) as s:
        assert (await read(s.engine))[0] == 503
        assert not list(s.providers["b"].log)
        with pytest.raises(RequestError, match="no route of 'm' takes this request"):
            async with s.engine.relay("m", "/models/m:generateContent", {"contents": []}):
                pass


@virtual
async def test_never_more_than_the_cap_run_upstream() -> None:
    async with scene(profile=PACED, engine={"max_streams": 20}) as s:
        most = 0

        async def one() -> None:
            nonlocal most
            async with s.engine.relay("m", CHAT, BODY) as answer:
                running = sum(r.ended_at is None for r in s.provider.log)
                most = max(most, running)
                await answer.read()

        async with trio.open_nursery() as nursery:
            for _ in range(1000):
                nursery.start_soon(one)
        assert s.asked == 1000
        assert most == 20


@virtual
async def test_500_hang_ups_leave_nothing() -> None:
    async with scene(profile=PACED, engine={"max_streams": 50}) as s:

        async def one(number: int) -> None:
            with trio.move_on_after(number % 50 * 0.05):
                async with s.engine.relay("m", CHAT, BODY) as answer:
                    await answer.read()

        async with trio.open_nursery() as nursery:
            for number in range(500):
                nursery.start_soon(one, number)
        assert s.engine.statistics().buffered_bytes == 0


async def _cancelled(world: World, scope: trio.CancelScope) -> None:
    async with world.open_engine(world.config(max_streams=1)) as eng:
        with scope:
            for stream in (True, False):
                body = {**BODY, "model": "gpt-4.1", "stream": stream, "max_tokens": 3}
                async with eng.relay("gpt-4.1", CHAT, body) as answer:
                    await answer.read()


def test_a_cancel_at_any_step_leaves_nothing(tier: str) -> None:
    cancel_at_every_step(_cancelled, most={"test": 40}.get(tier))


@virtual
async def test_a_budget_is_held_and_settled_with_what_was_told() -> None:
    budgets = {"daily": "0.001 USD"}
    async with scene(profile=AT_ONCE, model={"price": PRICE}, budgets=budgets) as s:
        assert (await read(s.engine, {**BODY, "max_tokens": 20}))[0] == 200
        (spent,) = s.engine.usage_report().lines
        assert (spent.output_tokens, spent.estimated, spent.reserved) == (10, 0, 0)
        assert spent.spent > 0
        with pytest.raises(BudgetExceededError):
            await read(s.engine, {**BODY, "max_tokens": 10_000})


@virtual
async def test_the_deadline_ends_it() -> None:
    async with scene(profile=PACED) as s:
        with pytest.raises(EngineError):
            await read(s.engine, timeout=1.5)
        assert trio.current_time() == pytest.approx(1.5, abs=0.1)


# What is sent. -----------------------------------------------------------------------------------


@virtual
async def test_usage_is_asked_for_and_the_model_has_its_name_on_the_wire() -> None:
    recorded = Recorded([TEXT, b"data: [DONE]\n\n"])
    async with relaying(recorded) as eng:
        raw = b'{"model":"m",  "messages":[ ],"stream":true,"big":123456789012345678901234567890}'
        async with eng.relay("m", CHAT, raw, headers=dict([JSON])) as answer:
            await answer.read()
        async with eng.relay("m", CHAT, raw, exact=True) as answer:
            await answer.read()
            assert answer.usage is None
        changed, exact = recorded.asked
        assert json.loads(changed.body)["stream_options"] == {"include_usage": True}
        assert b'"big":123456789012345678901234567890' in changed.body
        assert exact.body == raw
        assert changed.headers["accept-encoding"] == "identity"


TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'


@virtual
async def test_headers_of_the_connection_stay_here() -> None:
    recorded = Recorded([TEXT, b"data: [DONE]\n\n"], headers=(("x-a", "1"), ("keep-alive", "5")))
    async with relaying(recorded) as eng:
        given = {"Connection": "x-hop", "X-Hop": "1", "Host": "evil", "X-Own": "2", "TE": "gzip"}
        async with eng.relay("m", CHAT, BODY, headers=given) as answer:
            assert answer.headers == (("x-a", "1"),)
            await answer.read()
        sent = recorded.asked[0].headers
        assert sent["x-own"] == "2"
        assert sent["host"] == "main.example.com"
        assert not {"x-hop", "te"} & sent.keys()


@pytest.mark.parametrize(
    "path",
    [
        "http://evil.example/v1",
        "//evil.example/v1",
        "chat/completions",
        "/v1/../admin",
        "/v1/%2e%2e/admin",
        "/v1/%252e%252e/admin",
        "/a\r\nx: y",
        "/a b",
        "/a#b",
        "/a?b=%0d%0a",
        "/a\\b",
        7,
    ],
)
def test_a_path_is_a_path_and_a_query_alone(path: Any) -> None:
    @virtual
    async def run() -> None:
        async with scene() as s:
            with pytest.raises(RequestError, match="a relay's path is"):
                async with s.engine.relay("m", path, BODY):
                    pass
            assert s.asked == 0

    run()


@virtual
async def test_what_cannot_be_used_is_said_before_anything_is_sent() -> None:
    async with scene(engine={"max_relayed_bytes": 100}) as s:
        for options, error in (
            ({"body": b"x" * 101}, "max_relayed_bytes"),
            ({"body": 7}, "body must be bytes"),
            ({"method": "TRACE"}, "method must be one of"),
            ({"headers": 7}, "headers must be a mapping"),
            ({"headers": {"x": "a\nb"}}, "control characters"),
            ({"model": ""}, "a model's name"),
            ({"model": None}, "a model or an endpoint"),
        ):
            given: dict[str, Any] = {"model": "m", "path": CHAT, "body": b"", **options}
            with pytest.raises(RequestError, match=error):
                async with s.engine.relay(**given):
                    pass
        with pytest.raises(ConfigError, match="there is no endpoint 'other'"):
            async with s.engine.relay("m", CHAT, b"", endpoint="other"):
                pass
        assert s.asked == 0


# Answers that do not stream, and paths without a dialect. ---------------------------------------


@virtual
async def test_a_whole_answer_is_handed_on_with_its_usage() -> None:
    async with scene(profile=PACED) as s:
        async with s.engine.relay("m", "/v1" + CHAT, {**BODY, "stream": False}) as answer:
            data = json.loads(await answer.read())
            assert data["choices"][0]["message"]["content"] == said(s)
            assert answer.usage is not None
            assert answer.usage.output_tokens == 10


@virtual
async def test_paths_without_a_dialect_pass_under_slots_and_retries() -> None:
    body = b'{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}'
    recorded = Recorded([body], headers=(JSON,), framing="length")
    async with relaying(recorded) as eng:
        for path in ("/v1/embeddings", "/v1/rerank"):
            async with eng.relay("m", path, {"model": "m", "input": ["a", "b"]}) as answer:
                assert await answer.read() == body
                assert answer.usage is not None
                assert answer.usage.input_tokens == 8
        async with eng.relay(None, "/v1/models", endpoint="main", method="GET") as answer:
            assert await answer.read() == body
        form = b"--x\r\ncontent-disposition: form-data; name=model\r\n\r\nm\r\n--x--"
        kind = {"content-type": "multipart/form-data; boundary=x"}
        async with eng.relay("m", "/v1/audio/transcriptions", form, headers=kind) as answer:
            assert await answer.read() == body
        targets = [(asked.method, asked.target) for asked in recorded.asked]
        assert targets == [
            ("POST", "/v1/embeddings"),
            ("POST", "/v1/rerank"),
            ("GET", "/v1/models"),
            ("POST", "/v1/audio/transcriptions"),
        ]
        assert recorded.asked[3].body == form
        assert recorded.asked[3].headers["content-type"] == kind["content-type"]


@virtual
async def test_binary_answers_are_whole_by_their_length() -> None:
    sound = bytes(range(256)) * 10
    recorded = Recorded([sound[:1000], sound[1000:]], headers=(("content-type", "audio/mpeg"),))
    async with relaying(recorded) as eng:
        async with eng.relay("m", "/v1/audio/speech", {"model": "m", "input": "Hi"}) as answer:
            assert await answer.read() == sound
        recorded.framing = "close"
        with pytest.raises(TruncatedStreamError, match="neither a length nor a last chunk"):
            async with eng.relay("m", "/v1/audio/speech", {"model": "m"}) as answer:
                await answer.read()
        recorded.framing, recorded.how = "length", How.CUT
        recorded.pieces = [sound]
        async with eng.relay("m", "/v1/audio/speech", {"model": "m"}) as answer:
            assert await answer.read() == sound


@virtual
async def test_an_event_stream_of_an_unknown_path_comes_as_it_comes() -> None:
    recorded = Recorded([b"data: 1\n\n", b"data: 2\n\n"])
    async with relaying(recorded) as eng:
        async with eng.relay("m", "/v1/other", {"model": "m"}) as answer:
            assert [piece async for piece in answer] == [b"data: 1\n\n", b"data: 2\n\n"]
        recorded.how = How.CUT
        with pytest.raises(EngineError):
            async with eng.relay("m", "/v1/other", {"model": "m"}) as answer:
                await answer.read()


@virtual
async def test_what_does_not_stream_is_bounded_by_itself_and_in_sum() -> None:
    recorded = Recorded([b"x" * 60_000] * 4, headers=(("content-type", "audio/mpeg"),))
    settings = {"max_relayed_bytes": 200_000}
    async with relaying(recorded, engine=settings) as eng:
        with pytest.raises(TooLargeError, match="max_relayed_bytes"):
            async with eng.relay("m", "/v1/audio/speech", {"model": "m"}):
                pass
        assert eng.statistics().buffered_bytes == 0
    settings = {"max_buffered_bytes": 150_000, "buffer_bytes": 1000}
    async with relaying(recorded, engine=settings) as eng:
        with pytest.raises(TooLargeError, match="max_buffered_bytes"):
            async with eng.relay("m", "/v1/audio/speech", {"model": "m"}):
                pass
        with pytest.raises(OverloadedError, match="max_buffered_bytes"):
            async with eng.relay("m", "/v1/files", b"x" * 150_001):
                pass
        assert eng.statistics().buffered_bytes == 0


@virtual
async def test_a_slow_reader_holds_the_provider_back() -> None:
    pieces = [TEXT * 100] * 50
    recorded = Recorded([*pieces, b"data: [DONE]\n\n"])
    async with relaying(recorded) as eng:
        async with eng.relay("m", CHAT, BODY, buffer_bytes=20_000) as answer:
            await trio.sleep(30)
            assert eng.statistics().buffered_bytes < 100_000
            assert await answer.read() == b"".join(recorded.pieces)


@virtual
async def test_a_key_that_a_refusal_quotes_is_not_handed_on() -> None:
    recorded = Recorded(
        [b'{"error":{"message":"Incorrect API key provided: sk-secret-1"}}'],
        headers=(JSON,),
        framing="length",
        status=401,
    )
    async with relaying(recorded, key=Secret("sk-secret-1")) as eng:
        async with eng.relay("m", CHAT, BODY) as answer:
            assert answer.status == 401
            assert b"sk-secret-1" not in await answer.read()
            assert isinstance(answer.error, AuthError)
