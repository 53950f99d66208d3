"""Recorded OpenAI chat streams of many servers: what came out of them must come out of ours."""

from pathlib import Path
from typing import Any

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.errors import ProviderError, TruncatedStreamError
from streamnursery.values.events import Finished
from streamnursery.wire.openai_chat.stream import OpenAIChatStream
from tests.support.recordings import Recordings, heads, splits

SPLITS = {"test": 100, "proof": 300, "soak": 1000}
USAGE = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "prompt_tokens_details.cached_tokens": "cached_tokens",
    "prompt_tokens_details.cache_write_tokens": "cache_write_tokens",
    "completion_tokens_details.reasoning_tokens": "reasoning_tokens",
}
REASONING_APART = {"vercel/xai-text"}
"""Its total counts 290 reasoning tokens beside the one of the completion."""


RECORDED = Recordings("openai_chat.json", OpenAIChatStream, USAGE)


def load(corpora: Path) -> list[dict[str, Any]]:
    recordings = RECORDED.load(corpora)
    for recording in recordings:
        if recording["id"] in REASONING_APART:
            usage = recording["expected"]["usage"]
            apart = usage["completion_tokens_details"]["reasoning_tokens"]
            usage["completion_tokens"] += apart
    return recordings


def check(recording: dict[str, Any], chunks: list[bytes]) -> None:
    name, expected = recording["id"], recording["expected"]
    decoder, transcript = RECORDED.finished(recording, chunks)
    check_choices(name, expected["choices"], transcript)
    if expected["errors"]:
        error = decoder.failure
        assert isinstance(error, ProviderError), name
        assert (error.status, error.code) == (200, expected["errors"][0]["code"]), name
        assert error.body is not None
        assert expected["errors"][0]["message"] in error.body, name
        assert expected["errors"][0]["message"][:100] in str(error), name  # ADR 0024
    assert decoder.response_model == expected["model"], name
    assert decoder.response_id == (expected["ids"][0] if expected["ids"] else None), name


def check_choices(name: str, expected: dict[str, Any], transcript: Transcript) -> None:
    choices = {str(choice.index): choice for choice in transcript.choices()}
    for index, wanted in expected.items():
        choice = choices[index]
        assert choice.text == wanted["text"], name
        assert choice.refusal == wanted.get("refusal", ""), name
        assert choice.finish_reason == wanted["finish_reason"], name
        if "reasoning" in wanted:
            assert choice.reasoning == wanted["reasoning"], name
        calls = [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for call in choice.tool_calls
        ]
        assert calls == wanted.get("tool_calls", []), name


def test_b1_recorded_streams_say_what_they_say_however_they_are_split(
    corpora: Path, tier: str
) -> None:
    for recording in load(corpora):
        for chunks in splits(recording, SPLITS[tier]):
            check(recording, chunks)


def test_recorded_streams_cut_between_events_are_whole_only_with_their_evidence(
    corpora: Path,
) -> None:
    for recording in load(corpora):
        last = recording["body"].count("\n\n")
        for count, head in heads(recording):
            decoder, _, events = RECORDED.run([head])
            evident = b"data: [DONE]" in head or b'"finish_reason":"' in head
            failed = recording["expected"]["errors"] and count >= last
            assert decoder.done == evident, (recording["id"], count)
            assert decoder.done == any(isinstance(event, Finished) for event in events)
            if not decoder.done and not failed:
                assert type(decoder.failure) is TruncatedStreamError, (recording["id"], count)
