"""python -m benchmarks.steps [--json]: what a token costs, counted and not timed.

The whole engine runs on a virtual clock against prebuilt answers in memory, so every figure is
the same on every machine and in every run; tests/simulation/test_counters.py gates them.

Rule 1: a figure per read, event or stream is the difference of two runs, n and 2n, divided by n:
        what is paid once falls out.
Rule 2: the provider's own tasks are not counted.
Rule 3: "calls" are function calls, Python's and C's, made in the engine's and the consumer's task
        steps. They stand for time: a regression by complexity shows, a slower instruction does not.
"""

import argparse
import gc
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from types import FrameType
from typing import Any

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import streamnursery as sn
from streamnursery.simulator.pipe import PipeConnection, pipe
from streamnursery.testing.scheduling import deadline_code
from streamnursery.transport.http2 import frames
from streamnursery.transport.http2.incoming import FrameReader
from streamnursery.transport.network import Address

EVENT = (
    b'data: {"id":"chatcmpl-steps","object":"chat.completion.chunk","created":1700000000,'
    b'"model":"steps","choices":[{"index":0,"delta":{"content":" token"},'
    b'"finish_reason":null}]}\n\n'
)
DONE = b"data: [DONE]\n\n"
END = EVENT.replace(b'{"content":" token"}', b"{}").replace(b"null", b'"stop"')
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OK = b"\x88"
"""Status 200, as hpack writes it."""
PACE = 0.005
"""Virtual seconds between two segments, so that each is a read of its own."""

GRANTS = 100
_DEADLINE = deadline_code()


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(body), body)


@attrs.define
class Prebuilt:
    """A network with one provider behind every address: `reads` segments of `events` each."""

    nursery: trio.Nursery
    reads: int
    events: int
    read: bytes = b""

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        return [("127.0.0.1", port)]

    async def connect(self, address: Address) -> PipeConnection:
        await trio.lowlevel.checkpoint()
        ours, theirs = pipe()
        self.nursery.start_soon(self._serve, theirs, name="provider")
        return ours

    async def _serve(self, connection: PipeConnection) -> None:
        try:
            while await self._request(connection):
                head, segment, end = self._answer()
                await connection.send_all(head, apart=True)
                for _ in range(self.reads):
                    await trio.sleep(PACE)
                    await connection.send_all(segment, apart=True)
                await trio.sleep(PACE)
                await connection.send_all(end, apart=True)
        finally:
            connection.close()

    async def _request(self, connection: PipeConnection) -> bool:
        """Take one request; False when the client has left. It fits into one read."""
        await connection.wait_readable()
        try:
            self.read = connection.recv_nowait(65536)
        except ConnectionResetError:
            return False
        return self.read != b""

    def _answer(self) -> tuple[bytes, bytes, bytes]:
        """Its head, the segment that is repeated, and its end."""
        return HEAD, chunk(EVENT) * self.events, chunk(END + DONE) + chunk(b"")


@attrs.define
class PrebuiltHttp2(Prebuilt):
    """The same over HTTP/2, for one stream at a time: each event in a DATA frame of its own."""

    stream_id: int = -1

    async def _request(self, connection: PipeConnection) -> bool:
        """Wait for the next HEADERS."""
        if self.stream_id < 0:
            await connection.send_all(frames.settings({}), apart=True)
        incoming = FrameReader()
        while await super()._request(connection):
            incoming.put(self.read.removeprefix(frames.PREFACE))
            while (frame := incoming.fetch()) is not None:
                if frame[0] == frames.HEADERS:
                    self.stream_id += 2
                    return True
        return False

    def _answer(self) -> tuple[bytes, bytes, bytes]:
        head = frames.frame(frames.HEADERS, frames.END_HEADERS, self.stream_id, OK)
        end = frames.frame(frames.DATA, frames.END_STREAM, self.stream_id, END + DONE)
        return head, frames.frame(frames.DATA, 0, self.stream_id, EVENT) * self.events, end


