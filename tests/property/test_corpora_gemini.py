"""Recorded Gemini streams: what came out of them must come out of ours."""

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.errors import TruncatedStreamError, UnexpectedContentError
from streamnursery.values.events import Finished
from streamnursery.wire.gemini.stream import GeminiStream
from tests.support.recordings import Recordings, splits

SPLITS = {"test": 15, "proof": 100, "soak": 1000}
USAGE = {
    "cachedContentTokenCount": "cached_tokens",
    "thoughtsTokenCount": "reasoning_tokens",
}

RECORDED = Recordings("google_generate_content.json", GeminiStream, USAGE)


def check(recording: dict[str, Any], chunks: list[bytes]) -> None:
    name, expected = recording["id"], recording["expected"]
    decoder, transcript = RECORDED.finished(recording, chunks)
    told, usage = expected["usage"], transcript.usage
    assert usage is not None, name
    spent = told["promptTokenCount"] + told.get("toolUsePromptTokenCount", 0)
    made = told.get("candidatesTokenCount", 0) + told.get("thoughtsTokenCount", 0)
    assert (usage.input_tokens, usage.output_tokens) == (spent, made), name
    assert decoder.response_id == expected["response_id"], name
    assert decoder.response_model == expected["model"], name
    (choice,) = transcript.choices()
    assert choice.text == expected["text"], name
    assert choice.reasoning == expected.get("reasoning", ""), name
    assert choice.finish_reason == expected["finish_reason"], name
    named = [call for call in expected.get("function_calls", []) if call.get("name")]
    assert [call.name for call in choice.tool_calls] == [call["name"] for call in named], name
    for call, theirs in zip(choice.tool_calls, named, strict=True):
        arguments = json.loads(call.arguments)
        assert isinstance(arguments, dict), name
        assert call.id, name
        if "args" in theirs:
            assert arguments == theirs["args"], name


def bodies(corpora: Path) -> list[dict[str, Any]]:
    return RECORDED.load(corpora)


def test_recorded_streams_say_what_they_say_however_they_are_split(
    corpora: Path, tier: str
) -> None:
    for recording in bodies(corpora):
        for chunks in splits(recording, SPLITS[tier]):
            check(recording, chunks)


def test_recorded_streams_fed_by_the_byte_say_the_same(corpora: Path) -> None:
    for recording in bodies(corpora):
        body = recording["body"].encode()
        if len(body) < 3000:
            check(recording, [body[i : i + 1] for i in range(len(body))])


def test_recorded_streams_cut_anywhere_are_whole_only_with_their_finish_reason(
    corpora: Path,
) -> None:
    for recording in bodies(corpora):
        body = recording["body"].encode()
        whole = RECORDED.run([body])[1].choices()
        dice = Random(recording["id"])
        marks = body.replace(b"\r\n", b"\n").split(b"\n\n")
        borders = {len(b"\n\n".join(marks[:count])) for count in range(len(marks))}
        for cut in sorted({*borders, *(dice.randrange(len(body)) for _ in range(40))}):
            decoder, transcript, events = RECORDED.run([body[:cut]])
            assert decoder.done == any(isinstance(event, Finished) for event in events)
            evident = b'"finishReason"' in body[:cut]
            assert evident or not decoder.done, (recording["id"], cut)
            if not decoder.done:
                kinds = (TruncatedStreamError, UnexpectedContentError)  # "da" is no stream yet
                assert isinstance(decoder.failure, kinds), (recording["id"], cut)
                for choice in transcript.choices():
                    assert whole[0].text.startswith(choice.text), (recording["id"], cut)


def test_arguments_in_pieces_are_put_together(corpora: Path) -> None:
    found = {}
    for recording in bodies(corpora):
        transcript = Transcript()
        transcript.add(RECORDED.run([recording["body"].encode()])[2])
        (choice,) = transcript.choices()
        found[recording["id"]] = [json.loads(call.arguments) for call in choice.tool_calls]
    assert found["vercel/google-stream-no-args-tool-call"][:3] == [{}, {"id": "A"}, {"id": "B"}]
    items = found["vercel/google-stream-tool-call-array-arguments-missing-terminal-function-call"]
    assert items[0]["operations"][0]["description"] == "Fresh red apple"
    recipe = found["vercel/google-vertex-stream-tool-call-arguments-nested.1"][0]["recipe"]
    assert recipe["ingredients"][:2] == [
        {"amount": "16 oz", "name": "Lasagna noodles"},
        {"amount": "1 lb", "name": recipe["ingredients"][1]["name"]},
    ]
    assert all(a != b for a, b in pairwise(recipe["ingredients"]))
