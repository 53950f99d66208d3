"""What a relay hands on is what came, however it was cut: laws over recorded streams."""

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from streamnursery import Engine, EngineError, TruncatedStreamError
from streamnursery.errors import UnexpectedContentError
from streamnursery.pipeline.relayed import RelayedAnswer
from streamnursery.serving.steps import How
from streamnursery.wire.sse import SSEDecoder
from tests.support.recorded import Recorded, relaying
from tests.support.scene import virtual

TIMES = {"test": 3, "proof": 20, "soak": 100}
LANGUAGES = {
    "openai_chat": ("openai-chat", "/chat/completions", {"stream": True}),
    "openai_responses": ("openai-responses", "/responses", {"stream": True}),
    "anthropic_messages": ("anthropic-messages", "/messages", {"stream": True}),
    "google_generate_content": ("gemini", "/models/m:streamGenerateContent?alt=sse", {}),
}
STREAMS = Path(__file__).parent.parent / "data" / "streams"
MARKS = re.compile(rb'"finish_reason": ?"|response\.completed|message_stop')
"""What may make an answer whole at a clean end."""
TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"}}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'


def relayed(eng: Engine, file: str = "openai_chat", *, exact: bool = False) -> Any:
    _, path, fields = LANGUAGES[file]
    return eng.relay("m", path, {"model": "m", "messages": [], **fields}, exact=exact)


async def handed_on(answer: RelayedAnswer) -> tuple[bytes, EngineError | None]:
    got = bytearray()
    try:
        async for piece in answer:
            got += piece
    except EngineError as error:
        return bytes(got), error
    return bytes(got), None


def chunkings(body: bytes, times: int, seed: object) -> Iterator[list[bytes]]:
    dice = Random(str(seed))
    yield [body]
    for _ in range(times):
        cuts = sorted(dice.randrange(len(body) + 1) for _ in range(dice.randrange(1, 12)))
        yield [body[a:b] for a, b in pairwise([0, *cuts, len(body)])]


def recordings(corpora: Path, file: str) -> list[dict[str, Any]]:
    recorded = json.loads((corpora / "recordings" / f"{file}.json").read_text())
    (found,) = (value for value in recorded.values() if isinstance(value, list))
    return list(found)


def without_usage(body: bytes) -> bytes:
    """The events of a stream whose lines end in LF, without those of usage alone."""
    kept = []
    for event in body.split(b"\n\n"):
        (data,) = [e.data for e in SSEDecoder().feed(event + b"\n\n")] or [b""]
        chunk = json.loads(data) if data.startswith(b"{") else {}
        if not (chunk.get("usage") and not chunk.get("choices")):
            kept.append(event)
    return b"\n\n".join(kept)


@pytest.mark.parametrize("file", LANGUAGES)
def test_the_bytes_of_recorded_streams_are_handed_on(corpora: Path, tier: str, file: str) -> None:
    for recording in recordings(corpora, file):
        body = recording["body"].encode()
        for framing in ("chunked", "length"):
            for pieces in chunkings(body, TIMES[tier], (recording["id"], framing)):
                whole = recording["expected"]["complete"]
                check_exact(file, recording["id"], pieces, framing, whole=whole)


@virtual
async def check_exact(
    file: str, name: str, pieces: list[bytes], framing: str, *, whole: bool = False
) -> None:
    async with relaying(Recorded(pieces, framing=framing), LANGUAGES[file][0]) as eng:
        try:
            async with relayed(eng, file, exact=True) as answer:
                got, error = await handed_on(answer)
        except EngineError:
            assert not whole, name
            return  # before any content: nothing is handed on
        body = b"".join(pieces)
        if error is None:
            assert got == body, name
        else:
            assert not whole, name
            assert body.startswith(got), name


def test_only_the_event_of_usage_is_taken_out(corpora: Path, tier: str) -> None:
    told = 0
    for recording in recordings(corpora, "openai_chat"):
        body = recording["body"].encode()
        if not recording["expected"]["complete"] or b"\r" in body:
            continue
        told += without_usage(body) != body
        for pieces in chunkings(body, TIMES[tier], recording["id"]):
            check_filtered(recording["id"], pieces, without_usage(body))
    assert told > 3


@virtual
async def check_filtered(name: str, pieces: list[bytes], wanted: bytes) -> None:
    async with relaying(Recorded(pieces)) as eng, relayed(eng) as answer:
        got, error = await handed_on(answer)
        assert error is None, name
        assert got == wanted, name


@pytest.mark.every(4)
@pytest.mark.parametrize("path", sorted(STREAMS.glob("*.sse")), ids=lambda path: path.stem)
def test_odd_streams_are_handed_on_as_they_came(path: Path, tier: str) -> None:
    body = path.read_bytes()
    for pieces in chunkings(body, 4 * TIMES[tier], path.stem):
        check_exact("openai_chat", path.stem, pieces, "chunked")


@pytest.mark.every(5)
@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("asked", [True, False])
def test_a_usage_event_goes_whatever_ends_its_lines(ends: bytes, asked: bool) -> None:
    usage = b'data: {"id":"x","choices": [ ],"usage":{"prompt_tokens":1,"completion_tokens":1}}\n\n'
    parts = [TEXT % b"a", STOP, usage, b"data: [DONE]\n\n"]
    body = b"".join(parts).replace(b"\n", ends)
    wanted = body if asked else body.replace(usage.replace(b"\n", ends), b"")

    @virtual
    async def run(pieces: list[bytes]) -> None:
        async with relaying(Recorded(pieces)) as eng:
            fields: dict[str, object] = {"model": "m", "messages": [], "stream": True}
            if asked:
                fields["stream_options"] = {"include_usage": True}
            async with eng.relay("m", "/chat/completions", fields) as answer:
                assert await answer.read() == wanted
                assert answer.usage is not None
                assert answer.usage.input_tokens == 1

    run([body[i : i + 1] for i in range(len(body))])
    for at in range(len(body)):
        run([body[:at], body[at:]])


@pytest.mark.every(5)
@pytest.mark.parametrize("file", ["openai_chat", "openai_responses", "anthropic_messages"])
@pytest.mark.parametrize("how", [How.CUT, How.KEEP])
def test_a_cut_at_any_byte_before_the_end_mark_raises(
    corpora: Path, tier: str, file: str, how: How
) -> None:
    recording = min(
        (r for r in recordings(corpora, file) if r["expected"].get("complete", True)),
        key=lambda r: len(r["body"]),
    )
    body = recording["body"].encode()
    step = 1 if tier != "test" else max(1, len(body) // 100)
    # A last blank line that is missing is no cut where the framing says that all has come.
    last = len(body.rstrip()) if how is How.CUT else last_event(body)
    for at in [*range(0, last, step), last - 1]:
        check_cut(file, body[:at], how)


def last_event(body: bytes) -> int:
    """Where the event begins that makes the answer whole by itself, or the one before it."""
    events = body.rstrip().split(b"\n\n")
    whole = next(i for i, e in enumerate(events) if MARKS.search(e))
    return len(b"\n\n".join(events[:whole]))


@virtual
async def check_cut(file: str, body: bytes, how: How) -> None:
    async with relaying(Recorded([body], how), LANGUAGES[file][0]) as eng:
        with pytest.raises(EngineError) as caught:
            async with relayed(eng, file) as answer:
                await answer.read()
        if how is How.KEEP:
            assert isinstance(caught.value, TruncatedStreamError | UnexpectedContentError)
