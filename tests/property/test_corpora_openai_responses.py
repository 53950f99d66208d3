"""Recorded Responses streams: what came out of them must come out of ours."""

from pathlib import Path
from typing import Any

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.errors import ProviderError, TruncatedStreamError
from streamnursery.values.events import Finished
from streamnursery.wire.openai_responses.stream import OpenAIResponsesStream
from tests.support.recordings import Recordings, heads, splits

SPLITS = {"test": 15, "proof": 60, "soak": 1000}
USAGE = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "input_tokens_details.cached_tokens": "cached_tokens",
    "input_tokens_details.cache_write_tokens": "cache_write_tokens",
    "output_tokens_details.reasoning_tokens": "reasoning_tokens",
}
ENDS = (b'"type":"response.completed"', b'"type":"response.incomplete"')


RECORDED = Recordings("openai_responses.json", OpenAIResponsesStream, USAGE)


def check(recording: dict[str, Any], chunks: list[bytes]) -> None:
    name, expected = recording["id"], recording["expected"]
    decoder, transcript = RECORDED.finished(recording, chunks)
    check_answer(name, expected, transcript)
    if expected["errors"]:
        assert isinstance(decoder.failure, ProviderError), name
        assert decoder.failure.status == 200, name
    assert decoder.response_id == expected["response_id"], name
    assert decoder.number == expected["last_sequence_number"], name


def check_answer(name: str, expected: dict[str, Any], transcript: Transcript) -> None:
    (choice,) = transcript.choices()
    assert choice.text == expected["text"], name
    assert choice.reasoning == expected.get("reasoning", ""), name
    assert choice.refusal == expected.get("refusal", ""), name
    calls = [
        {"call_id": call.id, "name": call.name, "arguments": call.arguments}
        for call in choice.tool_calls
    ]
    assert calls == expected.get("tool_calls", []), name
    if expected["complete"] and expected["status"] == "completed":
        assert choice.finish_reason == "completed", name


def test_recorded_streams_say_what_they_say_however_they_are_split(
    corpora: Path, tier: str
) -> None:
    for recording in RECORDED.load(corpora):
        for chunks in splits(recording, SPLITS[tier]):
            check(recording, chunks)


def test_recorded_streams_cut_between_events_are_whole_only_with_their_evidence(
    corpora: Path,
) -> None:
    for recording in RECORDED.load(corpora):
        whole = RECORDED.run([recording["body"].encode()])[1].choices()
        for count, head in heads(recording):
            decoder, transcript, events = RECORDED.run([head])
            evident = any(end in head for end in ENDS)
            assert decoder.done == evident, (recording["id"], count)
            assert decoder.done == any(isinstance(event, Finished) for event in events)
            if not decoder.done:
                assert type(decoder.failure) is TruncatedStreamError, (recording["id"], count)
                for choice in transcript.choices():
                    assert whole[0].text.startswith(choice.text), (recording["id"], count)


def test_every_number_is_a_place_where_a_recorded_stream_can_be_taken_up_again(
    corpora: Path,
) -> None:
    for recording in RECORDED.load(corpora):
        if recording["expected"]["last_sequence_number"] is None:
            continue
        records = [r + b"\n\n" for r in recording["body"].encode().split(b"\n\n") if r.strip()]
        whole = RECORDED.run([b"".join(records)])[1].choices()
        for count in range(1, len(records)):
            decoder = OpenAIResponsesStream()
            events = decoder.feed(b"".join(records[:count]))
            decoder.end()
            decoder.go_on()
            # Some servers send the last event once more.
            events += decoder.feed(b"".join(records[count - 1 :]))
            transcript = Transcript()
            transcript.add(events)
            assert decoder.done, (recording["id"], count)
            assert transcript.choices() == whole, (recording["id"], count)
