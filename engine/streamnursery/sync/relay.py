"""A relay as a plain thread reads it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import trio

from streamnursery.bridge.hosts import SyncHost
from streamnursery.bridge.outbox import Mailbox
from streamnursery.bridge.streams import RelayHalf
from streamnursery.bridge.words import same_words
from streamnursery.pipeline.relayed import Refusal, RelayedAnswer, RelayFigures
from streamnursery.sync.stream import SyncStreamBlock, SyncTokenStream
from streamnursery.sync.waits import SyncBridge
from streamnursery.values.errors import EngineError
from streamnursery.values.relay import RelayHead


class SyncRelayedAnswer(RelayFigures, Iterator[bytes]):
    """Iterate it inside its block: the bytes of the answer as they come. It ends when the answer
    is whole, or raises what ended it."""

    def __init__(self, reader: SyncTokenStream, refusal: Callable[[], Refusal | None]) -> None:
        self._reader: SyncTokenStream = reader
        self._refusal = refusal
        self._refused = False
        self._items: list[bytes] = []
        self._head = RelayHead(0, ())

    @property
    @same_words(RelayedAnswer.status)
    def status(self) -> int:
        return self._head.status

    @property
    @same_words(RelayedAnswer.headers)
    def headers(self) -> tuple[tuple[str, str], ...]:
        return self._head.headers

    def __iter__(self) -> "SyncRelayedAnswer":
        return self

    def __next__(self) -> bytes:
        if not self._items and not self._more():
            raise StopIteration
        return self._items.pop(0)

    @same_words(RelayedAnswer.read)
    def read(self) -> bytes:
        while self._more():
            pass
        items, self._items = self._items, []
        return b"".join(items)

    def _begin(self) -> None:
        try:
            self._head, *self._items = self._received()
        except EngineError as error:
            refusal = self._refusal()
            if refusal is None or refusal.error is not error:
                raise
            self._head, self._items = refusal.head, [refusal.body] if refusal.body else []
            self._refused = True

    def _received(self) -> list[Any]:
        return self._reader.receive()

    def _more(self) -> bool:
        """Whether there was another read, which is kept behind what is there.

        Raises:
            EngineError: what ended the answer.
        """
        try:
            self._items += self._received()
        except trio.EndOfChannel:
            return False
        except EngineError:
            if not self._refused:
                raise
            return False
        return True


class SyncRelayBlock(AbstractContextManager[SyncRelayedAnswer]):
    """`with` around one relay. Entering it waits for the head of the answer."""

    def __init__(
        self, bridge: SyncBridge, make_half: Callable[[SyncHost, Mailbox], RelayHalf]
    ) -> None:
        self._half: RelayHalf | None = None

        def kept(host: SyncHost, box: Mailbox) -> RelayHalf:
            self._half = make_half(host, box)
            return self._half

        self._block = SyncStreamBlock(bridge, kept)

    def __enter__(self) -> SyncRelayedAnswer:
        stream = self._block.__enter__()
        assert self._half is not None
        answer = SyncRelayedAnswer(stream, self._half.refusal)
        try:
            answer._begin()
        except BaseException:
            self._block.__exit__()
            raise
        return answer

    def __exit__(self, *_: object) -> None:
        self._block.__exit__()

    def abandon(self) -> None:
        """Leave without waiting; from any thread, idempotent."""
        self._block.abandon()
