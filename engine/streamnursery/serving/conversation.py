"""One connection of HTTP/1.1: requests in, answers out.

Rule 1: whatever the client sends, the conversation ends in an orderly way; nonsense gets 400.
Rule 2: the client is watched while an answer waits for its time; its FIN counts as leaving, as
        it does at most servers. What it sends meanwhile is kept, up to `EARLY` bytes.
Rule 3: requests are parsed with h11; every byte of an answer is our own.
Rule 4: a connection that ends while the client may still be sending is half-closed and read
        out for `LINGER` seconds, so that no RST takes the answer away from the client.
"""

from math import inf

import trio

from streamnursery.serving.call import Handler, ServerCall, Shared
from streamnursery.serving.head import ClientGoneError, RefusedError, RequestHead
from streamnursery.serving.request_parser import RequestParser
from streamnursery.serving.steps import How
from streamnursery.serving.stream import READ, ServerStream, receive

EARLY = 64 * 1024
LINGER = 1.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Conversation:
    """Serves one connection. It does not close the stream; its owner does."""

    def __init__(
        self,
        stream: ServerStream,
        handler: Handler,
        shared: Shared,
        *,
        close_idle: float = inf,
        early: bytes = b"",
    ) -> None:
        """The client may send nothing for `close_idle` seconds between two requests, if that is
        less than the server's patience. `early` was read from the stream before."""
        self.out = stream
        self.body_ended = False
        self.busy = False
        """A request is being received or answered."""
        self._handler = handler
        self._shared = shared
        self._stopping = False
        self._idle = shared.bounds.idle
        self._close_idle = close_idle
        self._between = self._idle
        self._inbox = RequestParser()
        if early:
            self._inbox.feed(early)
        self._early = 0

    def stop(self) -> None:
        """End with the answer that is being given."""
        self._stopping = True

    async def run(self) -> None:
        """Serve until either side ends the connection."""
        try:
            how: How | None = How.KEEP
            while how is How.KEEP and not self._stopping:
                how = await self._serve_one()
                self.busy = False
            if how is How.RESET:
                self.out.reset()
            elif how is not None and how is not How.KEEP:
                await self._linger()
        except (ClientGoneError, OSError):
            return

    async def _serve_one(self) -> How | None:
        """Receive and answer one request; what is to become of the connection then."""
        since = trio.current_time() if self._inbox.begun else inf
        refusal = None
        try:
            while (head := self._inbox.head()) is None:
                since = await self._hear_head(since)
        except RefusedError as error:
            refusal = RefusedError(error.status, f"This is not HTTP: {error}.")
            head = RequestHead("", "", ())
        names = {name for name, _ in head.headers}
        self.body_ended = not names & {"content-length", "transfer-encoding"}
        call = ServerCall(head, self, self._shared, self._handler, min(since, trio.current_time()))
        self.busy = True
        how = await call.run(refusal)
        if how is How.KEEP:
            if not self.body_ended:
                return How.CLOSE
            self._inbox.next_message()
            self._early = 0
        if call.close_idle is not None:
            self._close_idle = call.close_idle
        self._between = min(self._idle, self._close_idle)
        return how

    async def _hear_head(self, since: float) -> float:
        """Wait for more of a head whose first byte came at `since` (inf: not yet)."""
        if since == inf:
            await self._hear(self._between)
            return trio.current_time()
        with trio.move_on_at(since + self._shared.bounds.request):
            await self._hear(self._idle)
            return since
        seconds = self._shared.bounds.request
        raise RefusedError(408, f"the head was not whole after {seconds:g} seconds")

    # As the `CallLine` of its calls. ----------------------------------------------------------

    async def receive_body(self) -> bytes:
        if self._inbox.wants_continue:
            await self._send_continue()
        while (data := self._inbox.body()) is None:
            await self._hear(self._idle)
        self.body_ended = not data
        return data

    async def _send_continue(self) -> None:
        try:
            while not self.out.send_nowait(CONTINUE):
                await self.out.wait_writable()
        except OSError:
            raise ClientGoneError from None

    async def _hear(self, patience: float) -> None:
        """Feed the inbox with one read; `ClientGoneError` when it takes too long to come."""
        with trio.move_on_after(patience):
            try:
                data = await receive(self.out)
            except OSError:
                raise ClientGoneError from None
            self._inbox.feed(data)
            return
        raise ClientGoneError

    async def watch(self) -> None:
        while self._early < EARLY:
            try:
                data = await receive(self.out, EARLY - self._early)
            except OSError:
                return
            if not data:
                return
            self._inbox.feed(data)
            self._early += len(data)
        await trio.sleep_forever()

    def upgrade(self) -> bytes:
        self.busy = False
        return self._inbox.rest()

    # The end. --------------------------------------------------------------------------------

    async def _linger(self) -> None:
        with trio.move_on_after(LINGER):
            await self._send_eof()
            while await receive(self.out, READ):
                pass

    async def _send_eof(self) -> None:
        while True:
            try:
                return self.out.send_eof()
            except trio.WouldBlock:
                await self.out.wait_writable()
