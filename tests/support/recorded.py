"""A server that answers with bytes that were written down, in pieces, in memory or on a socket."""

import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from queue import SimpleQueue
from typing import Any

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from streamnursery import Engine, open_engine
from streamnursery.serving.call import ServerCall, Unlogged
from streamnursery.serving.listener import Listener, listen
from streamnursery.serving.service import Service
from streamnursery.serving.steps import End, How, Send, Step, chunked, close_delimited, head
from streamnursery.simulator.pipe import PipeConnection, pipe
from streamnursery.testing import assert_quiescent
from tests.support.scene import wall

SSE = ("content-type", "text/event-stream")
APART = 0.001
"""Seconds between two pieces, so that each is read by itself."""


@attrs.frozen
class Asked:
    """One request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@attrs.define
class Recorded:
    """A `Handler` that gives every request the same answer; what it holds may be changed."""

    pieces: Sequence[bytes]
    how: How = How.KEEP
    framing: str = "chunked"
    """Or "length", or "close"."""
    status: int = 200
    headers: tuple[tuple[str, str], ...] = (SSE,)
    asked: list[Asked] = attrs.field(factory=list)
    refuses: int = 0
    """So many of the next requests get a 503."""
    at_once: bool = False
    """Pieces follow each other without a pause."""

    def begin(self, call: ServerCall) -> "Replay":
        return Replay(self, call.head.method, call.head.target, dict(call.head.headers))

    def steps(self) -> Iterator[Step]:
        length = sum(map(len, self.pieces))
        own = {
            "chunked": (("transfer-encoding", "chunked"),),
            "length": (("content-length", str(length)),),
            "close": (),
        }[self.framing]
        yield Send(head(self.status, (*self.headers, *own)))
        sends = self._sends()
        if self.framing == "chunked":
            sends = chunked(sends)
        elif self.framing == "close":
            sends = close_delimited(sends)
        yield from sends

    def _sends(self) -> Iterator[Step]:
        now = trio.current_time()
        for number, piece in enumerate(self.pieces, 1):
            if piece:
                yield Send(piece, now if self.at_once else now + number * APART, apart=True)
        yield End(self.how)


class Replay(Unlogged):
    """One request, and its answer."""

    def __init__(
        self, recorded: Recorded, method: str, target: str, headers: dict[str, str]
    ) -> None:
        self._recorded = recorded
        self._asked = method, target, headers

    async def serve(self, call: ServerCall) -> None:
        body = await call.body()
        self._recorded.asked.append(Asked(*self._asked, body))
        if self._recorded.refuses:
            self._recorded.refuses -= 1
            await call.reply(503, [("content-type", "text/plain")], b"not now")
        else:
            await call.play(self._recorded.steps())


class RecordedNetwork:
    """Every name leads to `recorded`; in memory, served in `nursery`."""

    def __init__(self, nursery: trio.Nursery, recorded: Recorded) -> None:
        self._service = Service(nursery)
        self._recorded = recorded
        self.open: list[PipeConnection] = []

    async def resolve(self, host: str, port: int) -> Sequence[tuple[str, int]]:
        await trio.lowlevel.checkpoint()
        return [("192.0.2.1" if host else "", port)]

    async def connect(self, address: tuple[str, int]) -> PipeConnection:
        await trio.lowlevel.checkpoint()
        ours, theirs = pipe()
        self._service.accept(theirs, self._recorded)
        self.open.append(ours)
        return ours


@asynccontextmanager
async def engine_at(recorded: Recorded, settings: dict[str, Any]) -> AsyncIterator[Engine]:
    """An engine all of whose endpoints are `recorded`; of which nothing is left in the end."""
    async with trio.open_nursery() as nursery:
        network = RecordedNetwork(nursery, recorded)
        async with open_engine(settings, network=network, seed=1, wall=wall) as eng:
            yield eng
            await wait_all_tasks_blocked()
            assert_quiescent(eng)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def relaying(
    recorded: Recorded,
    language: str = "openai-chat",
    *,
    engine: dict[str, Any] | None = None,
    **endpoint: Any,
) -> AsyncIterator[Engine]:
    """The same with a model "m" at the endpoint "main"."""
    main = {"url": "http://main.example.com/v1", "dialect": language, **endpoint}
    model = {"routes": [{"endpoint": "main"}], "retries": {"attempts": 1}}
    settings = {"engine": engine or {}, "endpoints": {"main": main}, "models": {"m": model}}
    async with engine_at(recorded, settings) as eng:
        yield eng


@asynccontextmanager
async def served(recorded: Recorded) -> AsyncIterator[str]:
    """`recorded` on a loopback socket; its origin."""
    async with trio.open_nursery() as nursery:
        service = Service(nursery)
        listener = Listener(
            await listen("127.0.0.1", 0), lambda stream: service.accept(stream, recorded)
        )
        nursery.start_soon(listener.run)
        try:
            yield f"http://127.0.0.1:{listener.port}"
        finally:
            listener.close()
            service.close()


@contextmanager
def live(recorded: Recorded) -> Iterator[str]:
    """`recorded` on a loopback socket, served by a thread; its origin. For programs that run in
    other event loops."""
    begun: SimpleQueue[str] = SimpleQueue()
    scope = trio.CancelScope()
    tokens: list[trio.lowlevel.TrioToken] = []

    async def serve() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        with scope:
            async with served(recorded) as origin:
                begun.put(origin)
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    try:
        yield begun.get()
    finally:
        tokens[0].run_sync_soon(scope.cancel)
        thread.join()
