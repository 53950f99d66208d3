"""What a relay hands on: the head of the answer, and its bytes as they come."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from streamnursery.pipeline.delivery import Delivery
from streamnursery.values.errors import AttemptRecord, EngineError
from streamnursery.values.relay import RelayHead
from streamnursery.values.timings import Timings
from streamnursery.values.usage import Usage

if TYPE_CHECKING:
    from streamnursery.values.events import StreamEvent


def is_handed_on(item: object) -> bool:
    """Whether it goes through a relay's channel; the events beside it stay with its delivery."""
    return type(item) is bytes or type(item) is RelayHead


@attrs.define(eq=False)
class RelayDelivery(Delivery):
    """Hands on bytes, and keeps what the events beside them say."""

    def put(self, events: list[Any], nbytes: int) -> bool:
        items = [item for item in events if is_handed_on(item)]
        if not items:
            self.note(events, nbytes)
            return True
        told: list[StreamEvent] = [item for item in events if not is_handed_on(item)]
        count = sum(len(item) for item in items if type(item) is bytes)
        if told:
            self.note(told, count)
        return self.channel.put(items, count)


@attrs.frozen
class Refusal:
    """An answer of the provider's own that says no."""

    error: EngineError
    """What the engine made of it."""
    head: RelayHead
    body: bytes = attrs.field(repr=False)


class RelayReader(Protocol):
    """Reads the channel of a relay; a stream's reader does."""

    async def receive(self) -> list[Any]: ...

    @property
    def number(self) -> int: ...
    @property
    def timings(self) -> Timings: ...
    @property
    def usage(self) -> Usage | None: ...
    @property
    def route(self) -> str | None: ...
    @property
    def request_id(self) -> str | None: ...
    @property
    def attempts(self) -> tuple[AttemptRecord, ...]: ...
    @property
    def error(self) -> EngineError | None: ...


class RelayFigures:
    """What is known of a relayed answer."""

    _reader: Any

    @property
    def number(self) -> int:
        """Of the request within its engine, from 1; records carry it as `request`."""
        return self._reader.number  # type: ignore[no-any-return]

    @property
    def timings(self) -> Timings:
        return self._reader.timings  # type: ignore[no-any-return]

    @property
    def usage(self) -> Usage | None:
        """Tokens as the provider reports them; None until then, or for ever."""
        return self._reader.usage  # type: ignore[no-any-return]

    @property
    def route(self) -> str | None:
        """`endpoint/model` of the current attempt."""
        return self._reader.route  # type: ignore[no-any-return]

    @property
    def request_id(self) -> str | None:
        """The provider's id of the HTTP exchange."""
        return self._reader.request_id  # type: ignore[no-any-return]

    @property
    def attempts(self) -> tuple[AttemptRecord, ...]:
        return self._reader.attempts  # type: ignore[no-any-return]

    @property
    def error(self) -> EngineError | None:
        """What ended it, if something did; also of an answer that says no."""
        return self._reader.error  # type: ignore[no-any-return]


class RelayedAnswer(RelayFigures, AsyncIterator[bytes]):
    """Iterate it inside its block: the bytes of the answer as they come. It ends when the answer
    is whole, or raises what ended it."""

    def __init__(self, reader: RelayReader, refusal: Callable[[], Refusal | None]) -> None:
        self._reader = reader
        self._refusal = refusal
        self._refused = False
        self._items: list[bytes] = []
        self._head = RelayHead(0, ())

    @property
    def status(self) -> int:
        """The provider's own. Below 300, or 400 and above for an answer that says no, which is
        handed on as it came once no attempt is left."""
        return self._head.status

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """The provider's own, in lower case, without those of the connection."""
        return self._head.headers

    def __aiter__(self) -> "RelayedAnswer":
        return self

    async def __anext__(self) -> bytes:
        if not self._items and not await self._more():
            raise StopAsyncIteration
        return self._items.pop(0)

    async def read(self) -> bytes:
        """What is left of the answer, all of it.

        Raises:
            EngineError: what ended it.
        """
        while await self._more():
            pass  # what has come stays here, should this be cancelled
        items, self._items = self._items, []
        return b"".join(items)

    async def _begin(self) -> None:
        """Until there is something to hand on.

        Raises:
            EngineError: there will be nothing.
        """
        try:
            self._head, *self._items = await self._reader.receive()
        except EngineError as error:
            refusal = self._refusal()
            if refusal is None or refusal.error is not error:
                raise
            self._head, self._items = refusal.head, [refusal.body] if refusal.body else []
            self._refused = True

    async def _more(self) -> bool:
        """Whether there was another read, which is kept behind what is there.

        Raises:
            EngineError: what ended the answer.
        """
        try:
            self._items += await self._reader.receive()
        except trio.EndOfChannel:
            return False
        except EngineError:
            if not self._refused:
                raise
            return False
        return True
