"""python -m benchmarks.dialects [--json]: what a token costs in each language, beside the chat API.

The whole engine on a virtual clock against prebuilt answers in memory: function calls, which are
the same everywhere, and CPU time of the process, in turns, the least of some rounds. Each event
comes in an HTTP chunk of its own, a hundred of them in a read.
"""

import argparse
import json
import time
from typing import Any

import attrs
import trio
from trio.testing import MockClock

import streamnursery as sn
from benchmarks.steps import DONE, END, EVENT, HEAD, Counts, Prebuilt, chunk
from streamnursery.wire.bedrock_converse.server import frame

EVENTS = 100
READS = 100
ROUNDS = 7


@attrs.frozen
class Language:
    """The bytes of an answer."""

    opening: bytes
    event: bytes
    end: bytes
    path: str = "/v1"
    kind: bytes = b"text/event-stream"


def _named(kind: bytes, rest: bytes) -> bytes:
    return b'event: %b\ndata: {"type":"%b"%b}\n\n' % (kind, kind, rest)


def _step(kind: bytes, rest: bytes) -> bytes:
    return b'event: %b\ndata: {"event_type":"%b","event_id":"e1",%b}\n\n' % (kind, kind, rest)


_LINE = (
    b'{"model":"qwen3","created_at":"2026-12-01T00:00:00.000000Z",'
    b'"message":{"role":"assistant","content":"%b"},"done":%b}\n'
)
_COUNTS = b'"usageMetadata": {"promptTokenCount": 15,"candidatesTokenCount": 18}'
_RECORD = (
    b'data: {"candidates": [{"content": {"parts": [{"text": "%b"}],"role": "model"}%b,'
    b'"index": 0}],%b,"modelVersion": "gemini-2.5-pro","responseId": "6hkqaYC5BbGEz7IPwb3ggA8"}'
    b"\r\n\r\n"
)
LANGUAGES = {
    "openai-chat": Language(b"", EVENT, END + DONE),
    "openai-responses": Language(
        _named(b"response.created", b',"sequence_number":0,"response":{"id":"resp_1"}'),
        _named(
            b"response.output_text.delta",
            b',"item_id":"msg_1","output_index":0,"content_index":0,"delta":" token","logprobs":[]',
        ),
        _named(b"response.completed", b',"response":{"id":"resp_1","status":"completed"}'),
    ),
    "anthropic-messages": Language(
        _named(b"message_start", b',"message":{"id":"msg_1","content":[]}')
        + _named(b"content_block_start", b',"index":0,"content_block":{"type":"text","text":""}'),
        _named(b"content_block_delta", b',"index":0,"delta":{"type":"text_delta","text":" token"}'),
        _named(b"content_block_stop", b',"index":0')
        + _named(b"message_delta", b',"delta":{"stop_reason":"end_turn"},"usage":{}')
        + _named(b"message_stop", b""),
    ),
    "gemini": Language(
        _RECORD % (b"A", b"", _COUNTS),
        _RECORD % (b" token", b"", _COUNTS),
        _RECORD % (b"", b',"finishReason": "STOP"', _COUNTS),
        "/v1beta",
    ),
    "gemini-interactions": Language(
        _step(b"interaction.created", b'"interaction":{"id":"v1_1","status":"in_progress"}')
        + _step(b"step.start", b'"index":0,"step":{"type":"model_output"}'),
        _step(b"step.delta", b'"index":0,"delta":{"type":"text","text":" token"}'),
        _step(b"step.stop", b'"index":0')
        + _step(b"interaction.completed", b'"interaction":{"id":"v1_1","status":"completed"}'),
        "/v1beta",
    ),
    "bedrock-converse": Language(
        frame("messageStart", b'{"role":"assistant","p":"abc"}'),
        frame(
            "contentBlockDelta",
            b'{"contentBlockIndex":0,"delta":{"text":" token"},"p":"abcdefghijklmnop"}',
        ),
        frame("messageStop", b'{"stopReason":"end_turn","p":"abc"}')
        + frame("metadata", b'{"usage":{"inputTokens":1,"outputTokens":2},"p":"abc"}'),
        "",
        b"application/vnd.amazon.eventstream",
    ),
    "ollama": Language(
        _LINE % (b"A", b"false"),
        _LINE % (b" token", b"false"),
        _LINE % (b"", b'true,"done_reason":"stop"'),
        "/api",
        b"application/x-ndjson",
    ),
}


@attrs.define
class PrebuiltLanguage(Prebuilt):
    """The same in another language."""

    language: Language = LANGUAGES["openai-chat"]

    def _answer(self) -> tuple[bytes, bytes, bytes]:
        told = self.language
        head = HEAD.replace(b"text/event-stream", told.kind)
        head += chunk(told.opening) if told.opening else b""
        return head, chunk(told.event) * self.events, chunk(told.end) + chunk(b"")


async def _read(eng: sn.Engine) -> None:
    async with eng.stream("m", "hi") as stream:
        async for _ in stream:
            pass


def measured(dialect: str, reads: int, *, counting: bool) -> float:
    """Calls, or seconds of CPU, of one stream of so many reads."""
    language = LANGUAGES[dialect]
    url = f"http://127.0.0.1:80{language.path}"
    config = {
        "endpoints": {"e": {"url": url, "dialect": dialect}},
        "models": {"m": {"routes": [{"endpoint": "e"}]}},
    }
    counts = Counts()

    async def main() -> float:
        async with trio.open_nursery() as nursery:
            network = PrebuiltLanguage(nursery, reads, EVENTS, language=language)
            async with sn.open_engine(config, network=network, seed=1, wall=lambda: 0.0) as eng:
                await _read(eng)
                if counting:
                    counts.consumer = trio.lowlevel.current_task()
                    counts.start()
                began = time.process_time()
                await _read(eng)
                spent = time.process_time() - began
                if counting:
                    counts.stop()
            nursery.cancel_scope.cancel()
        return counts.calls if counting else spent

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def per_token(dialect: str, *, counting: bool) -> float:
    """The difference of two runs, n and 2n: what is paid once falls out."""
    more = measured(dialect, 2 * READS, counting=counting)
    return (more - measured(dialect, READS, counting=counting)) / (READS * EVENTS)


def calls() -> dict[str, float]:
    """For each token, by dialect."""
    return {name: round(per_token(name, counting=True), 3) for name in LANGUAGES}


def everything() -> dict[str, dict[str, float]]:
    """Calls and microseconds for each token, by dialect, and both beside the chat API's."""
    counted = calls()
    times = dict.fromkeys(LANGUAGES, float("inf"))
    for _ in range(ROUNDS):
        for name in LANGUAGES:
            times[name] = min(times[name], per_token(name, counting=False) * 1e6)
    return {
        name: {
            "calls": counted[name],
            "calls_ratio": round(counted[name] / counted["openai-chat"], 2),
            "us": round(times[name], 3),
            "us_ratio": round(times[name] / times["openai-chat"], 2),
        }
        for name in LANGUAGES
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dialects", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calls", action="store_true", help="as JSON, and nothing is timed")
    options = parser.parse_args()
    if options.calls:
        print(json.dumps(calls()))
        return
    found: dict[str, Any] = everything()
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for name, figures in found.items():
        print(f"{name:20} " + "  ".join(f"{key} {value:g}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
