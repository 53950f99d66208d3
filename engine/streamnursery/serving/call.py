"""The seam of a server: what answers requests, and one request as that sees it, whichever version
of HTTP it came over.

    class Hello:
        def begin(self, call): return Greeting()

    class Greeting(Unlogged):
        async def serve(self, call):
            body = await call.body()
            await call.reply(200, [("content-type", "text/plain")], b"hello")

Rule 1: `begin` is called synchronously, in the order in which heads arrive. `serve` runs in a task
        of the connection and is cancelled when the server stops; an error that it raises is not
        caught, and ends the server.
Rule 2: the body comes in pieces or whole, and is bounded: by itself, in sum with those of all
        requests of the server, and in time.
Rule 3: a handler that waits for something else than its client does that in `watching`.
Rule 4: an answer that is not begun can still become a refusal; one that is begun can only break.
"""

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import attrs
import msgspec
import trio

from streamnursery.serving.bounds import BodyBudget, Bounds
from streamnursery.serving.handshake import accepted
from streamnursery.serving.head import ClientGoneError, RefusedError, RequestHead
from streamnursery.serving.player import Account, PacedPlayer, Pacer, Player, State
from streamnursery.serving.steps import (
    CLOSE,
    JSON,
    Headers,
    How,
    Step,
    close_delimited,
    head,
    whole,
)
from streamnursery.serving.stream import Buffer, ServerStream

if TYPE_CHECKING:
    from streamnursery.serving.http2_reply import Http2Reply
    from streamnursery.serving.websocket import ServerSocket


class Answering(Account, Protocol):
    """One request and its answer."""

    async def serve(self, call: "ServerCall") -> None:
        """Answer with `call.play`, `call.reply` or `call.websocket`, whose `RefusedError` and
        `ClientGoneError` may pass."""

    def refuse(self, status: int, message: str) -> Iterator[Step]:
        """The answer to a request that the server itself refuses. The connection ends with it."""


class Handler(Protocol):
    """What a server does with its requests."""

    def begin(self, call: "ServerCall") -> Answering:
        """Take up a request whose head has arrived."""


@attrs.frozen
class Shared:
    """What the connections of one server have in common."""

    nursery: trio.Nursery
    pacer: Pacer
    bounds: Bounds
    bodies: BodyBudget


class CallLine(Protocol):
    """What a call needs of its connection."""

    @property
    def out(self) -> ServerStream: ...

    @property
    def body_ended(self) -> bool:
        """The whole body has been taken."""

    async def receive_body(self) -> bytes:
        """The next bytes of the body; b"" after the last ones. `ClientGoneError`."""

    async def watch(self) -> None:
        """Return when the client has gone."""

    def upgrade(self) -> bytes:
        """What came behind the request; the connection is not HTTP any more."""