@attrs.define(eq=False)
class Counts(trio.abc.Instrument):
    """What happened since the run began, provider left out."""

    steps: int = 0
    """Task steps of the engine and of the consumer."""
    consumer_steps: int = 0
    """Of them, those of the task that reads."""
    tasks: int = 0
    timers: int = 0
    """Deadlines that were set or moved."""
    calls: int = 0
    consumer: trio.lowlevel.Task | None = None

    def start(self) -> None:
        """Count from here on; the step that this is called in is not a whole one."""
        trio.lowlevel.add_instrument(self)

    def stop(self) -> None:
        trio.lowlevel.remove_instrument(self)
        sys.setprofile(None)

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self.tasks += task.name != "provider"

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name != "provider":
            self.steps += 1
            self.consumer_steps += task is self.consumer
            sys.setprofile(self._called)

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        sys.setprofile(None)

    def _called(self, frame: FrameType, what: str, _: object) -> None:
        if what in ("call", "c_call"):
            self.calls += 1
            self.timers += what == "call" and frame.f_code is _DEADLINE

    def minus(self, other: "Counts") -> "Counts":
        names = ("steps", "consumer_steps", "tasks", "timers", "calls")
        return Counts(*(getattr(self, name) - getattr(other, name) for name in names))


@attrs.frozen
class Run:
    counts: Counts
    blocks: int
    """Memory blocks alive after the run that were not alive before it."""


Work = Callable[[sn.Engine], Awaitable[object]]


def run(work: Work, *, reads: int, events: int, limit: int = 1, http: str = "1.1") -> Run:
    """Count `work` in an engine of its own; what it returns is alive when memory is looked at."""
    counts = Counts()
    config = {
        "engine": {"max_streams": limit, "max_queued": 200_000},
        "defaults": {"max_streams": limit},
        "endpoints": {"steps": {"url": "http://127.0.0.1:80/v1", "http": http}},
        "models": {"m": {"routes": [{"endpoint": "steps"}]}},
    }

    async def main() -> int:
        async with trio.open_nursery() as nursery:
            kind = PrebuiltHttp2 if http == "h2c" else Prebuilt
            network = kind(nursery, reads, events)
            async with sn.open_engine(config, network=network, seed=1, wall=lambda: 0.0) as eng:
                await work(eng)  # everything is loaded and connected before counting starts
                counts.consumer = trio.lowlevel.current_task()
                before = blocks()
                counts.start()
                kept = await work(eng)
                counts.stop()
                after = blocks()
                del kept
            nursery.cancel_scope.cancel()
        return after - before

    return Run(counts, trio.run(main, clock=MockClock(autojump_threshold=0)))


def blocks() -> int:
    gc.collect()
    return sys.getallocatedblocks()


async def drop(eng: sn.Engine) -> None:
    async with eng.stream("m", "hi") as stream:
        async for _ in stream:
            pass


async def keep(eng: sn.Engine) -> list[sn.StreamEvent]:
    async with eng.stream("m", "hi") as stream:
        return [event async for event in stream]


def per_event(events: int, reads: int = 200, http: str = "1.1") -> dict[str, float]:
    """One stream of `events` in each read."""
    small, large = (run(drop, reads=n, events=events, http=http) for n in (reads, 2 * reads))
    more, total = large.counts.minus(small.counts), reads * events
    kept = [run(keep, reads=n, events=events, http=http).blocks for n in (reads, 2 * reads)]
    return {
        "steps_per_read": more.steps / reads,
        "consumer_steps_per_read": more.consumer_steps / reads,
        "tasks_per_event": more.tasks / total,
        "timers_per_event": more.timers / total,
        "calls_per_event": more.calls / total,
        "calls_at_2n_to_n": large.counts.calls / small.counts.calls,
        "blocks_per_event_kept": (kept[1] - kept[0]) / total,
        "blocks_per_event_left_behind": (large.blocks - small.blocks) / total,
    }


