"""A program that Ctrl-C ends: `python -m tests.support.interrupted URL ROUNDS SEED`.

Each round keeps an engine busy until SIGINT strikes at a random moment, and prints as one JSON
line what came out of the run and what was left of it.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import trio

from streamnursery import ChatRequest, Engine, open_engine
from streamnursery.testing import wait_quiescent

if TYPE_CHECKING:
    from streamnursery.records import EngineStatistics

CROWD = 20
LONGEST = 0.1
"""Seconds from the first request to the signal, at most."""


def endless() -> Iterator[ChatRequest]:
    while True:
        yield ChatRequest("m", [{"role": "user", "content": "hello"}])


async def read_for_ever(eng: Engine) -> None:
    for request in endless():
        async with eng.stream(request) as stream:
            async for _ in stream:
                pass


async def crowd(eng: Engine) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(CROWD):
            nursery.start_soon(read_for_ever, eng)


async def bulk(eng: Engine) -> None:
    async with eng.as_completed(endless(), max_in_flight=CROWD) as outcomes:
        async for _ in outcomes:
            pass


async def calls(eng: Engine) -> None:
    while True:
        await eng.run("m", eng.complete, "m", "hello")


def leaves(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [name for inner in error.exceptions for name in leaves(inner)]
    return [type(error).__name__]


def strike_one(url: str, dice: random.Random) -> dict[str, Any]:
    work = dice.choice((crowd, bulk, calls))
    settings = {
        "endpoints": {"main": {"url": url}},
        "models": {"m": {"routes": [{"endpoint": "main"}], "max_streams": 10}},
    }
    struck_at: list[float] = []
    left: list[EngineStatistics] = []

    def strike() -> None:
        struck_at.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(dice.uniform(0, LONGEST), strike)

    async def main() -> None:
        async with open_engine(settings) as eng:
            try:
                timer.start()
                await work(eng)
            finally:
                with trio.move_on_after(1, shield=True):
                    await wait_quiescent(eng)
                left.append(eng.statistics())

    raised: list[str] = []
    try:
        trio.run(main)
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        raised = leaves(error)
    seconds = time.monotonic() - struck_at[0]
    timer.join()
    (at_end,) = left
    return {
        "work": work.__name__,
        "raised": sorted(set(raised)),
        "seconds": seconds,
        "left": [at_end.active, at_end.queued, at_end.streams, at_end.connections.busy],
        "buffered": at_end.buffered_bytes,
        "files": len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0,
    }


if __name__ == "__main__":
    # A shell's background job begins with SIGINT ignored, and so would this.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    address, rounds, seed = sys.argv[1:]
    for number in range(int(rounds)):
        print(json.dumps(strike_one(address, random.Random(int(seed) + number))), flush=True)