class ServerCall:
    """A request, and the means to answer it."""

    def __init__(
        self,
        request: RequestHead,
        line: CallLine,
        shared: Shared,
        handler: Handler,
        since: float,
        http2: "Http2Reply | None" = None,
    ) -> None:
        """`since`: when the first byte of the request came."""
        self.head = request
        self.http2 = http2
        """Means that only HTTP/2 has."""
        self.how: How | None = How.CLOSE
        """What becomes of the connection; None: the client has gone."""
        self.close_idle: float | None = None
        """Seconds of idleness after which the connection is closed from now on."""
        self._line = line
        self._shared = shared
        self._until = since + shared.bounds.request
        self._size = 0
        self._begun = False
        self.answering: Answering = handler.begin(self)

    async def run(self, refusal: RefusedError | None = None) -> How | None:
        """Answer, with `refusal` in place of what the handler would do."""
        try:
            try:
                if refusal is not None:
                    raise refusal
                await self.answering.serve(self)
            except RefusedError as error:
                if self._begun:
                    self.how = How.RESET
                else:
                    steps = self.answering.refuse(error.status, str(error))
                    await self.play(close_delimited(steps))
        except ClientGoneError:
            self.how = None
            self.answering.ended("client gone", trio.current_time())
        finally:
            self.answering.ended("stopped", trio.current_time())
            self._shared.bodies.give_back(self._size)
        return self.how

    # The body. ------------------------------------------------------------------------------

    async def receive_some(self) -> bytes:
        """The next bytes of the body; b"" after the last ones.

        Raises:
            RefusedError: it is too large (413), the server holds too many bodies (503), or it
                took too long (408).
            ClientGoneError: it will not come.
        """
        bounds = self._shared.bounds
        with trio.move_on_at(self._until):
            # A length that was announced is refused before the body is sent for nothing.
            announced = 0 if self._size else int(dict(self.head.headers).get("content-length", 0))
            data = b"" if announced > bounds.body else await self._line.receive_body()
            if announced > bounds.body or self._size + len(data) > bounds.body:
                raise RefusedError(413, f"The body is larger than {bounds.body:,} bytes.")
            if not self._shared.bodies.take(len(data)):
                raise RefusedError(503, "The server holds too many request bodies; try again.")
            self._size += len(data)
            return data
        raise RefusedError(408, f"The request was not whole after {bounds.request:g} seconds.")

    async def body(self) -> bytes:
        """The whole body; errors as for `receive_some`."""
        # Not a list: pieces of one byte would cost forty times what is counted.
        whole = bytearray()
        while data := await self.receive_some():
            whole += data
        return bytes(whole)

    # The answer. ----------------------------------------------------------------------------

    async def play(self, steps: Iterator[Step]) -> None:
        """Send steps at their times; `how` is that of their end."""
        player = Player(self._line.out, self.answering, steps)
        self._begun = True
        state = player.advance(trio.current_time())
        while state is not State.NOTHING:
            if state is State.TIME:
                state = await self._wait_for_time(player)
                continue
            if state is State.ROOM:
                await self._line.out.wait_writable()
            else:
                await trio.lowlevel.checkpoint()
            state = player.advance(trio.current_time())
        self.how = player.how

    async def _wait_for_time(self, player: Player) -> State:
        """Watch the client until the answer needs this task again."""
        with trio.CancelScope() as scope:
            ticket = PacedPlayer(player, scope)
            self._shared.pacer.add(ticket)
            try:
                await self._line.watch()
                player.abandon("client gone", trio.current_time())
            finally:
                self._shared.pacer.remove(ticket)
        return player.state

    async def reply(
        self, status: int, headers: Headers, body: bytes | AsyncIterable[bytes] = b""
    ) -> None:
        """A whole answer, or a head and the pieces of `body`: each is sent before the next one
        is asked for, and the client is watched meanwhile.

        Raises:
            ClientGoneError: before all was sent.
        """
        keep = self.head.keep_alive and self._line.body_ended
        headers = [*headers, *(() if keep else (CLOSE,))]
        if isinstance(body, bytes):
            steps = whole(status, body, headers)
            await self.play(steps if keep else close_delimited(steps))
            if self.how is None:
                raise ClientGoneError
            return
        chunks = self.head.version == "1.1"
        how = (("transfer-encoding", "chunked"),) if chunks else ()
        await self._send(head(status, (*headers, *how)))
        async with self.watching(), _closing(body):
            async for piece in body:
                if piece:
                    await self._send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunks else piece)
        if chunks:
            await self._send(b"0\r\n\r\n")
        self.how = How.KEEP if keep and self.head.version != "1.0" else How.CLOSE
        self.answering.ended("complete", trio.current_time())

    async def _send(self, data: Buffer) -> None:
        """With `how` at RESET, which is what becomes of an answer that ends in its middle."""
        self._begun, self.how = True, How.RESET
        rest = memoryview(data)
        try:
            while rest:
                sent = self._line.out.send_nowait(rest)
                rest = rest[sent:]
                if sent:
                    self.answering.sent(sent, 0, trio.current_time())
                else:
                    await self._line.out.wait_writable()
        except OSError:
            raise ClientGoneError from None
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Cancels its block when the client leaves, and then raises `ClientGoneError`. The body
        has to be taken before: who watches reads on."""
        if not self._line.body_ended:
            raise RuntimeError("take the request's body before you watch its client")
        block, watch, done = trio.CancelScope(), trio.CancelScope(), trio.Event()

        async def look() -> None:
            try:
                with watch:
                    await self._line.watch()
                    block.cancel()
            finally:
                done.set()

        self._shared.nursery.start_soon(look)
        try:
            with block:
                yield
        finally:
            watch.cancel()
            with trio.CancelScope(shield=True):
                await done.wait()
        if block.cancelled_caught:
            raise ClientGoneError

    async def websocket(self, headers: Headers = ()) -> "ServerSocket":
        """Go on as a WebSocket (RFC 6455 4.2), unless steps with the end TALK have done it.

        Raises:
            RefusedError: the client did not ask for that (426), or the extra `ws` is missing (501).
            ClientGoneError: before the switch was sent.
        """
        if self.how is not How.TALK:
            await self._send(head(101, (*accepted(self.head.headers), *headers)))
        # Imported here: it needs the extra `ws`.
        from streamnursery.serving.websocket import ServerSocket

        self.how = How.CLOSE
        return ServerSocket(self._line.out, self._line.upgrade())


class Unlogged:
    """Base of answers that keep no account; errors are one line of JSON."""

    def refuse(self, status: int, message: str) -> Iterator[Step]:
        return whole(status, msgspec.json.encode({"error": {"message": message}}), [JSON, CLOSE])

    def sent(self, nbytes: int, tokens: int, now: float) -> None: ...

    def ended(self, note: str, now: float) -> None: ...


@asynccontextmanager
async def _closing(pieces: AsyncIterable[bytes]) -> AsyncIterator[None]:
    """A generator that was not exhausted is closed by who took from it."""
    try:
        yield
    finally:
        if isinstance(pieces, AsyncGenerator):
            await pieces.aclose()
