"""One HTTP/2 connection: many requests in, their answers out.

Rule 1: the protocol is `h2`'s. What it would not say, a GOAWAY after which streams run on, is
        written as bytes.
Rule 2: an answer is made of the same steps as over HTTP/1.1, and played by the same player.
Rule 3: what goes out waits in one buffer of about 64 KiB; while that is full answers wait.
Rule 4: a client that resets a stream has left that request, and no other.
"""

from math import inf
from struct import pack

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import trio

from streamnursery.serving.call import Handler, ServerCall, Shared
from streamnursery.serving.head import RequestHead
from streamnursery.serving.http2_reply import Http2Reply
from streamnursery.serving.steps import How
from streamnursery.serving.stream import ServerStream, receive

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
MAX_UNSENT = 64 * 1024


class Http2Conversation:
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
        """As `Conversation`."""
        config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        self.h2 = h2.connection.H2Connection(config)
        self._stream = stream
        self._handler = handler
        self._shared = shared
        self._patience = shared.bounds.idle
        self._close_idle = close_idle
        self._early = early
        self._replies: dict[int, Http2Reply] = {}
        self._calls: dict[int, ServerCall] = {}
        self._unsent = bytearray()
        self._last_id = inf
        """The last stream that is served."""
        self._silent = False
        self._watch = trio.CancelScope()
        """Ends the connection at its deadline, which is in force while nothing is answered."""
        self._work: trio.Nursery | None = None
        self._news = trio.Event()

    @property
    def busy(self) -> bool:
        """A request is being received or answered."""
        return bool(self._replies)

    def stop(self) -> None:
        """End with the answers that are being given."""
        self.say_goodbye(self.h2.highest_inbound_stream_id, 0)
        self._look()

    async def run(self) -> None:
        """Serve until either side ends the connection."""
        self.h2.initiate_connection()
        with self._watch:
            async with trio.open_nursery() as self._work:
                self._work.start_soon(self._write)
                self._look()
                await self._read()
                self._work.cancel_scope.cancel()

    # In. ------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            data = self._early or await receive(self._stream)
            self.flush()
            while data:
                self._take(data)
                data = await receive(self._stream)
        except (OSError, h2.exceptions.ProtocolError):
            # h2 has a GOAWAY ready for who breaks the rules.
            self.flush()

    def _take(self, data: bytes) -> None:
        if self._silent:
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self._begin(event)
            elif isinstance(event, h2.events.DataReceived):
                self._on_data(event)
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset):
                reply = self._replies.get(event.stream_id or 0)
                if reply is not None and isinstance(event, h2.events.StreamEnded):
                    reply.on_end()
                elif reply is not None:
                    self._drop(reply, "client gone")
            elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
                self._tell()
        self.flush()
        self._look()

    def _begin(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id or 0
        if stream_id > self._last_id or self._work is None:
            return
        fields = [(str(name), str(value)) for name, value in event.headers or ()]
        pseudo = dict(fields)
        head = RequestHead(
            pseudo.get(":method", ""),
            pseudo.get(":path", ""),
            tuple([field for field in fields if not field[0].startswith(":")]),
            version="2",
        )
        reply = Http2Reply(self, stream_id)
        call = ServerCall(head, reply, self._shared, self._handler, trio.current_time(), reply)
        self._replies[stream_id], self._calls[stream_id] = reply, call
        if stream_id > self._last_id:
            self._drop(reply, "sent on")
        elif reply.gone:
            self._forget(reply)
        else:
            self._work.start_soon(self._answer, reply, call)

    def _on_data(self, event: h2.events.DataReceived) -> None:
        reply = self._replies.get(event.stream_id or 0)
        size = event.flow_controlled_length or 0
        if reply is None:
            self.h2.acknowledge_received_data(size, event.stream_id or 0)
        else:
            reply.on_data(event.data or b"", size)

    def _drop(self, reply: Http2Reply, note: str) -> None:
        """The client has left this request, or sends it elsewhere."""
        self._calls[reply.id].answering.ended(note, trio.current_time())
        reply.leave()
        self._forget(reply)

    def _forget(self, reply: Http2Reply) -> None:
        self._replies.pop(reply.id, None)
        self._calls.pop(reply.id, None)
        reply.settle()

    def mute(self) -> None:
        self._silent = True

    def say_goodbye(self, last_id: int, code: int) -> None:
        self._last_id = last_id
        self._unsent += self.h2.data_to_send()
        self._unsent += b"\0\0\x08\x07\0" + pack(">III", 0, last_id, code)
        for reply in [reply for reply in self._replies.values() if reply.id > last_id]:
            self._drop(reply, "sent on")
        self.flush()

    # Out. -----------------------------------------------------------------------------------

    async def _answer(self, reply: Http2Reply, call: ServerCall) -> None:
        try:
            how = await call.run()
            if how in (None, How.RESET, How.CUT):
                reply.reset()
            else:
                reply.finish()
        finally:
            self._forget(reply)
            if call.close_idle is not None:
                self._close_idle = call.close_idle
            self._patience = min(self._patience, self._close_idle)
            self._look()

    @property
    def room(self) -> int:
        return MAX_UNSENT - len(self._unsent)

    def flush(self) -> None:
        """Send what there is to send; what finds no room goes out when there is some."""
        self._unsent += self.h2.data_to_send()
        if self._silent:
            self._unsent.clear()
        if self._unsent and not self._push():
            self._news.set()

    def _push(self) -> bool:
        try:
            sent = self._stream.send_nowait(bytes(self._unsent))
        except (OSError, trio.ClosedResourceError):
            sent = len(self._unsent)  # the reader will hear of it
        del self._unsent[:sent]
        return not self._unsent

    async def _write(self) -> None:
        try:
            while True:
                await self._news.wait()
                self._news = trio.Event()
                while self._unsent:
                    await self._stream.wait_writable()
                    if self._push():
                        self._tell()
        except OSError:
            return

    def _tell(self) -> None:
        for reply in list(self._replies.values()):
            reply.on_room()

    def _look(self) -> None:
        """Set the time at which the connection ends by itself."""
        if self._replies:
            self._watch.deadline = inf
        elif self._last_id < inf and not self._unsent:
            self._watch.deadline = trio.current_time() + 0.05
        else:
            self._watch.deadline = trio.current_time() + self._patience
