"""Recorded Anthropic streams: what came out of them must come out of ours."""

import json
from pathlib import Path
from typing import Any

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.errors import MalformedChunkError, TruncatedStreamError
from streamnursery.values.events import Finished, UsageReport
from streamnursery.wire.anthropic_messages.stream import AnthropicMessagesStream
from tests.support.recordings import Recordings, heads, splits

SPLITS = {"test": 15, "proof": 100, "soak": 1000}
USAGE = {
    "output_tokens": "output_tokens",
    "cache_read_input_tokens": "cached_tokens",
    "cache_creation_input_tokens": "cache_write_tokens",
    "output_tokens_details.thinking_tokens": "reasoning_tokens",
    "cache_creation.ephemeral_1h_input_tokens": "cache_write_hour_tokens",
}
COMPACTED = "pai/anthropic_compaction_usage_with_cache_streaming"
SPLICED = "vercel/spliced-message-start"
KINDS = {
    "end_turn": "stop",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}

RECORDED = Recordings("anthropic_messages.json", AnthropicMessagesStream, USAGE)
COMPACTIONS = Recordings("anthropic_messages.json", AnthropicMessagesStream, {})


def check(recording: dict[str, Any], chunks: list[bytes]) -> None:
    name, expected = recording["id"], recording["expected"]
    if name == SPLICED:
        # What had been put out when the message began is no count of the answer.
        usage = {"input_tokens": expected["usage"]["input_tokens"]}
        recording = {**recording, "expected": {**expected, "usage": usage}}
    recorded = COMPACTIONS if name == COMPACTED else RECORDED
    decoder, transcript = recorded.finished(recording, chunks)
    check_answer(name, expected, transcript)
    check_input(name, expected, transcript)
    assert decoder.response_id == expected["id"], name
    if not expected["complete"]:
        assert isinstance(decoder.failure, MalformedChunkError), name


def check_input(name: str, expected: dict[str, Any], transcript: Transcript) -> None:
    """Ours is the whole input; theirs leaves out what the cache gave and took."""
    told = expected["usage"]
    assert transcript.usage is not None, name
    if name == COMPACTED:
        usage = transcript.usage
        assert (usage.input_tokens, usage.cached_tokens) == (181 + 100 + 55_096, 55_096)
        assert usage.output_tokens == 8 + 83
        return
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    assert transcript.usage.input_tokens == sum(told.get(part) or 0 for part in parts), name


def check_answer(name: str, expected: dict[str, Any], transcript: Transcript) -> None:
    blocks = expected["blocks"]
    found = transcript.choices()
    choice = found[0] if found else None
    assert (choice.text if choice else "") == expected["text"], name
    thoughts = "".join(block.get("thinking", "") for block in blocks)
    assert (choice.reasoning if choice else "") == thoughts, name
    calls = [block for block in blocks if block["type"] == "tool_use"]
    assert [(c.id, c.name, c.arguments) for c in (choice.tool_calls if choice else ())] == [
        (block["id"], block["name"], block["input_json"]) for block in calls
    ], name
    if choice is not None and expected["complete"]:
        assert choice.finish_reason == expected["stop_reason"], name
        read = {"text", "thinking", "tool_use"}
        opaque = [b for b in blocks if b["type"] not in read]
        parts = [p for p in choice.opaque if p.kind not in {"citation", "stop_details", "thinking"}]
        assert [p.kind for p in parts] == [b["type"] for b in opaque], name
        for part, block in zip(parts, opaque, strict=True):
            if "input_json" in block:
                assert json.loads(bytes(part.data))["input"] == json.loads(block["input_json"]), (
                    name
                )


def test_recorded_streams_say_what_they_say_however_they_are_split(
    corpora: Path, tier: str
) -> None:
    for recording in RECORDED.load(corpora):
        for chunks in splits(recording, SPLITS[tier]):
            check(recording, chunks)


def test_recorded_streams_fed_by_the_byte_say_the_same(corpora: Path) -> None:
    for recording in RECORDED.load(corpora):
        body = recording["body"].encode()
        if len(body) < 6000:
            check(recording, [body[i : i + 1] for i in range(len(body))])


def test_recorded_streams_cut_between_events_are_never_whole(corpora: Path) -> None:
    for recording in RECORDED.load(corpora):
        whole = RECORDED.run([recording["body"].encode()])[1].choices()
        for count, head in heads(recording):
            decoder, transcript, events = RECORDED.run([head])
            evident = b'"type":"message_stop"' in head and recording["expected"]["complete"]
            assert decoder.done == evident, (recording["id"], count)
            assert decoder.done == any(isinstance(event, Finished) for event in events)
            if not decoder.done:
                kinds = (TruncatedStreamError, MalformedChunkError)
                assert isinstance(decoder.failure, kinds), (recording["id"], count)
                for choice in transcript.choices():
                    assert "".join(c.text for c in whole).startswith(choice.text), (
                        recording["id"],
                        count,
                    )


def test_the_end_and_the_usage_of_recorded_streams_are_told_in_order(corpora: Path) -> None:
    for recording in RECORDED.load(corpora):
        if not recording["expected"]["complete"]:
            continue
        *events, end = RECORDED.run([recording["body"].encode()])[2]
        assert isinstance(end, Finished)
        assert end.kind == KINDS[recording["expected"]["stop_reason"]], recording["id"]
        assert isinstance(events[0], UsageReport), recording["id"]
