"""Recorded streams of Amazon Bedrock: what came out of them must come out of ours."""

from pathlib import Path
from typing import Any

from streamnursery.values.errors import MalformedChunkError, TruncatedStreamError
from streamnursery.values.events import Finished
from streamnursery.wire.bedrock_converse.stream import BedrockStream
from tests.support.recordings import Recordings, body_of, splits

SPLITS = {"test": 15, "proof": 100, "soak": 1000}
USAGE = {"inputTokens": "input_tokens", "outputTokens": "output_tokens"}
RECORDED = Recordings("bedrock_converse.json", BedrockStream, USAGE)


def check(recording: dict[str, Any], chunks: list[bytes]) -> None:
    name, expected = recording["id"], recording["expected"]
    _, transcript = RECORDED.finished(recording, chunks)
    (choice,) = transcript.choices()
    assert choice.text == expected["text"], name
    assert choice.reasoning == expected.get("reasoning", ""), name
    assert choice.finish_reason == expected["stop_reason"], name
    told = [
        {"id": call.id, "name": call.name, "arguments": call.arguments}
        for call in choice.tool_calls
    ]
    assert told == expected.get("tool_calls", []), name


def test_recorded_streams_say_what_they_say_however_they_are_split(
    corpora: Path, tier: str
) -> None:
    for recording in RECORDED.load(corpora):
        for chunks in splits(recording, SPLITS[tier]):
            check(recording, chunks)
        check(recording, [bytes([byte]) for byte in body_of(recording)])


def lengths(body: bytes) -> list[int]:
    """Where each message ends."""
    found = [0]
    while found[-1] < len(body):
        found.append(found[-1] + int.from_bytes(body[found[-1] : found[-1] + 4]))
    return found


def test_a_recorded_stream_that_is_cut_between_two_messages_is_not_whole(corpora: Path) -> None:
    for recording in RECORDED.load(corpora):
        body = body_of(recording)
        *ends, before_counts, _ = lengths(body)
        for end in ends:
            decoder, _, events = RECORDED.run([body[:end]])
            assert isinstance(decoder.failure, TruncatedStreamError), recording["id"]
            assert not any(isinstance(event, Finished) for event in events)
        decoder, _, _ = RECORDED.run([body[:before_counts]])
        assert decoder.done, recording["id"]


def test_a_byte_that_was_changed_on_its_way_is_found(corpora: Path, tier: str) -> None:
    step = {"test": 97, "proof": 11, "soak": 1}[tier]
    for recording in RECORDED.load(corpora):
        body = body_of(recording)
        for at in range(0, len(body), step):
            spoiled = bytearray(body)
            spoiled[at] ^= 0x20
            decoder, _, events = RECORDED.run([bytes(spoiled)])
            # A length that grew may wait for more than there is.
            failure = decoder.failure
            assert isinstance(failure, MalformedChunkError | TruncatedStreamError), (at, failure)
            assert not any(isinstance(event, Finished) for event in events)
