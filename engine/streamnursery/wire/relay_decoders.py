"""Beside the bytes that are handed on: who reads them for evidence, usage and clocks.

Each is a `StreamDecoder` whose events have the bytes among them: a `RelayHead` first, then `bytes`.

Rule 1: nothing is handed on before there is something to keep: the first content, or the end.
        Until then an attempt that fails leaves no trace, and its bytes count as buffered.
Rule 2: bytes are handed on as they came, in their order, also those in which a provider reports an
        error behind content. A read that cannot be read as the language is kept back: its reader
        would stumble over it, and not over the error that follows.
Rule 3: an answer that does not stream is handed on when it is whole.
"""

from typing import Any

from streamnursery.values.errors import (
    EngineError,
    ProtocolError,
    ProviderError,
    TooLargeError,
    TruncatedStreamError,
)
from streamnursery.values.events import CONTENT, Finished, TextDelta, UsageReport
from streamnursery.values.relay import RelayHead
from streamnursery.wire import token_counts
from streamnursery.wire.dialect import Cursor, StreamDecoder
from streamnursery.wire.gemini import usage as gemini_counts
from streamnursery.wire.gemini_interactions import usage as interaction_counts
from streamnursery.wire.json_text import read_json
from streamnursery.wire.usage_filter import UsageFilter

_BEGIN = frozenset((*CONTENT, Finished))
_A_READ = TextDelta("")
"""What stands for the content of a read in an unknown language: it feeds the clocks."""


class RelayedStream:
    """A stream, beside the decoder of its language."""

    cursor: Cursor | None = None
    """What has been handed on cannot be asked for again."""

    def __init__(
        self, head: RelayHead, inner: StreamDecoder, usage_filter: UsageFilter | None
    ) -> None:
        """`usage_filter` takes out the event of usage that the caller has not asked for."""
        self._head = head
        self._inner = inner
        self._filter = usage_filter
        self._held: list[bytes] | None = []
        self._held_bytes = 0

    @property
    def done(self) -> bool:
        return self._inner.done

    @property
    def trailing(self) -> bool:
        return False  # it is handed on

    @property
    def failure(self) -> EngineError | None:
        return self._inner.failure

    @property
    def response_id(self) -> str | None:
        return self._inner.response_id

    @property
    def response_model(self) -> str | None:
        return self._inner.response_model

    @property
    def buffered(self) -> int:
        return self._inner.buffered + self._held_bytes

    def feed(self, data: bytes) -> list[Any]:
        events = self._inner.feed(data)
        if isinstance(self._inner.failure, ProtocolError):
            return self._beside(b"", events)
        raw = data
        if self._filter is not None:
            raw = self._filter.feed(data)
            if self._inner.done or self._inner.failure is not None:
                raw += self._filter.rest()
        return self._beside(raw, events)

    def end(self, *, delimited: bool = True) -> list[Any]:
        events = self._inner.end(delimited=delimited)
        return self._beside(b"" if self._filter is None else self._filter.rest(), events)

    def _beside(self, raw: bytes, events: list[Any]) -> list[Any]:
        if self._held is None:
            return [raw, *events] if raw else events
        self._held.append(raw)
        self._held_bytes += len(raw)
        if not any(type(event) in _BEGIN for event in events):
            return events
        held = b"".join(self._held)
        self._held, self._held_bytes = None, 0
        return [self._head, held, *events] if held else [self._head, *events]


class _Foreign:
    """What the decoders of answers have in common that no dialect knows."""

    cursor: Cursor | None = None
    response_id: str | None = None
    response_model: str | None = None
    done = False
    trailing = False
    buffered = 0

    def __init__(self, head: RelayHead) -> None:
        self.failure: EngineError | None = None
        self._head = head

    def _cut(self) -> list[Any]:
        msg = (
            "the answer ended with its connection and has neither a length nor a last chunk: it "
            "may be cut"
        )
        self.failure = TruncatedStreamError(msg, status=self._head.status)
        return []


class RelayedBytes(_Foreign):
    """An event stream in an unknown language. It is whole when its framing says so."""

    _begun = False

    def feed(self, data: bytes) -> list[Any]:
        begun, self._begun = self._begun, True
        return [data, _A_READ] if begun else [self._head, data, _A_READ]

    def end(self, *, delimited: bool = True) -> list[Any]:
        if not delimited:
            return self._cut()
        return [Finished(None)] if self._begun else [self._head, Finished(None)]


class RelayedWhole(_Foreign):
    """An answer that does not stream; `inner` knows its language, where it is known."""

    def __init__(self, head: RelayHead, inner: StreamDecoder | None, most: int) -> None:
        """`most` bytes are kept."""
        super().__init__(head)
        self._inner = inner
        self._most = most
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> list[Any]:
        self._parts.append(data)
        self.buffered += len(data)
        if self.buffered > self._most:
            self._parts.clear()
            self.buffered = 0
            msg = (
                f"an answer that does not stream has more than the {self._most:,} bytes of "
                "engine.max_relayed_bytes; raise it if such answers are wanted"
            )
            self.failure = TooLargeError(msg, status=self._head.status)
        return []

    def end(self, *, delimited: bool = True) -> list[Any]:
        if self.failure is not None:
            return []
        body = b"".join(self._parts)
        self._parts.clear()
        self.buffered = 0
        if not delimited and read_json(body) is None:
            return self._cut()
        events = self._events(body)
        if self.failure is not None:
            return []
        return [self._head, body, *events] if body else [self._head, *events]

    def _events(self, body: bytes) -> list[Any]:
        """What the answer says, in the words of its language or else of its usage alone."""
        if self._inner is not None:
            events = [*self._inner.feed(body), *self._inner.end()]
            self.response_id = self._inner.response_id
            self.response_model = self._inner.response_model
            if self._inner.failure is None and events and type(events[-1]) is Finished:
                return events
            if isinstance(self._inner.failure, ProviderError):
                self.failure = self._inner.failure
        return [*_usage(read_json(body)), Finished(None)]


def _usage(value: object) -> list[UsageReport]:
    if not isinstance(value, dict):
        return []
    told, theirs = value.get("usage"), value.get("usageMetadata")
    usage = token_counts.read_usage(told) if isinstance(told, dict) else None
    if usage is None and isinstance(theirs, dict):
        usage = gemini_counts.read_usage(theirs)
    if usage is None and isinstance(told, dict):
        usage = interaction_counts.read_usage(told)
    return [] if usage is None else [UsageReport(usage)]
