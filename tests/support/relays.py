"""Relays of a model "m", and what their answers say."""

import json
from typing import Any

from streamnursery import Engine
from tests.support.scene import Scene

TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"x"}}]}\n\n'
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
