"""Relayed answers that do not stream, and paths without a dialect."""

import json

import pytest
import trio

from streamnursery import (
    AuthError,
    EngineError,
    OverloadedError,
    Secret,
    TruncatedStreamError,
)
from streamnursery.errors import TooLargeError
from streamnursery.serving.steps import How
from tests.support.recorded import Recorded, relaying
from tests.support.relays import BODY, CHAT, JSON, TEXT, said
from tests.support.scene import PACED, scene, virtual


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
