"""Recorded OpenAI chat streams of many servers: what came out of them must come out of ours."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.errors import ProviderError, TruncatedStreamError
from streamnursery.values.events import Finished
from streamnursery.wire.openai_chat.stream import OpenAIChatStream

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


def load(corpora: Path) -> list[dict[str, Any]]:
    recorded = json.loads((corpora / "recordings" / "openai_chat.json").read_text())
    (recordings,) = (value for value in recorded.values() if isinstance(value, list))
    return list(recordings)


def run(chunks: list[bytes]) -> tuple[OpenAIChatStream, Transcript, list[object]]:
    decoder = OpenAIChatStream()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    events += decoder.end()
    transcript = Transcript()
    transcript.add(events)
    return decoder, transcript, list(events)


def check(recording: dict[str, Any], chunks: list[bytes]) -> None:
    name, expected = recording["id"], recording["expected"]
    decoder, transcript, events = run(chunks)
    assert decoder.done == expected["complete"], name
    assert any(isinstance(event, Finished) for event in events) == expected["complete"], name
    check_choices(name, expected["choices"], transcript)
    check_usage(name, expected["usage"], transcript)
    if expected["errors"]:
        error = decoder.failure
        assert isinstance(error, ProviderError), name
        assert (error.status, error.code) == (200, expected["errors"][0]["code"]), name
        assert error.body is not None
        assert expected["errors"][0]["message"] in error.body, name
        assert expected["errors"][0]["message"] not in str(error), name
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


def check_usage(name: str, expected: dict[str, Any] | None, transcript: Transcript) -> None:
    usage = transcript.usage
    if expected is None:
        assert usage is None, name
        return
    assert usage is not None, name
    for path, field in USAGE.items():
        wanted: Any = expected
        for key in path.split("."):
            wanted = wanted.get(key) if isinstance(wanted, dict) else None
        if field == "output_tokens" and name in REASONING_APART:
            wanted += expected["completion_tokens_details"]["reasoning_tokens"]
        assert getattr(usage, field) == wanted, (name, field)
        assert (field in usage.reported) == (wanted is not None), (name, field)


def test_b1_recorded_streams_say_what_they_say_however_they_are_split(
    corpora: Path, tier: str
) -> None:
    for recording in load(corpora):
        body = recording["body"].encode()
        dice = Random(recording["id"])
        check(recording, [body])
        for _ in range(SPLITS[tier]):
            cuts = sorted(dice.randrange(len(body) + 1) for _ in range(dice.randrange(1, 12)))
            check(recording, [body[a:b] for a, b in pairwise([0, *cuts, len(body)])])


def test_recorded_streams_cut_between_events_are_whole_only_with_their_evidence(
    corpora: Path,
) -> None:
    for recording in load(corpora):
        records = recording["body"].encode().split(b"\n\n")
        for count in range(len(records)):
            head = b"".join(record + b"\n\n" for record in records[:count])
            decoder, _, events = run([head])
            evident = b"data: [DONE]" in head or b'"finish_reason":"' in head
            failed = recording["expected"]["errors"] and count >= len(records) - 1
            assert decoder.done == evident, (recording["id"], count)
            assert decoder.done == any(isinstance(event, Finished) for event in events)
            if not decoder.done and not failed:
                assert type(decoder.failure) is TruncatedStreamError, (recording["id"], count)
