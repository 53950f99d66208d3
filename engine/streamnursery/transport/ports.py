"""What passes between a transport and its callers."""

from collections.abc import Callable
from enum import Enum, auto
from math import inf
from typing import Protocol, TypeAlias

import trio

from streamnursery.values.errors import EngineError
from streamnursery.values.http import HttpHead, HttpRequest


class Phase(Enum):
    """How far an exchange has come; `ConnectProgress` gets it as it happens."""

    CONNECTING = auto()
    CONNECTED = auto()
    """A usable connection; no byte of the request was sent on it yet."""
    SENDING = auto()
    """The next step may put bytes of the request on the wire."""


class ConnectProgress(Protocol):
    def enter(self, phase: Phase) -> None:
        """Called synchronously. CONNECTED and SENDING alone for a reused connection; if that turns
        out dead, all three follow for a fresh one."""

    @property
    def deadline(self) -> float:
        """When to stop waiting in the current phase, on trio's clock; it changes with `enter`."""

    def strike(self) -> None:
        """The deadline has passed, and nothing that has arrived lies unread.

        Raises what ends the exchange; if it returns, `deadline` is later than now.
        """

    def connects(self) -> None:
        """A connection is about to be begun for this exchange alone; raises if that is too many."""

    async def resends(self, error: EngineError) -> None:
        """The request ended with `error`, and no server has looked at it: it is about to be sent
        again. Returns when it may be, and raises `error` if it may not."""


class Unhurried:
    """A `ConnectProgress` of an exchange that others bound. It is sent again twice."""

    deadline = inf
    _resent = 0

    def enter(self, phase: Phase) -> None:
        """Nothing follows it."""

    def strike(self) -> None:
        """Never called: no date passes."""

    def connects(self) -> None:
        """As many as it takes."""

    async def resends(self, error: EngineError) -> None:
        """At once, then after a moment."""
        self._resent += 1
        if self._resent > MAX_RESENT:
            raise error
        await trio.sleep(_MOMENT * (self._resent - 1))


MAX_RESENT = 2
"""Times that a request is sent again for reasons that are not its own."""
_MOMENT = 0.2


class ByteSink(Protocol):
    """Takes a response body as it arrives. Synchronous: it never waits and never raises."""

    def feed(self, data: bytes) -> bool:
        """All body bytes of one read. False: the bound is reached, stop reading until resumed."""

    def end(self, error: EngineError | None) -> None:
        """Called once: the body ended cleanly, or broke with `error`."""


HeadListener: TypeAlias = Callable[[EngineError | None], None]
"""Called once and synchronously when a head has come, or with the error that stands for it. It
must not raise."""


class HttpResponse(Protocol):
    """A response whose head has arrived."""

    @property
    def head(self) -> HttpHead:
        """Its headers only until `attach`: a body that takes minutes does not keep them."""

    async def receive_some(self) -> bytes:
        """The next body bytes; b"" at the clean end. Not together with `attach`.

        Raises:
            EngineError: the body broke.
        """

    def attach(self, sink: ByteSink) -> None:
        """Push the body into `sink` from now on; it may be fed, and ended, before this returns."""

    def resume(self) -> None:
        """Read again after `feed` returned False; nothing happens otherwise."""

    async def catch_up(self) -> bool:
        """Have what has arrived pushed now, out of turn: at most one read of it.

        False: nothing lay unread when it was asked for. A checkpoint in any case.
        """

    def mark_unreusable(self) -> None:
        """What came was more than the answer: its connection is not used again. While the answer
        has its own stream on a shared connection, nothing happens."""

    async def drain(
        self,
        until: float = inf,
        *,
        blank: bool = False,
        rest: Callable[[bytes], object] | None = None,
    ) -> None:
        """Read what is left, at most 64 KiB or 50 ms and not beyond `until` on trio's clock, so
        that the connection can be reused; then as `close`. The sink gets nothing more. With `blank`
        more than blank lines make the connection unusable for another request. `rest` is called
        with each piece of it."""

    def close(self) -> None:
        """Synchronous and idempotent. The connection goes back to the pool if the message has
        been read to its end, and is closed at once otherwise; the sink gets nothing more."""


class HttpExchange(HttpResponse, Protocol):
    """A request that goes out, and its response: usable as one from `on_head` on."""

    def expect(self, on_head: HeadListener) -> None:
        """Have `on_head` called when the final head has come, or none will; perhaps at once. By
        whoever reads the connection: the exchange is waited for in no way but `catch_up`."""

    async def send(self, request: HttpRequest) -> None:
        """Send it, after `expect` since an answer may come first; not once the head is there.
        Cancelled, some of it may have gone, and an answer may still come."""

    @property
    def unseen(self) -> bool:
        """No head has come, and no server has looked at the request: it may be sent again."""
