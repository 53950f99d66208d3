"""Serves a simulated provider: exchanges in the hands of a server.

What a script asks of the connection itself happens here, before and after the request's body.
"""

from collections.abc import Iterator

import trio

from streamnursery.serving.call import ServerCall
from streamnursery.serving.http2_reply import Http2Reply
from streamnursery.serving.steps import End, How, Step
from streamnursery.simulator.cuts import broken_off_at_token
from streamnursery.simulator.exchange import Exchange
from streamnursery.simulator.provider import Provider
from streamnursery.simulator.script_http2 import (
    ERROR_CODES,
    Goaway,
    PingSilence,
    ResetStream,
    Settings,
    WindowStall,
)


class ProviderHandler:
    """Answers what `provider` would."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def begin(self, call: ServerCall) -> "ServedExchange":
        head = call.head
        exchange = self._provider.begin(
            head.method,
            head.target,
            head.headers,
            trio.current_time(),
            version=head.version,
            keep_alive=head.keep_alive,
        )
        served = ServedExchange(exchange, self._provider)
        if call.http2 is not None:
            served.meet(call.http2, 0)
        return served


class ServedExchange:
    """One exchange as a server knows it."""

    def __init__(self, exchange: Exchange, provider: Provider) -> None:
        self.refuse, self.sent, self.ended = exchange.refuse, exchange.sent, exchange.ended
        self._exchange = exchange
        self._provider = provider

    async def serve(self, call: ServerCall) -> None:
        exchange = self._exchange
        steps = exchange.early
        if steps is None:
            body = await self._body(call)
            if body is None:
                self.ended("upload cut", trio.current_time())
                call.how = How.RESET
                return
            known = len(exchange.record.script)
            steps = exchange.answer(body, trio.current_time())
            if call.http2 is not None:
                self.meet(call.http2, known)
                steps = self._reset(call.http2, steps)
        call.close_idle = exchange.close_idle
        if call.http2 is None or not call.http2.gone:
            await call.play(steps)
        if call.how is How.TALK:
            # Imported here: it alone needs the extra `ws`.
            from streamnursery.simulator.websocket import Talk

            socket = await call.websocket()
            call.how = await Talk(socket, self._provider, exchange).run()

    async def _body(self, call: ServerCall) -> bytes | None:
        """The request's body; None when the connection is to be reset in the middle of it."""
        cut = self._exchange.reset_upload_after
        if cut is None:
            return await call.body()
        body = bytearray()
        while len(body) < cut:
            data = await call.receive_some()
            if not data:
                return bytes(body)
            body += data
        return None

    # Faults that only HTTP/2 has. -------------------------------------------------------------

    def meet(self, reply: Http2Reply, known: int) -> None:
        """What the script asks of the connection; `known` faults were met before."""
        for fault in self._exchange.record.script[known:]:
            match fault:
                case WindowStall():
                    reply.held_up = True
                case PingSilence():
                    reply.connection.mute()
                case Settings(max_streams, window):
                    wanted = {3: max_streams, 4: window}
                    settings = {k: v for k, v in wanted.items() if v is not None}
                    reply.connection.h2.update_settings(settings)
                case Goaway():
                    last_id = reply.id if fault.last_id is None else fault.last_id
                    reply.connection.say_goodbye(last_id, ERROR_CODES[fault.code])
                case ResetStream(at=None):
                    reply.code = ERROR_CODES[fault.code]
                    self.ended("reset", trio.current_time())
                    reply.reset()
                    return
                case _:
                    pass

    def _reset(self, reply: Http2Reply, steps: Iterator[Step]) -> Iterator[Step]:
        """With the resets that come after so many tokens."""
        for fault in self._exchange.record.script:
            if isinstance(fault, ResetStream) and fault.at is not None:
                reply.code = ERROR_CODES[fault.code]
                steps = broken_off_at_token(steps, fault.at, End(How.RESET, "reset"))
        return steps
