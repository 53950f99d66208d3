"""Event streams that others wrote down, with what must come out, however they are cut.

Where an upstream parser leaves the standard on purpose, the standard is followed.
"""

import json
from base64 import b64decode
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from streamnursery.wire.sse import SSEDecoder

FILES = ("wpt_eventsource", "httpx_sse", "openai_python_sse", "anthropic_python_sse")
MULTI_CUTS = {"test": 50, "proof": 500, "soak": 2000}


def load(corpora: Path, name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((corpora / "sse" / f"{name}.json").read_text())[
        "cases"
    ]
    return cases


def splits(body: bytes, tier: str, dice: Random) -> Iterator[list[bytes]]:
    """Whole, byte by byte, every single cut, and as many random ones as the tier asks for."""
    yield [body]
    yield [body[i : i + 1] for i in range(len(body))]
    for i in range(1, len(body)):
        yield [body[:i], body[i:]]
    for _ in range(MULTI_CUTS[tier]):
        cuts = sorted(dice.randrange(len(body) + 1) for _ in range(dice.randrange(2, 9)))
        yield [body[a:b] for a, b in pairwise([0, *cuts, len(body)])]


@pytest.mark.parametrize("name", FILES)
def test_b1_recorded_event_streams_give_their_events(corpora: Path, tier: str, name: str) -> None:
    for case in load(corpora, name):
        body = b"".join(b64decode(chunk) for chunk in case["chunks_b64"])
        conformant = case["whatwg_conformant"]
        wanted = case["expected"]["events"] if conformant else case["whatwg_events"]
        retry = case["expected"].get("retry_ms")
        for chunks in splits(body, tier, Random(case["name"])):
            decoder = SSEDecoder(last_event_id=case.get("initial_last_event_id", ""))
            events = [event for chunk in chunks for event in decoder.feed(chunk)]
            told = [{"event": e.event, "data": e.text, "id": e.id} for e in events]
            assert told == wanted, (case["name"], chunks)
            assert decoder.retry_ms == retry
            assert decoder.last_event_id == case["expected"]["last_event_id"]


class LineCollector(SSEDecoder):
    """Hands out the lines instead of the events they make."""

    def lines(self, chunks: list[bytes]) -> tuple[list[bytes], bytes]:
        whole = [line for chunk in chunks for line in self._split(chunk)]
        return whole, bytes(self._tail)


def test_recorded_lines_are_split_alike(corpora: Path, tier: str) -> None:
    for case in load(corpora, "lines"):
        recorded = [chunk.encode() for chunk in case["chunks"]]
        wanted = [line.encode() for line in case["lines"]]
        body = b"".join(recorded)
        for chunks in [recorded, *splits(body, tier, Random(case["name"]))]:
            lines, rest = LineCollector().lines(chunks)
            # `flush` parsers hand out the rest as a line; the standard drops it.
            assert ([*lines, rest] if case["flush"] and rest else lines) == wanted, case["name"]
