"""One connection at a simulated provider: requests in, answers out.

Rule 1: whatever the client sends, the conversation ends in an orderly way; nonsense gets 400.
Rule 2: the client is watched while an answer waits for its time; its FIN counts as leaving, as
        it does at most servers. What it sends meanwhile is kept, up to `EARLY` bytes.
Rule 3: requests are parsed with h11; every byte of an answer is our own.
Rule 4: a connection that ends while the client may still be sending is half-closed and read
        out for `LINGER` seconds, so that no RST takes the answer away from the client.
"""

from collections.abc import Iterator
from math import inf

import trio

from streamnursery.simulator.exchange import Exchange
from streamnursery.simulator.player import PacedPlayer, Pacer, Player, ServerStream, State
from streamnursery.simulator.provider import Provider
from streamnursery.simulator.request_parser import ClientGoneError, RefusedError, RequestParser
from streamnursery.simulator.steps import How, Step

READ = 64 * 1024
EARLY = 64 * 1024
MAX_BODY = 32 * 1024 * 1024
"""Bytes of a request's body; beyond it 413."""
LINGER = 1.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Conversation:
    """Serves one connection. It does not close the stream; whoever opened it does."""

    def __init__(
        self,
        stream: ServerStream,
        provider: Provider,
        pacer: Pacer,
        *,
        idle: float = inf,
        close_idle: float = inf,
        early: bytes = b"",
    ) -> None:
        """The client may send nothing for `idle` seconds when it is its turn, and for
        `close_idle` between two requests. `early` was read from the stream before."""
        self.busy = False
        """A request is being received or answered."""
        self.stopping = False
        """End with the answer that is being given."""
        self._stream = stream
        self._provider = provider
        self._pacer = pacer
        self._idle = idle
        self._close_idle = close_idle
        self._between = idle
        self._inbox = RequestParser()
        if early:
            self._inbox.feed(early)
        self._early = 0

    def stop(self) -> None:
        """End with the answer that is being given."""
        self.stopping = True

    async def run(self) -> None:
        """Serve until either side ends the connection."""
        try:
            how: How | None = How.KEEP
            while how is How.KEEP and not self.stopping:
                how = await self._serve_one()
                self.busy = False
            if how is How.RESET:
                self._stream.reset()
            elif how is How.CLOSE:
                await self._linger()
        except (ClientGoneError, OSError):
            return

    async def _serve_one(self) -> How | None:
        """Receive and answer one request; what is to become of the connection then."""
        exchange, refusal = await self._begun()
        self.busy = True
        try:
            steps = refusal if refusal is not None else await self._steps(exchange)
            how = How.RESET if steps is None else await self._play(exchange, steps)
        except (ClientGoneError, OSError):
            exchange.ended("client gone", trio.current_time())
            raise
        finally:
            exchange.ended("stopped", trio.current_time())
        if how is How.KEEP:
            self._inbox.next_message()
            self._early = 0
        elif how is How.TALK:
            how = await self._talk(exchange)
        if exchange.close_idle is not None:
            self._close_idle = exchange.close_idle
        self._between = min(self._idle, self._close_idle)
        return how

    async def _talk(self, exchange: Exchange) -> How:
        """Go on as a WebSocket, to its end."""
        # Imported here: it needs the extra `ws`, and so does nobody else.
        from streamnursery.simulator.websocket import Talk

        self.busy = False
        return await Talk(self._stream, self._provider, exchange, self._inbox.rest()).run()

    async def _begun(self) -> tuple[Exchange, Iterator[Step] | None]:
        """The next request, and the answer to it if it was none."""
        try:
            head = self._inbox.head()
            while head is None:
                await self._hear(self._between)
                head = self._inbox.head()
        except RefusedError as error:
            exchange = self._provider.begin("", "", (), trio.current_time())
            return exchange, exchange.refuse(error.status, f"This is not HTTP: {error}.")
        return self._provider.begin(
            head.method,
            head.target,
            head.headers,
            trio.current_time(),
            version=head.version,
            keep_alive=head.keep_alive,
        ), None

    async def _steps(self, exchange: Exchange) -> Iterator[Step] | None:
        """The answer, or None when the connection is to be reset in the middle of the body."""
        if exchange.early is not None:
            return exchange.early
        try:
            body = await self._body(exchange)
        except RefusedError as error:
            return exchange.refuse(error.status, str(error))
        return None if body is None else exchange.answer(body, trio.current_time())

    async def _body(self, exchange: Exchange) -> bytes | None:
        """The request's body; None when the connection is to be reset in the middle of it."""
        parts: list[bytes] = []
        size = 0
        if self._inbox.wants_continue:
            while not self._stream.send_nowait(CONTINUE):
                await self._stream.wait_writable()
        while True:
            if exchange.reset_upload_after is not None and size >= exchange.reset_upload_after:
                exchange.ended("upload cut", trio.current_time())
                return None
            data = self._inbox.body()
            if data:
                parts.append(data)
                size += len(data)
                if size > MAX_BODY:
                    raise RefusedError(413, f"The body is larger than {MAX_BODY:,} bytes.")
            elif data is not None:
                return b"".join(parts)
            else:
                await self._hear(self._idle)

    async def _hear(self, patience: float) -> None:
        """Feed the inbox with one read; `ClientGoneError` when it takes too long to come."""
        with trio.move_on_after(patience):
            while True:
                await self._stream.wait_readable()
                try:
                    data = self._stream.recv_nowait(READ)
                except trio.WouldBlock:
                    continue
                self._inbox.feed(data)
                return
        raise ClientGoneError

    # Answers. -------------------------------------------------------------------------------

    async def _play(self, exchange: Exchange, steps: Iterator[Step]) -> How | None:
        player = Player(self._stream, exchange, steps)
        state = player.advance(trio.current_time())
        while state is not State.NOTHING:
            if state is State.TIME:
                state = await self._wait_for_time(player)
                continue
            if state is State.ROOM:
                await self._stream.wait_writable()
            else:
                await trio.lowlevel.checkpoint()
            state = player.advance(trio.current_time())
        return player.how

    async def _wait_for_time(self, player: Player) -> State:
        """Watch the client until the answer needs this task again."""
        with trio.CancelScope() as scope:
            ticket = PacedPlayer(player, scope)
            self._pacer.add(ticket)
            try:
                await self._watch()
                player.abandon("client gone", trio.current_time())
            finally:
                self._pacer.remove(ticket)
        return player.state

    async def _watch(self) -> None:
        """Return when the client has gone."""
        while self._early < EARLY:
            await self._stream.wait_readable()
            try:
                data = self._stream.recv_nowait(EARLY - self._early)
            except trio.WouldBlock:
                continue
            except OSError:
                return
            if not data:
                return
            self._inbox.feed(data)
            self._early += len(data)
        await trio.sleep_forever()

    async def _linger(self) -> None:
        with trio.move_on_after(LINGER):
            await self._send_eof()
            while True:
                await self._stream.wait_readable()
                try:
                    if not self._stream.recv_nowait(READ):
                        return
                except trio.WouldBlock:
                    continue

    async def _send_eof(self) -> None:
        while True:
            try:
                return self._stream.send_eof()
            except trio.WouldBlock:
                await self._stream.wait_writable()
