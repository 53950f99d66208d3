"""One HTTP/2 connection at a simulated provider: many requests in, their answers out.

Rule 1: the protocol is `h2`'s. What it would not say, a GOAWAY after which streams run on, is
        written as bytes.
Rule 2: an answer is made of the same steps as over HTTP/1.1, and played by the same player.
Rule 3: what goes out waits in one buffer of about 64 KiB; while that is full answers wait.
Rule 4: a client that resets a stream has left that request, and no other.
"""

from collections.abc import Iterator
from math import inf
from struct import pack

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import trio

from streamnursery.simulator.exchange import Exchange
from streamnursery.simulator.http2_reply import Http2Reply
from streamnursery.simulator.player import PacedPlayer, Pacer, Player, ServerStream, State
from streamnursery.simulator.provider import Provider
from streamnursery.simulator.script_http2 import (
    ERROR_CODES,
    Goaway,
    PingSilence,
    ResetStream,
    Settings,
    WindowStall,
)
from streamnursery.simulator.steps import End, How, Step, broken_off_at_token

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
READ = 64 * 1024
MAX_UNSENT = 64 * 1024
MAX_BODY = 32 * 1024 * 1024


class Http2Conversation:
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
        """As `Conversation`."""
        config = h2.config.H2Configuration(client_side=False, header_encoding="latin-1")
        self.h2 = h2.connection.H2Connection(config)
        self._stream = stream
        self._provider = provider
        self._pacer = pacer
        self._patience = idle
        self._close_idle = close_idle
        self._early = early
        self._replies: dict[int, Http2Reply] = {}
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
        self._say_goodbye(self.h2.highest_inbound_stream_id, 0)
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
            data = self._early or await self._receive()
            self.flush()
            while data:
                self._take(data)
                data = await self._receive()
        except (OSError, h2.exceptions.ProtocolError):
            # h2 has a GOAWAY ready for who breaks the rules.
            self.flush()

    async def _receive(self) -> bytes:
        while True:
            await self._stream.wait_readable()
            try:
                return self._stream.recv_nowait(READ)
            except trio.WouldBlock:
                continue

    def _take(self, data: bytes) -> None:
        if self._silent:
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self._begin(event)
            elif isinstance(event, h2.events.DataReceived):
                self._on_data(event)
            elif isinstance(event, h2.events.StreamEnded):
                self._on_end(self._replies.get(event.stream_id or 0))
            elif isinstance(event, h2.events.StreamReset):
                reply = self._replies.get(event.stream_id or 0)
                if reply is not None:
                    self._lose(reply)
            elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
                self._tell()
        self.flush()
        self._look()

    def _begin(self, event: h2.events.RequestReceived) -> None:
        stream_id = event.stream_id or 0
        if stream_id > self._last_id:
            return
        fields = [(str(name), str(value)) for name, value in event.headers or ()]
        pseudo = dict(fields)
        exchange = self._provider.begin(
            pseudo.get(":method", ""),
            pseudo.get(":path", ""),
            [field for field in fields if not field[0].startswith(":")],
            trio.current_time(),
            version="2",
        )
        reply = self._replies[stream_id] = Http2Reply(self, stream_id, exchange)
        self._apply(reply, 0)
        if exchange.early is not None and not reply.gone:
            self._start(reply)

    def _on_data(self, event: h2.events.DataReceived) -> None:
        reply = self._replies.get(event.stream_id or 0)
        size = event.flow_controlled_length or 0
        if reply is not None and reply.held_up:
            reply.owed += size
        else:
            self.h2.acknowledge_received_data(size, event.stream_id or 0)
        if reply is None or reply.started:
            return
        reply.body += event.data or b""
        cut = reply.exchange.reset_upload_after
        if cut is not None and len(reply.body) >= cut:
            reply.exchange.ended("upload cut", trio.current_time())
            reply.reset()
            self._drop(reply)
        elif len(reply.body) > MAX_BODY:
            self._start(reply)

    def _on_end(self, reply: Http2Reply | None) -> None:
        if reply is not None:
            reply.body_ended = True
            if not reply.started:
                self._start(reply)

    def _lose(self, reply: Http2Reply) -> None:
        """The client has reset the stream."""
        reply.exchange.ended("client gone", trio.current_time())
        reply.leave()
        self._drop(reply)

    def _drop(self, reply: Http2Reply) -> None:
        self._replies.pop(reply.id, None)
        if reply.owed:
            self.h2.increment_flow_control_window(reply.owed)
            reply.owed = 0

    # Faults. --------------------------------------------------------------------------------

    def _apply(self, reply: Http2Reply, known: int) -> None:
        """What the script asks of the connection; `known` faults were asked for before."""
        for fault in reply.exchange.record.script[known:]:
            match fault:
                case WindowStall():
                    reply.held_up = True
                case PingSilence():
                    self._silent = True
                case Settings(max_streams, window):
                    wanted = {3: max_streams, 4: window}
                    self.h2.update_settings({k: v for k, v in wanted.items() if v is not None})
                case Goaway():
                    last_id = reply.id if fault.last_id is None else fault.last_id
                    self._say_goodbye(last_id, ERROR_CODES[fault.code])
                case ResetStream(at=None):
                    reply.code = ERROR_CODES[fault.code]
                    reply.exchange.ended("reset", trio.current_time())
                    reply.reset()
                    self._drop(reply)
                    return
                case _:
                    pass

    def _say_goodbye(self, last_id: int, code: int) -> None:
        self._last_id = last_id
        self._unsent += self.h2.data_to_send()
        self._unsent += b"\0\0\x08\x07\0" + pack(">III", 0, last_id, code)
        for reply in [reply for reply in self._replies.values() if reply.id > last_id]:
            reply.exchange.ended("sent on", trio.current_time())
            reply.leave()
            self._drop(reply)
        self.flush()

    # Out. -----------------------------------------------------------------------------------

    def _start(self, reply: Http2Reply) -> None:
        reply.started = True
        if self._work is not None:
            self._work.start_soon(self._answer, reply)

    async def _answer(self, reply: Http2Reply) -> None:
        exchange = reply.exchange
        try:
            with reply.scope:
                steps = self._steps(reply)
                if not reply.gone:
                    await self._play(reply, exchange, steps)
        finally:
            exchange.ended("stopped", trio.current_time())
            self._drop(reply)
            if exchange.close_idle is not None:
                self._close_idle = exchange.close_idle
            self._patience = min(self._patience, self._close_idle)
            self._look()

    def _steps(self, reply: Http2Reply) -> Iterator[Step]:
        exchange = reply.exchange
        if exchange.early is not None:
            return exchange.early
        if len(reply.body) > MAX_BODY:
            return exchange.refuse(413, f"The body is larger than {MAX_BODY:,} bytes.")
        known = len(exchange.record.script)
        steps = exchange.answer(bytes(reply.body), trio.current_time())
        self._apply(reply, known)
        for fault in exchange.record.script:
            if isinstance(fault, ResetStream) and fault.at is not None:
                reply.code = ERROR_CODES[fault.code]
                steps = broken_off_at_token(steps, fault.at, End(How.RESET, "reset"))
        return steps

    async def _play(self, reply: Http2Reply, exchange: Exchange, steps: Iterator[Step]) -> None:
        player = Player(reply, exchange, steps)
        state = player.advance(trio.current_time())
        while state is not State.NOTHING:
            if state is State.TIME:
                await self._wait_for_time(player)
                state = player.state
                continue
            if state is State.ROOM:
                await reply.wait_writable()
            else:
                await trio.lowlevel.checkpoint()
            state = player.advance(trio.current_time())
        cut = player.how is How.CLOSE and exchange.record.ending == "cut"
        if player.how in (None, How.RESET) or cut:
            reply.reset()
        else:
            reply.finish()

    async def _wait_for_time(self, player: Player) -> None:
        with trio.CancelScope() as scope:
            ticket = PacedPlayer(player, scope)
            self._pacer.add(ticket)
            try:
                await trio.sleep_forever()
            finally:
                self._pacer.remove(ticket)

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
