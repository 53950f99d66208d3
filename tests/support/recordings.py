"""Recorded streams of a dialect, and what is asked of every dialect's decoder with them."""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any, Generic, TypeVar

from streamnursery.core.recovery.transcript import Transcript
from streamnursery.values.events import Finished, StreamEvent
from streamnursery.wire.dialect import StreamDecoder

D = TypeVar("D", bound=StreamDecoder)


class Recordings(Generic[D]):
    """`usage` says which field of ours each recorded count becomes, by its path in theirs."""

    def __init__(self, file: str, decoder: Callable[[], D], usage: Mapping[str, str]) -> None:
        self._file = file
        self._decoder = decoder
        self._usage = usage

    def load(self, corpora: Path) -> list[dict[str, Any]]:
        recorded = json.loads((corpora / "recordings" / self._file).read_text())
        (recordings,) = (value for value in recorded.values() if isinstance(value, list))
        return list(recordings)

    def run(self, chunks: Sequence[bytes]) -> tuple[D, Transcript, list[StreamEvent]]:
        """A decoder that was fed these and the end; what it said."""
        decoder = self._decoder()
        events = [event for chunk in chunks for event in decoder.feed(chunk)]
        events += decoder.end()
        transcript = Transcript()
        transcript.add(events)
        return decoder, transcript, events

    def finished(self, recording: dict[str, Any], chunks: Sequence[bytes]) -> tuple[D, Transcript]:
        """The same, after the checks of completeness and usage."""
        name, expected = recording["id"], recording["expected"]
        decoder, transcript, events = self.run(chunks)
        assert decoder.done == expected["complete"], name
        assert any(isinstance(event, Finished) for event in events) == expected["complete"], name
        self._check_usage(name, expected["usage"], transcript)
        return decoder, transcript

    def _check_usage(
        self, name: str, expected: dict[str, Any] | None, transcript: Transcript
    ) -> None:
        usage = transcript.usage
        if expected is None:
            assert usage is None, name
            return
        assert usage is not None, name
        for path, field in self._usage.items():
            wanted: Any = expected
            for key in path.split("."):
                wanted = wanted.get(key) if isinstance(wanted, dict) else None
            assert getattr(usage, field) == wanted, (name, field)
            assert (field in usage.reported) == (wanted is not None), (name, field)


def body_of(recording: dict[str, Any]) -> bytes:
    if "body_b64" in recording:
        return b64decode(recording["body_b64"])
    text: str = recording["body"]
    return text.encode()


def splits(recording: dict[str, Any], times: int) -> Iterator[list[bytes]]:
    """The body whole, and so many times in pieces."""
    body = body_of(recording)
    dice = Random(recording["id"])
    yield [body]
    for _ in range(times):
        cuts = sorted(dice.randrange(len(body) + 1) for _ in range(dice.randrange(1, 12)))
        yield [body[a:b] for a, b in pairwise([0, *cuts, len(body)])]


def heads(recording: dict[str, Any]) -> Iterator[tuple[int, bytes]]:
    """The body cut between any two events."""
    records = recording["body"].encode().split(b"\n\n")
    for count in range(len(records)):
        yield count, b"".join(record + b"\n\n" for record in records[:count])
