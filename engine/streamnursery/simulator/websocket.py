"""A simulated provider on a WebSocket: answers on lanes, or a realtime dialogue.

Rule 1: one task reads. Each answer is its own task, and those on one lane come one after the
        other. What is sent goes out whole: two tasks never write at once.
Rule 2: the words, the pace and the faults of an answer are those of HTTP (`responses`, `chat`).
        Faults of the connection come from the handshake's script.
Rule 3: limits are OpenAI's: so many answers at once, so many lanes, so long a connection.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import Any
from urllib.parse import parse_qsl

import attrs
import msgspec
import trio

from streamnursery.serving.steps import How
from streamnursery.serving.websocket import ServerSocket
from streamnursery.simulator.chat import AnswerSpec
from streamnursery.simulator.cuts import RESET_AFTER
from streamnursery.simulator.exchange import Exchange
from streamnursery.simulator.fault import Fault
from streamnursery.simulator.kept import Kept
from streamnursery.simulator.provider import Provider
from streamnursery.simulator.question import understood
from streamnursery.simulator.responses import closing, writer
from streamnursery.simulator.script import (
    BadJson,
    Cut,
    InStreamError,
    Reset,
    Socket,
    Stall,
)
from streamnursery.wire.openai_chat.server import ApiError
from streamnursery.wire.openai_responses.server import (
    ResponseWriter,
    as_realtime,
    question_of_response,
)

MAX_IN_FLIGHT = 16
MAX_LANES = 32
_decode = msgspec.json.decode
_encode = msgspec.json.encode


@attrs.define
class _AnswerQueue:
    """Answers that come one after the other."""

    turn: trio.Lock = attrs.field(factory=trio.Lock)
    running: trio.CancelScope | None = None


class Talk:
    """One connection, from the handshake on."""

    def __init__(self, socket: ServerSocket, provider: Provider, exchange: Exchange) -> None:
        self._socket = socket
        self._provider = provider
        self._state = exchange.state
        self._path = exchange.record.path
        self._query = dict(parse_qsl(exchange.query))
        self._realtime = self._path.endswith("/realtime")
        self._script = exchange.record.script
        self._lanes: dict[str, _AnswerQueue] = {}
        self._in_flight = 0
        self._kept: dict[str, Kept] = {}
        """Responses that this connection alone remembers."""
        self._items: list[dict[str, Any]] = []
        """Of a realtime dialogue."""
        self._how = How.CLOSE
        self._scope = trio.CancelScope()

    async def run(self) -> How:
        """Until either side ends it; how the connection is to end."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            with self._scope:
                nursery.start_soon(self._write)
                self._start_faults()
                if self._realtime:
                    await self._tell(
                        "session.created", session={"id": "sess_sim", "type": "realtime"}
                    )
                while (data := await self._socket.receive()) is not None:
                    await self._obey(data)
            nursery.cancel_scope.cancel()
        return self._how

    async def _write(self) -> None:
        await self._socket.write()
        self._scope.cancel()

    async def _obey(self, data: bytes) -> None:
        self._provider.heard.append(data)
        try:
            message = _decode(data)
            kind = message["type"]
        except (msgspec.DecodeError, TypeError, KeyError):
            return await self._mistake("The message is not a JSON object with a type.", None)
        lane = message.get("stream_id")
        match kind:
            case "response.create":
                await self._create(message, lane)
            case "response.cancel":
                await self._cancel(lane)
            case "session.update" if self._realtime:
                await self._tell("session.updated", session=message.get("session"))
            case "conversation.item.create" if self._realtime:
                item = message.get("item") or {}
                if item.get("id") is None or item.get("id") not in {
                    i.get("id") for i in self._items
                }:
                    self._items.append(item)
                await self._tell("conversation.item.added", item=item)
            case "echo":
                await self._tell("echo", id=message.get("id"))
            case _:
                await self._mistake(f"Unknown type: {str(kind)[:80]}.", lane)

    # Answers. ---------------------------------------------------------------------------------

    async def _create(self, message: Mapping[str, Any], lane: Any) -> None:
        if not isinstance(lane, str | None):
            return await self._mistake("'stream_id' must be a string.", None)
        name = lane or ""
        if name not in self._lanes and len(self._lanes) >= MAX_LANES:
            return await self._limit("lanes", lane)
        if self._in_flight >= MAX_IN_FLIGHT:
            return await self._limit("responses in flight", lane)
        here = self._lanes.setdefault(name, _AnswerQueue())
        self._in_flight += 1
        self._nursery.start_soon(self._answer, here, dict(message), lane)

    async def _cancel(self, lane: Any) -> None:
        here = self._lanes.get(lane if isinstance(lane, str) else "")
        if here is None or here.running is None:
            return await self._mistake(
                "No active response.", lane, code="response_cancel_not_active"
            )
        here.running.cancel()

    async def _answer(self, here: _AnswerQueue, message: dict[str, Any], lane: str | None) -> None:
        try:
            async with here.turn:
                await self._answer_one(here, message, lane)
        finally:
            self._in_flight -= 1

    async def _answer_one(
        self, here: _AnswerQueue, message: dict[str, Any], lane: str | None
    ) -> None:
        now = trio.current_time()
        exchange = self._provider.begin("WS", self._path, (), now)
        try:
            sheet = exchange.sheet_for(
                understood(question_of_response(self._body(message), self._earlier)), now
            )
        except ApiError as error:
            exchange.ended("status", now)
            return await self._refuse(error, lane)
        kept = self._kept[sheet.id] = Kept(sheet)
        if sheet.question.store:
            self._state.responses.keep(kept)
        telling = writer(sheet)
        with trio.CancelScope() as here.running:
            try:
                await self._play(sheet, telling, exchange, lane)
            finally:
                here_cancelled = here.running.cancel_called
                exchange.ended("client gone" if here_cancelled else "stopped", trio.current_time())
        if here.running.cancelled_caught:
            await self._send_event(telling.cancelled(), lane)
        here.running = None

    def _body(self, message: dict[str, Any]) -> dict[str, Any]:
        if not self._realtime:
            return {**message, "stream": True}
        inner = message.get("response") or {}
        items = inner.get("input") or self._items
        model = inner.get("model") or self._query.get("model")
        return {"model": model, "input": items, "stream": True, "store": False}

    def _earlier(self, response_id: str) -> Sequence[Mapping[str, Any]] | None:
        kept = self._kept.get(response_id)
        return kept.messages if kept is not None else self._state.responses.earlier(response_id)

    async def _play(
        self, sheet: AnswerSpec, telling: ResponseWriter, exchange: Exchange, lane: str | None
    ) -> None:
        await trio.sleep_until(sheet.head_at)
        for data in telling.opening():
            await self._send_event(data, lane)
        shift, count = 0.0, 0
        for part, content in sheet.reply.choices[0].deltas():
            shift += await self._happens(count, sheet, telling, exchange, lane)
            told = telling.token(part, content)
            await trio.sleep_until(sheet.first_at + count * sheet.gap + shift)
            if any(isinstance(f, BadJson) and f.at == count for f in sheet.script):
                told[-1] = told[-1][: len(told[-1]) // 2]
            if any(_is(f, "duplicate") and getattr(f, "at", 0) == count for f in sheet.script):
                told.append(told[-1])
            for data in told:
                await self._send_event(data, lane)
            exchange.sent(sum(map(len, told)), 1, trio.current_time())
            count += 1
        await self._happens(count, sheet, telling, exchange, lane)
        for data in closing(sheet, telling):
            await self._send_event(data, lane)
        exchange.ended("complete", trio.current_time())

    async def _happens(
        self,
        count: int,
        sheet: AnswerSpec,
        telling: ResponseWriter,
        exchange: Exchange,
        lane: str | None,
    ) -> float:
        """What comes before token `count`; seconds that it took of the model's time."""
        lost = 0.0
        for fault in sheet.script:
            if getattr(fault, "at", None) != count or getattr(fault, "unit", "tokens") != "tokens":
                continue
            if isinstance(fault, Stall):
                lost += inf if fault.seconds is None else fault.seconds
                await trio.sleep(lost)
            elif isinstance(fault, InStreamError):
                exchange.ended("in-stream error", trio.current_time())
                await self._send_event(telling.mistake(fault.code, fault.message), lane)
                await trio.sleep_forever()
            elif isinstance(fault, Cut | Reset) or _is(fault, "drop"):
                resets = isinstance(fault, Reset)
                exchange.ended("reset" if resets else "cut", trio.current_time())
                await self._end(How.RESET if resets else How.CLOSE)
            elif isinstance(fault, Socket) and fault.kind in ("close", "silence"):
                exchange.ended(fault.kind, trio.current_time())
                await self._befall(fault)
        return lost

    # Faults of the connection. ----------------------------------------------------------------

    def _start_faults(self) -> None:
        for fault in self._script:
            ends = isinstance(fault, Socket) and fault.kind in ("close", "drop", "silence")
            if isinstance(fault, Socket) and (
                fault.kind == "no_pong" or (ends and fault.at is None)
            ):
                self._nursery.start_soon(self._befall_after, fault)
        if self._provider.socket_age < inf:
            self._nursery.start_soon(self._grow_old)

    async def _befall_after(self, fault: Socket) -> None:
        await trio.sleep(fault.after or 0.0)
        await self._befall(fault)

    async def _befall(self, fault: Socket) -> None:
        if fault.kind == "no_pong":
            self._socket.pongs = False
            return
        if fault.kind == "silence":
            self._socket.muted = True
            await trio.sleep_forever()
        if fault.kind == "close":
            await self._socket.close(fault.code, fault.reason)
        await self._end(How.CLOSE)

    async def _grow_old(self) -> None:
        await trio.sleep(self._provider.socket_age)
        await self._mistake(
            "The connection has reached its limit.", None, code="websocket_connection_limit_reached"
        )
        await self._befall(Socket("close", code=1008))

    async def _end(self, how: How) -> None:
        self._how = how
        await self._socket.flush()
        if how is How.RESET:
            await trio.sleep(RESET_AFTER)
        self._scope.cancel()
        await trio.sleep_forever()

    # Sending. ---------------------------------------------------------------------------------

    async def _limit(self, what: str, lane: str | None) -> None:
        code = "websocket_stream_limit_reached"
        await self._refuse(ApiError(429, f"Too many {what}.", code=code), lane)

    async def _refuse(self, error: ApiError, lane: str | None) -> None:
        told = {**error.error, "headers": dict(error.headers)} if error.headers else error.error
        await self._tell("error", lane, status=error.status, error=told)

    async def _mistake(self, message: str, lane: Any, code: str = "invalid_value") -> None:
        await self._refuse(
            ApiError(400, message, code=code), lane if isinstance(lane, str) else None
        )

    async def _tell(self, kind: str, lane: str | None = None, **fields: Any) -> None:
        await self._send_event(_encode({"type": kind, **fields}), lane)

    async def _send_event(self, data: bytes, lane: str | None) -> None:
        if self._realtime:
            data = as_realtime(data)
        if lane is not None and not any(_is(f, "no_lanes") for f in self._script):
            data = b'{"stream_id":%b,' % _encode(lane) + data[1:]
        await self._socket.send(data.decode())


def _is(fault: Fault, kind: str) -> bool:
    return isinstance(fault, Socket) and fault.kind == kind
