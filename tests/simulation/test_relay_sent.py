"""What a relay sends, and what it refuses to."""

import json
from typing import Any

import pytest

from streamnursery import (
    ConfigError,
    RequestError,
)
from tests.support.recorded import Recorded, relaying
from tests.support.relays import BODY, CHAT, JSON, TEXT
from tests.support.scene import scene, virtual


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