def many_streams(streams: int = 50, reads: int = 40) -> dict[str, float]:
    """Streams whose reads arrive in the same instants, one event in each."""

    async def work(eng: sn.Engine) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(streams):
                nursery.start_soon(drop, eng)

    small, large = (run(work, reads=n, events=1, limit=streams) for n in (reads, 2 * reads))
    more, total = large.counts.minus(small.counts), streams * reads
    return {
        "steps_per_read": more.steps / total,
        "tasks_per_event": more.tasks / total,
        "timers_per_event": more.timers / total,
        "calls_per_event": more.calls / total,
    }


def per_stream(streams: int = 100) -> dict[str, float]:
    """Streams of one token through ten slots."""

    def many(n: int) -> Work:
        async def work(eng: sn.Engine) -> None:
            async with trio.open_nursery() as nursery:
                for _ in range(n):
                    nursery.start_soon(drop, eng)

        return work

    small, large = (run(many(n), reads=1, events=1, limit=10) for n in (streams, 2 * streams))
    more = large.counts.minus(small.counts)
    return {
        "steps_per_stream": more.steps / streams,
        "tasks_per_stream": more.tasks / streams - 1,  # the test's own task is one of them
        "timers_per_stream": more.timers / streams,
        "calls_per_stream": more.calls / streams,
        "calls_at_2n_to_n": large.counts.calls / small.counts.calls,
    }


def admission(queued: int, grants: int = GRANTS) -> float:
    """Calls for one grant of a slot while `queued` others wait for it, as many as are granted or
    more."""
    counts = Counts()

    async def wait(eng: sn.Engine) -> None:
        async with eng.lease("m"):
            pass

    async def work(eng: sn.Engine) -> None:
        async with trio.open_nursery() as nursery:
            async with eng.lease("m"):
                for _ in range(queued):
                    nursery.start_soon(wait, eng)
                await wait_all_tasks_blocked()
                counts.start()
            left = max(0, eng.statistics().total.queued - grants)
            while eng.statistics().total.queued > left:
                await trio.lowlevel.checkpoint()
            counts.stop()
            nursery.cancel_scope.cancel()

    async def main() -> None:
        config = {"engine": {"max_streams": 1, "max_queued": 200_000}}
        async with sn.open_engine(config, seed=1, wall=lambda: 0.0) as eng:
            await work(eng)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return counts.calls / grants


def left_to_the_collector(http: str, streams: int = 50) -> float:
    """Objects of each stream that only the garbage collector frees."""
    found = 0

    async def work(eng: sn.Engine) -> None:
        nonlocal found
        await drop(eng)
        gc.collect()
        gc.disable()
        try:
            for _ in range(streams):
                await drop(eng)
            found = gc.collect()
        finally:
            gc.enable()

    run(work, reads=2, events=1, http=http)
    return found / streams


def queue_length(text: str) -> int:
    """So many have to wait that those who are granted a slot are among them."""
    value = int(text)
    if value < GRANTS:
        msg = f"{value} are fewer than the {GRANTS} grants that are counted"
        raise argparse.ArgumentTypeError(msg)
    return value


def everything(queued: Sequence[int]) -> dict[str, Any]:
    run(drop, reads=1, events=1)  # the first run of a process fills caches
    return {
        "one event per read": per_event(1),
        "ten events per read": per_event(10),
        "one event per read, HTTP/2": per_event(1, 100, "h2c"),
        "ten events per read, HTTP/2": per_event(10, 100, "h2c"),
        "fifty streams at once": many_streams(),
        "short streams": per_stream(),
        "objects of a stream left to the collector": {
            http: left_to_the_collector(http) for http in ("1.1", "h2c")
        },
        "calls per grant": {f"{n} queued": admission(n) for n in queued},
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.steps", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--queued", type=queue_length, nargs="+", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    figures = everything(options.queued)
    if options.json:
        print(json.dumps(figures, indent=1))
        return
    for title, counted in figures.items():
        print(title)
        for name, value in counted.items():
            print(f"  {name:32} {value:10.2f}")


if __name__ == "__main__":
    main()
